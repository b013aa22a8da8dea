import { afterAll, describe, expect, test } from "bun:test";
import { textCounter } from "../../src/tokens/bpe.ts";
import { createTokenCounter, type TokenCounter } from "../../src/tokens/counter.ts";
import { familyOf } from "../../src/tokens/family.ts";
import type { Prompt, PromptMessage } from "../../src/tokens/prompt.ts";
import type { RemoteCounter } from "../../src/tokens/remote.ts";
import { toolTokens } from "../../src/tokens/tools.ts";

const message = (
  text: string | readonly string[],
  more: Partial<PromptMessage> = {},
): PromptMessage => ({
  role: "user",
  name: null,
  text: typeof text === "string" ? [text] : text,
  images: [],
  ...more,
});

const prompt = (more: Partial<Prompt>): Prompt => ({
  model: "gpt-4o",
  messages: [],
  texts: [],
  tokenIds: 0,
  tools: [],
  ...more,
});

const chat = (...messages: PromptMessage[]): Prompt => prompt({ messages });

/** A counter in "another thread" that counts here, and says what it was asked. */
function createLocalRemote(more: Partial<RemoteCounter> = {}): RemoteCounter & { asked: number } {
  const remote = {
    asked: 0,
    available: () => true,
    count: (vocabulary: "o200k" | "cl100k", texts: readonly string[]) => {
      remote.asked += texts.reduce((sum, text) => sum + text.length, 0);
      return Promise.resolve(texts.map((text) => textCounter(vocabulary)(text)));
    },
    close: () => {},
    ...more,
  };
  return remote;
}

const line = (_: unknown, i: number): string =>
  `${i}: request ${(i * 7919).toString(36)} waited ${i * 3} ms.\n`;
/** About `length` characters of changing text. */
const long = (length: number): string => Array.from({ length: length / 30 }, line).join("");

const o200k = textCounter("o200k");
const counter = createTokenCounter();
afterAll(() => counter.close());

describe("short prompts are counted at once", () => {
  const weather = JSON.stringify({
    type: "function",
    function: {
      name: "get_current_weather",
      description: "Get the current weather in a given location",
      parameters: {
        type: "object",
        properties: {
          location: { type: "string", description: "The city and state, e.g. San Francisco, CA" },
          unit: {
            type: "string",
            description: "The unit of temperature to return",
            enum: ["celsius", "fahrenheit"],
          },
        },
      },
    },
  });
  const image = { width: 1024, height: 1024, detail: "high" } as const;
  const about = [
    message("You are a helpful assistant that can answer to questions about the weather.", {
      role: "system",
    }),
    message("What's the weather like in San Francisco?"),
  ];

  // Where no family is named, the expected value is what OpenAI's API itself charges or its documentation says.
  test.each<[string, Prompt, number]>([
    ["hello", chat(message("Hello")), 8],
    ["with a tool", prompt({ messages: about, tools: [weather] }), 101],
    ["with a tool, cl100k", prompt({ model: "gpt-4", messages: about, tools: [weather] }), 105],
    ["a name", chat(message("Hello", { name: "ada" })), 8 + 1 + o200k("ada")],
    ["an image", chat(message("Hello", { images: [image] })), 8 + 765],
    ["parts are joined without a separator", chat(message(["Hel", "lo"])), 8],
    [
      "an embedding",
      prompt({ model: "text-embedding-3-small", texts: ["Hello", "Hello world"] }),
      3,
    ],
    ["token ids", prompt({ model: "text-embedding-3-small", tokenIds: 17 }), 17],
    ["nothing", prompt({}), 0],
    ["Llama's template", prompt({ model: "llama3.1-8b", messages: [message("Hello")] }), 11],
    [
      "Claude's ratio",
      prompt({ model: "claude-x", messages: [message("one two three four")] }),
      2 + 6 + 5,
    ],
    ["special tokens are text", prompt({ texts: ["<|endoftext|>"] }), o200k("<|endoftext|>")],
  ])("%s", (_, asked, tokens) => {
    expect(counter.count(asked)).toBe(tokens);
    expect(counter.count(asked)).toBe(tokens); // from the cache
  });

  test("a model's name of any length", () => {
    expect(counter.count(prompt({ model: "x".repeat(10_000), texts: ["Hello"] }))).toBe(1);
  });

  test("up to 16 KB, or half of it where not ASCII", () => {
    const remote = createLocalRemote();
    const fresh = createTokenCounter({ remote });
    expect(fresh.count(prompt({ texts: ["ab ".repeat(5000)] }))).toBe(o200k("ab ".repeat(5000)));
    expect(fresh.count(prompt({ texts: ["äb ".repeat(2700)] }))).toBe(o200k("äb ".repeat(2700)));
    expect(fresh.count(prompt({ texts: ["äb ".repeat(3000)] }))).toBeInstanceOf(Promise);
    expect(fresh.count(prompt({ texts: ["cb ".repeat(6000)] }))).toBeInstanceOf(Promise);
    fresh.close();
  });
});

