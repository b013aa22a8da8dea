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
    failed: false,
    stoppedForLength: false,
  });
});

test.each([
  ["only output later", { output_tokens: 9 }, [110, 9, 30]],
  ["all of it again", { ...input(40, 50, 30), output_tokens: 9 }, [120, 9, 30]],
  ["more input, from tools on the server", { input_tokens: 500, output_tokens: 9 }, [530, 9, 30]],
  ["zeros", { ...input(0, 0, 0), output_tokens: 0 }, [110, 1, 30]],
])("takes counts of a stream as sums so far: %s", (_name, later, [all, output, cached]) => {
  const meter = anthropic.follow();
  const start = { usage: { ...input(30, 50, 30), output_tokens: 1 } };
  const events = [
    { type: "message_start", message: start },
    { type: "message_delta", delta: { stop_reason: "end_turn" }, usage: later },
    { type: "message_stop" },
  ];
  for (const event of events)
    meter.push(new TextEncoder().encode(`data: ${JSON.stringify(event)}\n\n`));
  expect(meter.end().usage).toEqual({
    input: all!,
    output: output!,
    total: all! + output!,
    cachedInput: cached!,
  });
});

function input(fresh: number, created: number, read: number): Record<string, number> {
  return {
    input_tokens: fresh,
    cache_creation_input_tokens: created,
    cache_read_input_tokens: read,
  };
}

test.each([
  [{ max_tokens: 4_000 }, 1_000, 1_000],
  [{ max_tokens: 4_000, thinking: { type: "enabled", budget_tokens: 999 } }, 1_000, 1_000],
  [{ max_tokens: 4_000, thinking: { type: "enabled", budget_tokens: 1_000 } }, 1_000, null],
  [{ max_tokens: 4_000, thinking: { type: "disabled" } }, 1_000, 1_000],
  [{}, 1_000, null],
])("lowers the cap of %p to %p: %p", (body, tokens, lowered) => {
  expect(anthropic.withMaxOutput("/v1/messages", body, tokens)).toEqual(
    lowered === null ? null : { ...body, max_tokens: lowered },
  );
});
