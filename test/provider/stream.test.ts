import { expect, test } from "bun:test";
import fc from "fast-check";
import type { StreamEnd, StreamMeter } from "../../src/provider/dialect.ts";
import { streamFollower } from "../../src/provider/stream.ts";
import type { StreamFormat } from "../../src/provider/stream.ts";
import { openAiStream } from "../../src/provider/openai-answer.ts";
import { anthropicStream } from "../../src/provider/anthropic.ts";

/** Lines as providers send them, plain ones and all the others. */
const openAiLines = [
  'data: {"choices":[{"delta":{"content":" more"}}],"usage":null}',
  'data: {"choices":[{"delta":{"content":"\\"content\\": \\u00e9 日本","reasoning":"so"}}]}',
  'data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{}"}}]}}]}',
  'data: {"choices":[{"delta":{"content":""},"finish_reason":"length"}]}',
  'data: {"choices":[],"usage" : {"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}',
  'data: {"error":{"message":"broken"}}',
  'data: {"type":"response.output_text.delta","delta":"a b c"}',
  'data: {"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}',
  "data: [DONE]",
  ": a comment",
  "",
  `data: {"choices":[{"delta":{"content":"${"long ".repeat(60)}"}}]}`,
];
const anthropicLines = [
  'data: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":1}}}',
  'data: {"type":"content_block_start","content_block":{"type":"text","text":"not a delta"}}',
  'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"Hello"}}',
  'data: {"type": "content_block_delta","delta":{"partial_json":"{\\"a\\":1}"}}',
  'data: {"type":"ping"}',
  'data: {"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":15}}',
  'data: {"type":"message_stop"}',
  'data: {"type":"error","error":{"type":"overloaded_error"}}',
  "event: content_block_delta",
  "",
];

function fed(meter: StreamMeter, bytes: Buffer, cuts: readonly number[]): unknown {
  let start = 0;
  for (const cut of [...cuts]
    .map((share) => Math.floor(share * bytes.length))
    .toSorted((a, b) => a - b)) {
    meter.push(bytes.subarray(start, cut));
    start = cut;
  }
  meter.push(bytes.subarray(start));
  return meter.end();
}

test.each([
  ["OpenAI", openAiStream(null), openAiLines],
  ["Anthropic", anthropicStream, anthropicLines],
] as const)(
  "a stream of %s's says the same however much of it is looked at together",
  (_, format, lines) => {
    const eventByEvent: StreamFormat = { ...format };
    delete eventByEvent.plain;
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...lines), { maxLength: 40 }),
        fc.constantFrom("\n", "\r\n", "\n\n"),
        fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 }),
        fc.integer({ min: 16, max: 2_000 }),
        (some, lineEnd, cuts, blockBytes) => {
          const bytes = Buffer.from(some.join(lineEnd));
          const expected = fed(streamFollower(eventByEvent, 1)(), bytes, []);
          expect(fed(streamFollower(format, blockBytes)(), bytes, cuts)).toEqual(expected);
        },
      ),
      { numRuns: 500 },
    );
  },
);

test.each([
  ["OpenAI", openAiStream(null), openAiLines],
  ["Anthropic", anthropicStream, anthropicLines],
] as const)("streams of %s's that are read at once do not hear each other", (_, format, lines) => {
  const some = fc.record({
    lines: fc.array(fc.constantFrom(...lines), { maxLength: 20 }),
    isLastWhole: fc.boolean(),
    isLeft: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(some, { minLength: 1, maxLength: 4 }),
      fc.array(fc.record({ of: fc.nat(3), bytes: fc.integer({ min: 1, max: 90 }) })),
      fc.integer({ min: 16, max: 2_000 }),
      (streams, pieces, blockBytes) => {
        const follower = streamFollower(format, blockBytes);
        const all = streams.map((stream) => {
          const bytes = Buffer.from(stream.lines.join("\n") + (stream.isLastWhole ? "\n" : ""));
          return { ...stream, bytes, meter: follower(), at: 0 };
        });
        for (const piece of pieces) {
          const stream = all[piece.of % all.length]!;
          stream.meter.push(stream.bytes.subarray(stream.at, stream.at + piece.bytes));
          stream.at = Math.min(stream.bytes.length, stream.at + piece.bytes);
        }
        for (const { isLeft, meter, bytes, at } of all) {
          if (isLeft) continue;
          meter.push(bytes.subarray(at));
          expect(meter.end()).toEqual(fed(streamFollower(format)(), bytes, []) as StreamEnd);
        }
      },
    ),
    { numRuns: 1_000 },
  );
});

test("plain events of a whole answer are never parsed one by one", () => {
  let asked = 0;
  const meter = streamFollower({
    ...openAiStream(null),
    kindOf: (event) => {
      asked++;
      return openAiStream(null).kindOf(event);
    },
  })();
  const plain = 'data: {"choices":[{"delta":{"content":" more"}}],"usage":null}\n\n';
  for (let i = 0; i < 1_000; i++) meter.push(Buffer.from(plain));
  meter.push(Buffer.from("data: [DONE]\n\n"));
  const { outputTokensSeen, finished } = meter.end();
  expect([outputTokensSeen, finished]).toEqual([1_250, true]);
  // The end.
  expect(asked).toBe(1);
});