describe("long prompts", () => {
  test("are counted in another thread, exactly", async () => {
    const text = long(200_000);
    const counting = counter.count(chat(message(text)));
    expect(counting).toBeInstanceOf(Promise);
    expect(await counting).toBe(o200k(text) + 7);
  });

  test("over the length that is looked up at once too, and in parts that are not joined", async () => {
    const text = long(400_000);
    const remote = createLocalRemote();
    const fresh = createTokenCounter({ remote });
    const asked = chat(message([text, text]));
    expect(await fresh.count(asked)).toBe(2 * o200k(text) + 7);
    const { asked: characters } = remote;
    expect(characters).toBeGreaterThanOrEqual(text.length);
    expect(await fresh.count(asked)).toBe(2 * o200k(text) + 7);
    expect(remote.asked).toBe(characters); // all of it is known by now
  });

  test("of very many messages", async () => {
    const fresh = createTokenCounter({ remote: createLocalRemote() });
    const messages = Array.from({ length: 10_000 }, (_, i) => message(`no. ${i % 10}`));
    expect(await fresh.count(prompt({ messages }))).toBe(10_000 * (4 + o200k("no. 1")) + 3);
  });

  test("a conversation costs its last turn only", async () => {
    const remote = createLocalRemote();
    const fresh = createTokenCounter({ remote });
    const turns = Array.from({ length: 20 }, (_, i) => message(`turn ${i} ${long(4000)}`));
    await fresh.count(prompt({ messages: turns.slice(0, 19) }));
    expect(fresh.count(prompt({ messages: turns }))).toBeNumber();
  });

  test("a known vocabulary's count is not another's", async () => {
    const text = "Übergrößenträger ".repeat(100);
    const [first, second] = ["gpt-4o", "gpt-4"].map((model) =>
      counter.count(prompt({ model, texts: [text] })),
    );
    expect(first).not.toBe(second);
  });

  test("too many tools to take apart are counted as text", async () => {
    const tool = (i: number): string =>
      JSON.stringify({ name: `tool_${i}`, description: long(10_000) });
    const tools = Array.from({ length: 20 }, (_, i) => tool(i));
    const { tools: costs } = familyOf("gpt-4o");
    const exact = tools.reduce((sum, json) => sum + toolTokens(costs, json, o200k), costs.once);
    const fresh = createTokenCounter({ remote: createLocalRemote() });
    expect(Math.abs(((await fresh.count(prompt({ tools }))) - exact) / exact)).toBeLessThan(0.1);
  });
});

describe("without the other thread, long prompts are estimated", () => {
  const text = long(300_000);
  const exact = o200k(text);
  const estimateOf = async (estimator: TokenCounter): Promise<number> =>
    estimator.count(prompt({ texts: [text] }));

  test.each<[string, Partial<RemoteCounter>]>([
    ["saturated", { available: () => false }],
    ["dead", { count: () => Promise.resolve(null) }],
    ["wrong", { count: () => Promise.resolve([]) }],
  ])("%s", async (state, broken) => {
    const estimator = createTokenCounter({ remote: createLocalRemote(broken) });
    const estimate = await estimateOf(estimator);
    expect(estimate).toBeNumber();
    if (state !== "wrong") expect(Math.abs(estimate / exact - 1)).toBeLessThan(0.03);
  });

  test("closed", async () => {
    const closed = createTokenCounter();
    closed.close();
    expect(Math.abs((await estimateOf(closed)) / exact - 1)).toBeLessThan(0.03);
  });
});

test("warming up is harmless", async () => {
  await counter.warmUp();
  expect(counter.count(chat(message("Hello")))).toBe(8);
});
