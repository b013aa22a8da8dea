import { expect, test } from "bun:test";
import { azure } from "../../src/provider/azure.ts";
import { generic } from "../../src/provider/generic.ts";
import { groq } from "../../src/provider/groq.ts";
import { mistral } from "../../src/provider/mistral.ts";
import { openai } from "../../src/provider/openai.ts";
import { openrouter } from "../../src/provider/openrouter.ts";

const chat = "/v1/chat/completions";
const image = "data:image/png;base64,AAAA";

test.each([
  [chat, { n: 3, max_tokens: 10 }, 30],
  [chat, { n: 0, max_tokens: 10 }, 10],
  [chat, { n: 1e9, max_tokens: 1e9 }, 1e9],
  ["/v1/completions", { n: 2, best_of: 5, prompt: "a", max_tokens: 10 }, 50],
  ["/v1/completions", { prompt: ["a", "b"], max_tokens: 10 }, 20],
  ["/v1/completions", { prompt: [1, 2, 3], max_tokens: 10 }, 10],
  ["/v1/responses", { n: 3, max_output_tokens: 10 }, 10],
  ["/v1/embeddings", { max_tokens: 10, input: "x" }, null],
])("%s with %p allows %p tokens of output", (path, body, allowed) => {
  expect(openai.readCall(path, { model: "m", ...body }).maxOutput).toBe(allowed);
});

test.each([
  ["a", ["a"], 0],
  [["a", "b"], ["a", "b"], 0],
  [[1, 2, 3], [], 3],
  [[[1, 2], [3]], [], 3],
  [[{ image }, "x"], ['{"image":""}', "x"], 0],
])("embeds %p as %p and %p token ids", (input, texts, tokenIds) => {
  const call = openai.readCall("/v1/embeddings", { model: "m", input });
  expect(call.hasOutput).toBe(false);
  expect(call.prompt).toMatchObject({ texts, tokenIds, messages: [] });
});

test.each([
  [azure, "/openai/deployments/my%20gpt/chat/completions", {}, "my gpt"],
  [azure, "/openai/deployments/%ZZ/chat/completions", {}, "%ZZ"],
  [azure, "/openai/deployments/a/chat/completions", { model: "b" }, "b"],
  [azure, "/openai/v1/chat/completions", { model: "b" }, "b"],
  [generic, "/openai/deployments/a/chat/completions", {}, "a"],
  [openrouter, "/api/v1/chat/completions", { models: ["a/b", "c/d"] }, "a/b"],
  [openrouter, "/api/v1/chat/completions", { model: "e/f", models: ["a/b"] }, "e/f"],
  [openrouter, "/api/v1/chat/completions", { models: [5] }, ""],
  [mistral, "/v1/agents/completions", { agent_id: "ag:1" }, "ag:1"],
  [openai, chat, {}, ""],
])("takes the model of a body or path (%#)", (dialect, path, body, model) => {
  expect(dialect.readCall(path, body)).toMatchObject({ model, prompt: { model } });
});

test.each([
  [chat, { max_tokens: 500, n: 2 }, null],
  [chat, { max_tokens: 500, n: 1 }, { max_tokens: 100, n: 1 }],
  [chat, { max_tokens: -1 }, null],
  ["/v1/completions", { max_tokens: 500, best_of: 2, prompt: "a" }, null],
  ["/v1/completions", { max_tokens: 500, prompt: ["a", "b"] }, null],
  ["/v1/embeddings", { max_tokens: 500, input: "a" }, null],
  ["/v1/models", { max_tokens: 500 }, null],
])("right-sizes %s with %p to %p", (path, body, lowered) => {
  expect(openai.withMaxOutput(path, body, 100)).toEqual(lowered);
});

test("leaves a response the fewest tokens that the API takes", () => {
  const lowered = openai.withMaxOutput("/v1/responses", { input: "a", max_output_tokens: 500 }, 3);
  expect(lowered).toEqual({ input: "a", max_output_tokens: 16 });
});

test.each([
  [{ "x-prompt-tokens": "7", "x-generated-tokens": "5" }, [7, 5]],
  [{ "x-amzn-bedrock-input-token-count": "7" }, [7, 0]],
  [{ "x-prompt-tokens": "x", "x-generated-tokens": "-5" }, null],
  [{}, null],
])("reads the usage in headers %p as %p", (headers, counts) => {
  const [input = 0, output = 0] = counts ?? [];
  expect(generic.usageInHeaders?.(new Headers(headers as Record<string, string>)) ?? null).toEqual(
    counts === null ? null : { input, output, total: input + output, cachedInput: 0 },
  );
});

test("tells usage of a stream without include_usage from what passed", () => {
  const meter = openai.follow();
  for (const content of ["Hello", " there", ", you"])
    meter.push(
      new TextEncoder().encode(
        `data: ${JSON.stringify({ choices: [{ delta: { content }, finish_reason: null }] })}\n\n`,
      ),
    );
  meter.push(new TextEncoder().encode("data: [DONE]\n\n"));
  expect(meter.end()).toMatchObject({ usage: null, outputTokensSeen: 4, finished: true });
});

