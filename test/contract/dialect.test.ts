import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ProxyError } from "../../src/errors.ts";
import { readAnswer } from "../../src/provider/answer.ts";
import type { StreamEnd, Usage } from "../../src/provider/dialect.ts";
import { cases, wire } from "../provider/cases.ts";
import type { DialectCase } from "../provider/cases.ts";

/** Follows `text` in pieces that end at `cuts`, which may be inside a character. */
function follow(
  { dialect, framing }: DialectCase,
  text: string,
  cuts: readonly number[] = [],
): StreamEnd {
  const bytes = new TextEncoder().encode(text);
  const meter = framing === "json" ? dialect.followJson?.() : dialect.follow();
  let from = 0;
  for (const to of [...cuts.map((cut) => cut % bytes.length).sort((a, b) => a - b), bytes.length]) {
    // The buffer is overwritten afterwards, as a transport is free to do.
    const piece = bytes.slice(from, to);
    meter!.push(piece);
    piece.fill(0x22);
    from = to;
  }
  return meter!.end();
}

const usage: Usage = { input: 20, output: 5, total: 25, cachedInput: 8 };
const texts = ['He said "usage":{', "Grüße 🎉"];

/** Any usage that a provider may report. */
const usages = fc
  .record({ fresh: fc.nat(100_000), cachedInput: fc.nat(100_000), output: fc.nat(100_000) })
  .map(({ fresh, cachedInput, output }) => {
    const input = 1 + fresh + cachedInput;
    return { input, output, total: input + output, cachedInput };
  });

/** Text as models write it, and what could be taken for something else. */
const written = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom(
    '"usage":{"total_tokens":9}',
    "[DONE]",
    "data: x\n\n",
    '"error"',
    "response.",
    "\\",
  ),
);

