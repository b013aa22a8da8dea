import { expect, test } from "bun:test";
import { anthropic } from "../../src/provider/anthropic.ts";

test("takes system, text, images, thinking and tools apart", () => {
  const source = { type: "base64", media_type: "image/png", data: "AAAA" };
  const { prompt } = anthropic.readCall("/v1/messages", {
    model: "m",
    system: [{ type: "text", text: "be brief" }],
    messages: [
      {
        role: "user",
        content: [
          { type: "image", source },
          { type: "text", text: "what" },
          { type: "document", source },
        ],
      },
      {
        role: "assistant",
        content: [
          { type: "thinking", thinking: "hm", signature: "xx" },
          { type: "tool_use", id: "1", name: "f", input: { a: 1 } },
        ],
      },
      {
        role: "user",
        content: [
          {
            type: "tool_result",
            tool_use_id: "1",
            content: [
              { type: "text", text: "42" },
              { type: "image", source },
            ],
          },
        ],
      },
    ],
    tools: [{ name: "f" }],
  });
  expect(prompt.messages.map(({ role, text, images }) => [role, text, images.length])).toEqual([
    ["system", ["be brief"], 0],
    [
      "user",
      ["what", '{"type":"document","source":{"type":"base64","media_type":"image/png","data":""}}'],
      1,
    ],
    ["assistant", ["hm", '{"name":"f","input":{"a":1}}'], 0],
    ["user", ["42"], 1],
  ]);
  expect(prompt.tools).toEqual(['{"name":"f"}']);
});

test("charges a stream that broke off for what passed", () => {
  const meter = anthropic.follow();
  const start = {
    type: "message_start",
    message: { usage: { input_tokens: 10, output_tokens: 1 } },
  };
  const delta = {
    type: "content_block_delta",
    delta: { type: "text_delta", text: "x".repeat(400) },
  };
  for (const event of [start, delta])
    meter.push(new TextEncoder().encode(`data: ${JSON.stringify(event)}\n\n`));
  expect(meter.end()).toEqual({
    usage: { input: 10, output: 100, total: 110, cachedInput: 0 },
    outputTokensSeen: 100,
    finished: false,
  });
});