const long = { choices: [{ delta: { content: "你好世界".repeat(50) }, finish_reason: null }] };
const told = { prompt_tokens: 5, completion_tokens: 60, total_tokens: 65 };
const stopped = { choices: [{ delta: {}, finish_reason: "stop" }] };
const running = { choices: [{ delta: {}, finish_reason: null }] };

test.each([
  ["usage in the last choice", [long, { ...stopped, usage: told }], true, 60],
  ["usage after the choices", [long, stopped, { choices: [], usage: told }], true, 60],
  ["usage so far", [long, { ...running, usage: told }], false, 200],
  ["one of two answers at its end", [{ ...stopped, usage: told }, long], false, 200],
  ["no usage", [long, stopped], false, 200],
] as const)("a stream that ends without [DONE]: %s", (_, events, finished, output) => {
  const meter = generic.follow();
  for (const event of events)
    meter.push(new TextEncoder().encode(`data: ${JSON.stringify(event)}\n\n`));
  const end = meter.end();
  expect([end.finished, end.usage?.output ?? end.outputTokensSeen]).toEqual([finished, output]);
});

test("takes text that looks like a response's event for text", () => {
  const meter = openai.follow();
  const event = { choices: [{ delta: { content: "response.completed is an event" } }] };
  meter.push(new TextEncoder().encode(`data: ${JSON.stringify(event)}\n\n`));
  expect(meter.end()).toMatchObject({ finished: false, outputTokensSeen: 8 });
});

test("reads only its own provider's extension", () => {
  const event = JSON.stringify({ choices: [], x_groq: { usage: { total_tokens: 5 } } });
  const bytes = new TextEncoder().encode(`data: ${event}\n\n`);
  const end = [groq, openai].map((dialect) => {
    const meter = dialect.follow();
    meter.push(bytes);
    return meter.end().usage?.total ?? null;
  });
  expect(end).toEqual([5, null]);
});

test("takes text, images and tool calls of a chat apart", () => {
  const messages = [
    { role: "system", content: "be brief", name: "boss" },
    {
      role: "user",
      content: [
        { type: "text", text: "what is" },
        { type: "image_url", image_url: { url: image, detail: "low" } },
        { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
        { type: "file", file: { file_data: image, filename: "a.pdf" } },
      ],
    },
    {
      role: "assistant",
      content: null,
      tool_calls: [{ id: "1", function: { name: "f", arguments: "{}" } }],
    },
    { role: "tool", tool_call_id: "1", content: "42" },
  ];
  const format = { type: "json_schema", json_schema: { name: "s" } };
  const { prompt } = openai.readCall(chat, {
    model: "m",
    messages,
    tools: [{ a: 1 }],
    response_format: format,
  });
  expect(prompt.messages).toEqual([
    { role: "system", name: "boss", text: ["be brief"], images: [] },
    {
      role: "user",
      name: null,
      text: [
        "what is",
        '{"type":"input_audio","input_audio":{"data":"","format":"wav"}}',
        '{"type":"file","file":{"file_data":"","filename":"a.pdf"}}',
      ],
      images: [{ width: null, height: null, detail: "low" }],
    },
    {
      role: "assistant",
      name: null,
      text: ['[{"id":"1","function":{"name":"f","arguments":"{}"}}]'],
      images: [],
    },
    { role: "tool", name: null, text: ["42"], images: [] },
  ]);
  expect(prompt.tools).toEqual(['{"a":1}', JSON.stringify(format)]);
});

test("takes the items of a response apart", () => {
  const input = [
    {
      role: "user",
      content: [
        { type: "input_text", text: "hi" },
        { type: "input_image", image_url: image, detail: "high" },
      ],
    },
    { type: "function_call", name: "f", arguments: "{}" },
    { type: "function_call_output", output: "42" },
  ];
  const { prompt } = openai.readCall("/v1/responses", {
    model: "m",
    instructions: "be brief",
    input,
  });
  expect(prompt.messages.map(({ role, text, images }) => [role, text, images.length])).toEqual([
    ["system", ["be brief"], 0],
    ["user", ["hi"], 1],
    ["tool", ['{"type":"function_call","name":"f","arguments":"{}"}'], 0],
    ["tool", ["42"], 0],
  ]);
});

test("keeps the largest of several usages in a stream", () => {
  const meter = openai.follow();
  for (const [input, output] of [
    [5, 1],
    [5, 9],
    [0, 0],
  ]) {
    meter.push(
      new TextEncoder().encode(
        `data: {"usage": {"prompt_tokens":${input},"completion_tokens":${output}}}\n`,
      ),
    );
  }
  expect(meter.end().usage).toEqual({ input: 5, output: 9, total: 14, cachedInput: 0 });
});

test("ignores counts that make no sense", () => {
  const usage = {
    prompt_tokens: 10,
    completion_tokens: "x",
    total_tokens: 1e300,
    prompt_tokens_details: { cached_tokens: 99 },
  };
  expect(openai.usageOf({ usage })).toEqual({ input: 10, output: 0, total: 10, cachedInput: 10 });
});