describe.each(cases)("$name", (row) => {
  const { dialect, path, model } = row;

  test("meters its own calls and no others", () => {
    expect(dialect.isMetered("POST", path)).toBe(true);
    expect(dialect.isMetered("GET", path)).toBe(false);
    expect(dialect.isMetered("POST", "/v1/models")).toBe(false);
    expect(dialect.isMetered("POST", `${path}/batches`)).toBe(false);
    expect(dialect.isMetered("POST", `${path}/count_tokens`)).toBe(false);
    expect(dialect.isMetered("POST", "/v1beta/models/m:countTokens")).toBe(false);
  });

  test("reads model, text and the limit on output", () => {
    const call = dialect.readCall(path, row.request(10));
    expect(call).toMatchObject({ model, maxOutput: 10, hasOutput: true, prompt: { model } });
    const { messages, texts } = call.prompt;
    expect([...messages.flatMap(({ text }) => text), ...texts]).toEqual(["hi"]);
    expect(dialect.readCall(path, { ...row.request(10), stream: true }).stream).toBe(true);
  });

  test("takes the largest of conflicting limits", () => {
    expect(dialect.readCall(path, row.request(7, 30.5)).maxOutput).toBe(31);
    expect(dialect.readCall(path, row.request(30.5, 7)).maxOutput).toBe(31);
  });

  test.each([
    [undefined, null],
    [-1, null],
    [null, null],
    [0, 0],
    [1e300, 1e9],
  ])("takes a limit of %p as %p", (given, taken) => {
    expect(dialect.readCall(path, row.request(given)).maxOutput).toBe(taken);
  });

  test.each(row.wrong)("refuses %p", (wrong) => {
    const read = (): unknown => dialect.readCall(path, { ...row.request(10), ...wrong });
    expect(read).toThrow(ProxyError);
    expect(read).toThrow(/must be/);
  });

  test("lowers its caps and nothing else, and never raises one", () => {
    fc.assert(
      fc.property(
        fc.option(fc.integer({ min: -1, max: 40_000 }), { nil: undefined }),
        fc.option(fc.integer({ min: -1, max: 40_000 }), { nil: undefined }),
        fc.integer({ min: 16, max: 40_000 }),
        (cap, otherCap, tokens) => {
          const lower = (given: number | undefined): number | undefined =>
            given === undefined ? undefined : Math.min(given, tokens);
          const body = row.request(cap, otherCap);
          const before = structuredClone(body);
          const lowered = dialect.withMaxOutput(path, body, tokens);
          const isOver = Math.max(cap ?? 0, otherCap ?? 0) > tokens;
          expect(lowered).toEqual(isOver ? row.request(lower(cap), lower(otherCap)) : null);
          expect(body).toEqual(before);
        },
      ),
    );
  });

  test("finds usage and reason of a whole answer", () => {
    fc.assert(
      fc.property(usages, fc.boolean(), (reported, stopped) => {
        const answer = row.answer(reported, stopped);
        expect(dialect.usageOf(answer)).toEqual(reported);
        expect(dialect.stoppedForLength(answer)).toBe(stopped);
        for (const space of [undefined, 2]) {
          const bytes = new TextEncoder().encode(JSON.stringify(answer, null, space));
          expect(readAnswer(dialect, bytes)).toEqual({
            usage: reported,
            stoppedForLength: stopped,
          });
        }
      }),
    );
    for (const none of [null, 5, "x", [], {}, { usage: null }, { usage: "x" }]) {
      expect(dialect.usageOf(none)).toBeNull();
      expect(dialect.stoppedForLength(none)).toBe(false);
    }
    for (const of of ["x", { prompt_tokens: -1 }, { promptTokenCount: "5" }, []])
      expect(dialect.usageOf({ [dialect.usageKey]: of })).toBeNull();
  });

  test("finds the usage behind megabytes, or in front of other fields", () => {
    const answer = row.answer(usage, false) as Record<string, unknown>;
    const large = {
      data: "x".repeat(300_000),
      ...answer,
      metadata: { usage: "x", y: '"usage":{' },
    };
    const bytes = new TextEncoder().encode(JSON.stringify(large, null, 2));
    expect(readAnswer(dialect, bytes).usage).toEqual(usage);
    expect(readAnswer(dialect, bytes.subarray(0, -400)).usage).toBeNull();
  });

  test("finds exactly what a stream reports, however it is cut", () => {
    fc.assert(
      fc.property(
        fc.array(written, { minLength: 1, maxLength: 6 }),
        usages,
        fc.boolean(),
        fc.constantFrom("\n", "\r\n"),
        fc.array(fc.nat(), { maxLength: 60 }),
        (parts, reported, stopped, lineEnd, cuts) => {
          const text = wire(row, row.events(parts, reported, stopped), lineEnd);
          const whole = follow(row, text);
          expect(whole).toMatchObject({
            usage: reported,
            finished: true,
            failed: false,
            stoppedForLength: stopped,
          });
          expect(follow(row, text, cuts)).toEqual(whole);
        },
      ),
    );
  });

  test("finds the same byte by byte", () => {
    const text = wire(row, row.events(texts, usage, true));
    expect(follow(row, text, [...Array(4_000).keys()])).toEqual(follow(row, text));
  });

  test("reads past a byte order mark, wherever it is cut", () => {
    const text = wire(row, row.events(texts, usage, false));
    const lines = text
      .split("\n")
      .filter((line) => row.framing === "json" || line.startsWith("data:"));
    const plain = lines.join("\n\n");
    const expected = follow(row, plain);
    expect(expected).toMatchObject({ usage, finished: true });
    for (const cuts of [[], [1], [1, 2], [3], [2, 5]])
      expect(follow(row, `\uFEFF${plain}`, cuts)).toEqual(expected);
  });

  test("reads a last event without a line end", () => {
    const text = wire(row, row.events(texts, usage, false)).replace(/\s*\]?$/, (end) =>
      row.framing === "json" ? "" : end.trimEnd(),
    );
    expect(follow(row, text)).toMatchObject({ usage, finished: true });
  });

  test("estimates the output of a stream from its text, once", () => {
    const { outputTokensSeen } = follow(row, wire(row, row.events(texts, usage, false)));
    const characters = texts.join("").length;
    expect(outputTokensSeen).toBeGreaterThanOrEqual(Math.ceil(characters / 4));
    expect(outputTokensSeen).toBeLessThanOrEqual(characters);
  });

  test("says when a stream broke off, and charges what passed", () => {
    const events = row.events(["x".repeat(400), ...texts], usage, false);
    // Only servers of OpenAI's format mark an end that says nothing; it is as good without.
    if (events.at(-1) === "[DONE]") events.pop();
    for (const missing of [1, 2]) {
      const end = follow(row, wire(row, events.slice(0, -missing)));
      expect(end).toMatchObject({ finished: false, failed: false });
      expect(end.usage?.output ?? end.outputTokensSeen).toBeGreaterThanOrEqual(100);
    }
  });

  test("takes an error for an end, and charges what passed", () => {
    const long = ["x".repeat(400), "y"];
    const begun = row.events(long, usage, false).slice(0, -2);
    const end = follow(row, wire(row, [...begun, JSON.stringify(row.error)]));
    expect(end).toMatchObject({ finished: true, failed: true, stoppedForLength: false });
    expect(end.usage?.output ?? end.outputTokensSeen).toBeGreaterThanOrEqual(100);
    expect(follow(row, wire(row, [...begun, JSON.stringify(row.error), "[DONE]"])).failed).toBe(
      true,
    );
  });

  test("finds usage behind an image in the same event", () => {
    const events = row.events(texts, usage, false).map((event) => {
      if (event === "[DONE]" || !event.includes(dialect.usageKey)) return event;
      return event.replace("{", `{"image":"${"A".repeat(2 << 20)}",`);
    });
    const cuts = [...Array(90).keys()].map((at) => at * 60_000);
    for (const at of [[], cuts])
      expect(follow(row, wire(row, events), at)).toMatchObject({ usage, finished: true });
  });

  test("passes over what is not JSON, and lines that do not end", () => {
    if (row.framing === "json") return;
    const long = "x".repeat(3 << 20);
    const good = wire(row, row.events(texts, usage, false));
    const text = `data: {"usage":{\n: comment\ndata\ndata:\n${long}\ndata: ${long}\n\n${good}`;
    expect(follow(row, text, [100, 1 << 20, (1 << 20) + 50, 5 << 20])).toMatchObject({
      usage,
      finished: true,
    });
  });

  test("never throws on a stream's bytes", () => {
    const pieces = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc
        .constantFrom("{", "}", '"', "\\", "\n", 'data: {"usage":{', '"error":{', "[DONE]")
        .map((text) => new TextEncoder().encode(text)),
    );
    fc.assert(
      fc.property(fc.array(pieces), (chunks) => {
        const meter = row.framing === "json" ? dialect.followJson?.() : dialect.follow();
        for (const chunk of chunks) meter!.push(chunk);
        expect(meter!.end().outputTokensSeen).toBeGreaterThanOrEqual(0);
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
            dialect.withMaxOutput(path, body, 10);
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
      retryAfterMs: 1_500,
    };
    const said: unknown = JSON.parse(dialect.errorBody(error, "id-1"));
    expect(said).toMatchObject(bodies[dialect.name] ?? bodies["others"]!);
  });
});

const bodies: Record<string, object> = {
  anthropic: {
    type: "error",
    error: { type: "rate_limit_error", message: 'full "now"' },
    request_id: "id-1",
  },
  gemini: {
    error: {
      code: 429,
      message: 'full "now"',
      status: "RESOURCE_EXHAUSTED",
      details: [
        {
          "@type": "type.googleapis.com/google.rpc.ErrorInfo",
          reason: "QUEUE_FULL",
          metadata: { request_id: "id-1" },
        },
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "2s" },
      ],
    },
  },
  others: {
    error: {
      type: "rate_limit_error",
      message: 'full "now"',
      code: "QUEUE_FULL",
      request_id: "id-1",
    },
  },
};

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
  "contents",
  "systemInstruction",
  "generationConfig",
  "requests",
  "thinking",
];
