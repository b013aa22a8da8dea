import { expect, test } from "bun:test";
import { gemini } from "../../src/provider/gemini.ts";

const generate = "/v1beta/models/gemini-2.5-flash:generateContent";

test.each([
  [generate, "gemini-2.5-flash", false],
  ["/v1beta/models/gemini-2.5-flash%3AstreamGenerateContent", "gemini-2.5-flash", true],
  ["/v1beta/tunedModels/my%20own:generateContent", "my own", false],
  ["/v1beta1/projects/p/locations/l/publishers/google/models/m:streamGenerateContent", "m", true],
])("takes model and method of %s", (path, model, stream) => {
  expect(gemini.isMetered("POST", path)).toBe(true);
  expect(gemini.readCall(path, { contents: [] })).toMatchObject({ model, stream });
});

test.each([
  [{ generationConfig: { maxOutputTokens: 10, candidateCount: 3 } }, 30],
  [{ generation_config: { max_output_tokens: 10 } }, 10],
  [{ generationConfig: { candidateCount: 3 } }, null],
  [{ generationConfig: null }, null],
])("%p allows %p tokens of output", (config, allowed) => {
  expect(gemini.readCall(generate, { contents: [], ...config }).maxOutput).toBe(allowed);
});

test.each([
  [{ generationConfig: { maxOutputTokens: 500 } }, { generationConfig: { maxOutputTokens: 100 } }],
  [
    { generation_config: { max_output_tokens: 500, temperature: 1 } },
    { generation_config: { max_output_tokens: 100, temperature: 1 } },
  ],
  [{ generationConfig: { maxOutputTokens: 500, candidateCount: 2 } }, null],
  [{ generationConfig: { maxOutputTokens: 500, thinkingConfig: { thinkingBudget: 100 } } }, null],
  [{ generationConfig: {} }, null],
  [{}, null],
])("right-sizes %p to %p", (body, lowered) => {
  expect(gemini.withMaxOutput(generate, body, 100)).toEqual(lowered);
  expect(gemini.withMaxOutput("/v1beta/models/m:embedContent", body, 100)).toBeNull();
});

test("takes text, images, calls, tools and the instruction apart", () => {
  const schema = { type: "OBJECT" };
  const { prompt } = gemini.readCall(generate, {
    systemInstruction: { parts: [{ text: "be brief" }] },
    contents: [
      {
        role: "user",
        parts: [
          { text: "what is" },
          { inlineData: { mimeType: "image/png", data: "AAAA" } },
          { inline_data: { mime_type: "audio/wav", data: "AAAA" } },
          { fileData: { mimeType: "image/jpeg", fileUri: "files/1" } },
        ],
      },
      {
        role: "model",
        parts: [{ functionCall: { name: "f", args: { a: 1 } }, thoughtSignature: "AAAA" }],
      },
    ],
    tools: [{ functionDeclarations: [{ name: "f" }, { name: "g" }] }, { googleSearch: {} }],
    generationConfig: { responseSchema: schema },
  });
  expect(prompt.messages.map(({ role, text, images }) => [role, text, images.length])).toEqual([
    ["system", ["be brief"], 0],
    ["user", ["what is", '{"inline_data":{"mime_type":"audio/wav","data":""}}'], 2],
    ["model", ['{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":""}'], 0],
  ]);
  expect(prompt.tools).toEqual([
    '{"name":"f"}',
    '{"name":"g"}',
    '{"googleSearch":{}}',
    '{"type":"OBJECT"}',
  ]);
});

test.each([
  ["embedContent", { content: { parts: [{ text: "a" }, { text: "b" }] } }, ["a", "b"]],
  [
    "batchEmbedContents",
    { requests: [{ content: { parts: [{ text: "a" }] } }, { content: "b" }, {}] },
    ["a", "b"],
  ],
])("embeds by %s", (method, body, texts) => {
  const call = gemini.readCall(`/v1beta/models/m:${method}`, body);
  expect(call).toMatchObject({
    hasOutput: false,
    maxOutput: null,
    prompt: { texts, messages: [] },
  });
});

test("keeps the last usage of a stream, which is its sum", () => {
  const counts = [
    { promptTokenCount: 7, totalTokenCount: 7 },
    { promptTokenCount: 5, candidatesTokenCount: 2, thoughtsTokenCount: 3, totalTokenCount: 10 },
    {},
  ];
  const events = counts.map((usageMetadata) => ({ candidates: [], usageMetadata }));
  const usage = { input: 5, output: 5, total: 10, cachedInput: 0 };
  const meter = gemini.follow();
  for (const event of events)
    meter.push(new TextEncoder().encode(`data: ${JSON.stringify(event)}\r\n\r\n`));
  expect(meter.end().usage).toEqual(usage);
  expect(gemini.usageOf(events)).toEqual(usage);
});

test("ends with a blocked prompt", () => {
  const meter = gemini.followJson();
  const event = {
    promptFeedback: { blockReason: "SAFETY" },
    usageMetadata: { promptTokenCount: 4 },
  };
  meter.push(new TextEncoder().encode(JSON.stringify([event])));
  expect(meter.end()).toMatchObject({ finished: true, usage: { input: 4, output: 0 } });
});
