import { expect, test } from "bun:test";
import { openai } from "../../src/provider/openai.ts";

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
  ["/openai/deployments/my%20gpt/chat/completions", {}, "my gpt"],
  ["/openai/deployments/%ZZ/chat/completions", {}, "%ZZ"],
  ["/openai/deployments/a/chat/completions", { model: "b" }, "b"],
  [chat, {}, ""],
])("takes the model of %s with %p as %p", (path, body, model) => {
  expect(openai.readCall(path, body)).toMatchObject({ model, prompt: { model } });
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
