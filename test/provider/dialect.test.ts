import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ProxyError } from "../../src/errors.ts";
import type { StreamEnd } from "../../src/provider/dialect.ts";
import { cases, sse } from "./cases.ts";
import type { DialectCase } from "./cases.ts";

/** Follows `text` in pieces that end at `cuts`. */
function follow({ dialect }: DialectCase, text: string, cuts: readonly number[] = []): StreamEnd {
  const bytes = new TextEncoder().encode(text);
  const meter = dialect.follow();
  let from = 0;
  for (const to of [...cuts.map((cut) => cut % bytes.length).sort((a, b) => a - b), bytes.length]) {
    // The buffer is overwritten afterwards, as a transport is free to do.
    const piece = bytes.slice(from, to);
    meter.push(piece);
    piece.fill(0x22);
    from = to;
  }
  return meter.end();
}

describe.each(cases)("$name", (row) => {
  const { dialect, path, request, answer, usage, events } = row;

  test("meters its own calls and no others", () => {
    expect(dialect.isMetered("POST", path)).toBe(true);
    expect(dialect.isMetered("GET", path)).toBe(false);
    expect(dialect.isMetered("POST", "/v1/models")).toBe(false);
    expect(dialect.isMetered("POST", `${path}/batches`)).toBe(false);
  });

  test("reads model, text and the limit on output", () => {
    const call = dialect.readCall(path, request);
    expect(call).toMatchObject({
      model: request["model"] as string,
      stream: false,
      maxOutput: 10,
      hasOutput: true,
    });
    expect(call.prompt.messages.flatMap(({ role, text }) => [role, ...text])).toEqual([
      "user",
      "hi",
    ]);
    expect(dialect.readCall(path, { ...request, stream: true }).stream).toBe(true);
  });

  test("takes the largest of conflicting limits", () => {
    const call = dialect.readCall(path, {
      ...request,
      max_tokens: 7,
      max_completion_tokens: 30.5,
      max_output_tokens: null,
    });
    expect(call.maxOutput).toBe(31);
  });

  test.each([
    [-1, null],
    [null, null],
    [0, 0],
    [1e300, 1e9],
  ])("takes a limit of %p as %p", (given, taken) => {
    const none = {
      ...request,
      max_tokens: undefined,
      max_completion_tokens: undefined,
      max_output_tokens: undefined,
    };
    expect(dialect.readCall(path, { ...none, max_tokens: given }).maxOutput).toBe(taken);
  });

  test.each([
    { model: 5 },
    { max_tokens: "10" },
    { max_tokens: [] },
    { messages: "hi", input: 5 },
    { messages: [5], input: [5] },
    { tools: {} },
  ])("refuses %p", (wrong) => {
    const read = (): unknown => dialect.readCall(path, { ...request, ...wrong });
    expect(read).toThrow(ProxyError);
    expect(read).toThrow(/must be/);
  });

  test("finds the usage of a whole answer", () => {
    expect(dialect.usageOf(answer)).toEqual(usage);
    for (const none of [
      null,
      5,
      "x",
      [],
      {},
      { usage: null },
      { usage: "x" },
      { usage: { prompt_tokens: -1 } },
    ]) {
      expect(dialect.usageOf(none)).toBeNull();
    }
  });

  test("finds the usage of a stream, however it is cut", () => {
    for (const lineEnd of ["\n", "\r\n"]) {
      const text = sse(events, lineEnd);
      const expected = follow(row, text);
      expect(expected).toMatchObject({ usage, finished: true });
      fc.assert(
        fc.property(fc.array(fc.nat(), { maxLength: 40 }), (cuts) => {
          expect(follow(row, text, cuts)).toEqual(expected);
        }),
        { numRuns: 60 },
      );
    }
  });

  test("reads a last line without a line end", () => {
    expect(follow(row, sse(events).trimEnd())).toMatchObject({ usage, finished: true });
  });

  test("estimates the output of a stream from its text", () => {
    const { outputTokensSeen } = follow(row, sse(events));
    expect(outputTokensSeen).toBeGreaterThanOrEqual(
      Math.max(row.textEvents, Math.ceil(row.textChars / 4)),
    );
    expect(outputTokensSeen).toBeLessThanOrEqual(row.textChars);
  });

  test("says when a stream broke off", () => {
    const end = follow(row, sse(events.slice(0, -2)));
    expect(end.finished).toBe(false);
    expect(end.outputTokensSeen).toBeGreaterThan(0);
    expect(end.usage?.output ?? end.outputTokensSeen).toBeGreaterThanOrEqual(end.outputTokensSeen);
  });

  test("passes over what is not JSON, and lines that do not end", () => {
    const long = "x".repeat(3 << 20);
    const text = `data: {"usage":{\n: comment\ndata\ndata:\n${long}\ndata: ${long}\n\n${sse(events)}`;
    expect(follow(row, text, [100, 1 << 20, (1 << 20) + 50, 5 << 20])).toMatchObject({
      usage,
      finished: true,
    });
  });

  test("never throws on a stream's bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 40 })), (chunks) => {
        const meter = dialect.follow();
        meter.push(new TextEncoder().encode('data: {"delta":"'));
        for (const chunk of chunks) meter.push(chunk);
        expect(meter.end().outputTokensSeen).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  test("never throws anything but a ProxyError on a body", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom(...bodyKeys), fc.jsonValue({ maxDepth: 4 })),
        (body) => {
          try {
            const { maxOutput } = dialect.readCall(path, body);
            expect(maxOutput === null || (Number.isInteger(maxOutput) && maxOutput >= 0)).toBe(
              true,
            );
          } catch (error) {
            expect(error).toBeInstanceOf(ProxyError);
          }
        },
      ),
    );
  });

  test("says our errors so that SDKs understand them", () => {
    const error = {
      status: 429,
      type: "rate_limit_error",
      code: "QUEUE_FULL",
      message: 'full "now"',
    };
    const said: unknown = JSON.parse(dialect.errorBody(error, "id-1"));
    expect(said).toMatchObject({ error: { type: "rate_limit_error", message: 'full "now"' } });
    if (dialect.name === "anthropic")
      expect(said).toMatchObject({ type: "error", request_id: "id-1" });
    else expect(said).toMatchObject({ error: { code: "QUEUE_FULL", request_id: "id-1" } });
  });
});

const bodyKeys = [
  "model",
  "messages",
  "input",
  "prompt",
  "tools",
  "max_tokens",
  "n",
  "system",
  "instructions",
  "text",
  "suffix",
];
