import { describe, expect, test } from "bun:test";
import { UsageError } from "../../src/errors.ts";
import { parseDuration } from "../../src/mock/duration.ts";
import { estimateTokens, outputText } from "../../src/mock/estimate.ts";
import {
  chatPromptTokens,
  maxOutputTokens,
  plainInputTokens,
} from "../../src/mock/openai-prompt.ts";
import { resolveOptions } from "../../src/mock/options.ts";
import { randomFor } from "../../src/mock/random.ts";

describe("durations", () => {
  test.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["1.5s", 1500],
    ["10m", 600_000],
    ["1h30m", 5_400_000],
    ["2", 2000],
    ["0", 0],
  ])("%s", (text, ms) => expect(parseDuration(text)).toBe(ms));

  test.each(["", "5 s", "s", "-1s", "1d", "1e3", "1s2"])("refuses %p", (text) =>
    expect(() => parseDuration(text)).toThrow(UsageError),
  );
});

describe("token estimates", () => {
  test.each([
    ["", 0],
    ["Hello, world!", 4],
    ["a long internationalisation", 5],
    ["2026-07-13", 6],
    ["日本", 2],
  ])("%p is %d", (text, tokens) => expect(estimateTokens(text)).toBe(tokens));

  test("output text has as many tokens as asked, in pieces as in one", () => {
    for (const length of [0, 1, 7, 500]) expect(estimateTokens(outputText(0, length))).toBe(length);
    expect(outputText(0, 20) + outputText(20, 50)).toBe(outputText(0, 50));
  });

  test("a chat prompt counts texts, parts, images, tools and the template", () => {
    const text = chatPromptTokens([{ role: "user", content: "one two" }], undefined);
    expect(text).toBe(3 + 4 + 2);
    const parts = [
      { type: "text", text: "one" },
      { type: "image_url", image_url: {} },
    ];
    expect(chatPromptTokens([{ role: "user", content: parts }], undefined)).toBe(3 + 4 + 1 + 85);
    expect(
      chatPromptTokens([{ role: "user", content: "one two" }], [{ name: "x" }]),
    ).toBeGreaterThan(text);
  });

  test.each([
    ["one two", 2],
    [["one", "two three"], 3],
    [[1, 2, 3], 3],
    [[[1, 2], [3]], 3],
    [null, 0],
  ])("plain input %j is %d", (input, tokens) => expect(plainInputTokens(input)).toBe(tokens));

  test.each([
    [{}, null],
    [{ max_tokens: 5 }, 5],
    [{ max_completion_tokens: 5, max_tokens: 9 }, 9],
    [{ max_completion_tokens: -1 }, null],
    [{ max_completion_tokens: "7" }, null],
  ])("the bound of %j is %p", (fields, bound) => expect(maxOutputTokens(fields)).toBe(bound));
});

describe("randomness", () => {
  test("is the same for the same seed and index, and another for others", () => {
    const draws = (seed: number, index: number): number[] => {
      const random = randomFor(seed, index);
      return [random.uniform(), random.uniform(), random.logNormal(100, 50)];
    };
    expect(draws(1, 2)).toEqual(draws(1, 2));
    expect(draws(1, 2)).not.toEqual(draws(1, 3));
    expect(draws(1, 2)).not.toEqual(draws(2, 2));
  });

  test("first draws of successive requests are uniform; log-normal has its mean and deviation", () => {
    const count = 20_000;
    const uniforms: number[] = [];
    const lengths: number[] = [];
    for (let index = 0; index < count; index++) {
      const random = randomFor(7, index);
      uniforms.push(random.uniform());
      lengths.push(random.logNormal(256, 128));
    }
    const mean = (values: number[]): number =>
      values.reduce((sum, value) => sum + value, 0) / count;
    for (let tenth = 0; tenth < 10; tenth++) {
      const share = uniforms.filter((value) => Math.floor(value * 10) === tenth).length / count;
      expect(share).toBeCloseTo(0.1, 1.6);
    }
    const lengthMean = mean(lengths);
    const deviation = Math.sqrt(mean(lengths.map((value) => (value - lengthMean) ** 2)));
    expect(Math.abs(lengthMean - 256)).toBeLessThan(5);
    expect(Math.abs(deviation - 128)).toBeLessThan(8);
    expect(randomFor(1, 1).logNormal(0, 10)).toBe(0);
  });
});

describe("options", () => {
  test("limits given join the profile's own; 0 turns one off", () => {
    const names = (limits: { unit: string; window: string; limit: number }[]): string[] =>
      limits.map(({ unit, window, limit }) => `${unit}/${window}=${limit}`);
    expect(names([...resolveOptions({ rpm: 120 }).limits])).toEqual([
      "requests/minute=120",
      "requests/day=1440000",
      "tokens/minute=1000000",
      "total_tokens/minute=3000000",
    ]);
    expect(names([...resolveOptions({ rpm: 0, rpd: 0, tph: 5, total_tpm: 9 }).limits])).toEqual([
      "tokens/minute=1000000",
      "tokens/hour=5",
      "total_tokens/minute=9",
    ]);
    expect(names([...resolveOptions({ rpm: 1, rpd: 0, tpm: 0 }).limits])).toEqual([
      "requests/minute=1",
    ]);
    expect(names([...resolveOptions({ rpd: 0, tpm: 10, total_tpm: 0 }).limits])).toEqual([
      "requests/minute=1000",
      "tokens/minute=10",
    ]);
    expect(resolveOptions({ profile: "plain" }).limits).toEqual([]);
    expect(resolveOptions({ profile: "plain", rpm: 5, rps: 2, windowMs: 600 }).limits).toEqual([
      { unit: "requests", window: "second", windowMs: 1000, limit: 2 },
      { unit: "requests", window: "minute", windowMs: 600, limit: 5 },
    ]);
  });

  test.each([
    [{ rpm: -1 }, "rpm"],
    [{ port: 70_000 }, "port"],
    [{ resetRate: -0.1 }, "reset rate"],
    [{ stallRate: 2 }, "stall rate"],
    [{ resetRate: 0.5, stallRate: 0.3, cutRate: 0.3 }, "sum of reset, stall and cut rate"],
    [{ refuseForMs: -1 }, "refuse for"],
    [{ externalPrompt: -1 }, "external prompt"],
    [{ externalLoad: "lots" }, "external load"],
    [{ profile: "plain" as const, externalLoad: "20%" }, "external load"],
    [{ profile: "groq" as const, insufficientQuota: true }, "insufficient quota"],
    [{ output_tpm: NaN }, "output_tpm"],
    [{ errorRate: 1.5 }, "error rate"],
    [{ errorStatus: 200 }, "error status"],
    [{ outputFraction: 2 }, "output fraction"],
    [{ burst: 0.5 }, "burst"],
    [{ tokensPerChunk: 0 }, "chunk tokens"],
    [{ windowMs: 0 }, "window"],
    [{ latencyMs: NaN }, "latency"],
    [{ profile: "nobody" as "plain" }, "nobody"],
  ])("%j is refused by name", (options, name) => {
    expect(() => resolveOptions(options)).toThrow(UsageError);
    expect(() => resolveOptions(options)).toThrow(name);
  });
});
