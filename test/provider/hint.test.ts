import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { longestWaitMs } from "../../src/provider/hint-reset.ts";
import type { Hint } from "../../src/provider/hint-shape.ts";
import { readHints } from "../../src/provider/hint.ts";
import { providers } from "../../src/provider/provider.ts";
import type { Provider } from "../../src/provider/provider.ts";

/** A Saturday, 04:04:00.250 UTC. */
const now = Date.parse("2026-11-21T04:04:00.250Z");
const day = 86_400_000;

type Row = [Hint["unit"], Hint["window"], number | null, number | null, number | null];

/** Hints as rows; the reset in milliseconds from now. */
function rows(provider: Provider, headers: Record<string, string>): Row[] {
  return readHints(provider, new Headers(headers), now).map(
    ({ unit, window, limit, remaining, resetAt }) => [
      unit,
      window,
      limit,
      remaining,
      resetAt === null ? null : Math.round((resetAt - now) * 1_000) / 1_000,
    ],
  );
}

const cases: [string, Provider, Record<string, string>, Row[]][] = [
  [
    "OpenAI: durations until all is there again",
    "openai",
    {
      "x-ratelimit-limit-requests": "500",
      "x-ratelimit-limit-tokens": "30000",
      "x-ratelimit-remaining-requests": "499",
      "x-ratelimit-remaining-tokens": "29976",
      "x-ratelimit-reset-requests": "120ms",
      "x-ratelimit-reset-tokens": "48ms",
    },
    [
      ["requests", "minute", 500, 499, 120],
      ["tokens", "minute", 30_000, 29_976, 48],
    ],
  ],
  [
    "OpenAI: 1 of 200 that takes 7m12s to come back is of a day",
    "openai",
    {
      "x-ratelimit-limit-requests": "200",
      "x-ratelimit-remaining-requests": "199",
      "x-ratelimit-reset-requests": "7m12s",
    },
    [["requests", "day", 200, 199, 432_000]],
  ],
  [
    "OpenAI: a project's tokens beside the organisation's",
    "openai",
    {
      "x-ratelimit-limit-tokens": "30000",
      "x-ratelimit-remaining-tokens": "20000",
      "x-ratelimit-reset-tokens": "20s",
      "x-ratelimit-limit-project-tokens": "10000",
      "x-ratelimit-remaining-project-tokens": "0",
      "x-ratelimit-reset-project-tokens": "6m0s",
    },
    [
      ["tokens", "minute", 30_000, 20_000, 20_000],
      ["tokens", "minute", 10_000, 0, 360_000],
    ],
  ],
  [
    "Groq: requests of a day, tokens of a minute",
    "groq",
    {
      "x-ratelimit-limit-requests": "14400",
      "x-ratelimit-limit-tokens": "18000",
      "x-ratelimit-remaining-requests": "14370",
      "x-ratelimit-remaining-tokens": "17997",
      "x-ratelimit-reset-requests": "2m59.56s",
      "x-ratelimit-reset-tokens": "7.66s",
    },
    [
      ["requests", "day", 14_400, 14_370, 179_560],
      ["tokens", "minute", 18_000, 17_997, 7_660],
    ],
  ],
  [
    "Cerebras: seconds with a fraction, by window; what contradicts itself is left out",
    "cerebras",
    {
      "x-ratelimit-limit-requests-day": "14400",
      "x-ratelimit-remaining-requests-day": "14399",
      "x-ratelimit-reset-requests-day": "33011.382867097855",
      "x-ratelimit-limit-tokens-minute": "60000",
      "x-ratelimit-remaining-tokens-minute": "59000",
      "x-ratelimit-reset-tokens-minute": "11.382867097854614",
      "x-ratelimit-limit-tokens-hour": "1000",
      "x-ratelimit-remaining-tokens-hour": "999999",
      "x-ratelimit-reset-tokens-hour": "2411.38",
    },
    [
      ["tokens", "minute", 60_000, 59_000, 11_382.867],
      ["requests", "day", 14_400, 14_399, 33_011_382.867],
    ],
  ],
  [
    "Anthropic: RFC 3339; the sum of input and output is no limit",
    "anthropic",
    {
      "anthropic-ratelimit-requests-limit": "1000",
      "anthropic-ratelimit-requests-remaining": "999",
      "anthropic-ratelimit-requests-reset": "2026-11-21T04:04:01Z",
      "anthropic-ratelimit-tokens-limit": "96000",
      "anthropic-ratelimit-tokens-remaining": "96000",
      "anthropic-ratelimit-tokens-reset": "2026-11-21T04:04:30Z",
      "anthropic-ratelimit-input-tokens-limit": "80000",
      "anthropic-ratelimit-input-tokens-remaining": "79000",
      "anthropic-ratelimit-input-tokens-reset": "2026-11-21T04:04:30Z",
      "anthropic-ratelimit-output-tokens-limit": "16000",
      "anthropic-ratelimit-output-tokens-remaining": "16000",
      "anthropic-ratelimit-output-tokens-reset": "2026-11-21T04:03:59Z",
    },
    [
      ["requests", "minute", 1_000, 999, 750],
      ["input_tokens", "minute", 80_000, 79_000, 29_750],
      ["output_tokens", "minute", 16_000, 16_000, null],
    ],
  ],
  [
    "Anthropic: a workspace's own limit of tokens is one",
    "anthropic",
    {
      "anthropic-ratelimit-tokens-limit": "30000",
      "anthropic-ratelimit-tokens-remaining": "0",
      "anthropic-ratelimit-tokens-reset": "2026-11-21T05:04:30+01:00",
      "anthropic-ratelimit-input-tokens-limit": "80000",
      "anthropic-ratelimit-input-tokens-remaining": "79000",
      "anthropic-ratelimit-output-tokens-limit": "16000",
    },
    [
      ["tokens", "minute", 30_000, 0, 29_750],
      ["input_tokens", "minute", 80_000, 79_000, null],
      ["output_tokens", "minute", 16_000, null, null],
    ],
  ],
  [
    "Mistral",
    "mistral",
    {
      "x-ratelimit-limit-tokens-minute": "5000000",
      "x-ratelimit-remaining-tokens-minute": "4999911",
      "x-ratelimit-tokens-query-cost": "52",
      "x-ratelimit-limit-req-minute": "720",
      "x-ratelimit-remaining-req-minute": "717",
    },
    [
      ["requests", "minute", 720, 717, null],
      ["tokens", "minute", 5_000_000, 4_999_911, null],
    ],
  ],
  [
    "Mistral, as it was",
    "mistral",
    { "x-ratelimitbysize-limit-minute": "500000", "x-ratelimitbysize-remaining-minute": "499975" },
    [["tokens", "minute", 500_000, 499_975, null]],
  ],
  [
    "Azure: whole seconds; -1 and 0 are nothing",
    "azure",
    {
      "x-ratelimit-limit-requests": "100",
      "x-ratelimit-remaining-requests": "99",
      "x-ratelimit-reset-requests": "10",
      "x-ratelimit-limit-tokens": "-1",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "0",
    },
    [["requests", "minute", 100, 99, 10_000]],
  ],
  [
    "OpenRouter: milliseconds since 1970, until midnight",
    "openrouter",
    {
      "X-RateLimit-Limit": "50",
      "X-RateLimit-Remaining": "0",
      "X-RateLimit-Reset": String(Date.parse("2026-11-22T00:00:00Z")),
    },
    [["requests", "day", 50, 0, 71_759_750]],
  ],
  [
    "GitHub: seconds since 1970, for an hour",
    "github",
    {
      "x-ratelimit-limit": "5000",
      "x-ratelimit-remaining": "4987",
      "x-ratelimit-used": "13",
      "x-ratelimit-reset": String(Date.parse("2026-11-21T04:50:00Z") / 1_000),
      "x-ratelimit-resource": "core",
    },
    [["requests", "hour", 5_000, 4_987, 2_759_750]],
  ],
  [
    "GitHub: a search is not what the quota is about",
    "github",
    { "x-ratelimit-limit": "30", "x-ratelimit-remaining": "1", "x-ratelimit-resource": "search" },
    [],
  ],
  ["Gemini sends none", "gemini", { "x-ratelimit-limit-requests": "5" }, []],
  [
    "generic: the names of them all",
    "generic",
    {
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-tokens-minute": "7",
      "anthropic-ratelimit-output-tokens-remaining": "3",
      "x-rate-limit-remaining": "2",
      "x-ratelimit-limit-second": "5",
      "x-ratelimit-foo": "1",
    },
    [
      ["output_tokens", "minute", null, 3, null],
      ["requests", null, null, 2, null],
      ["requests", null, 60, null, null],
      ["requests", "second", 5, null, null],
      ["tokens", "minute", null, 7, null],
    ],
  ],
  [
    "the IETF draft: items of a list",
    "generic",
    {
      "RateLimit-Policy":
        '"burst";q=100;w=60, "daily";q=1000;w=86400;pk=:cHs=:, "bytes";q=5;qu="content-bytes"',
      RateLimit: '"burst";r=50;t=30,"daily";r=999;t=3600, "bytes";r=0;t=9',
    },
    [
      ["requests", "minute", 100, 50, 30_000],
      ["requests", "day", 1_000, 999, 3_600_000],
    ],
  ],
  [
    "the IETF draft: a state without its policy",
    "generic",
    { RateLimit: '"default";r=0;t=7' },
    [["requests", null, null, 0, 7_000]],
  ],
  [
    "draft 7: one dictionary",
    "generic",
    { RateLimit: "limit=100, remaining=50, reset=5", "RateLimit-Policy": "100;w=60" },
    [["requests", "minute", 100, 50, 5_000]],
  ],
  [
    "draft 3: three fields, the policy in the limit",
    "generic",
    {
      "RateLimit-Limit": "10, 10;w=1, 50;w=60",
      "RateLimit-Remaining": "9",
      "RateLimit-Reset": "1",
    },
    [["requests", "second", 10, 9, 1_000]],
  ],
  [
    "GitLab: the same names, seconds since 1970",
    "generic",
    {
      "RateLimit-Limit": "600",
      "RateLimit-Remaining": "599",
      "RateLimit-Reset": String(Date.parse("2026-11-21T04:05:00Z") / 1_000),
    },
    [["requests", null, 600, 599, 59_750]],
  ],
];

test.each(cases)("%s", (_name, provider, headers, expected) => {
  // In which order is nobody's business.
  const sorted = (rows: Row[]): string[] => rows.map((row) => JSON.stringify(row)).toSorted();
  expect(sorted(rows(provider, headers))).toEqual(sorted(expected));
});

describe("implausible values", () => {
  const requests = (limit: string, remaining: string, reset: string): Row[] =>
    rows("cerebras", {
      "x-ratelimit-limit-requests-minute": limit,
      "x-ratelimit-remaining-requests-minute": remaining,
      "x-ratelimit-reset-requests-minute": reset,
    });
  const row = (...[limit, remaining, reset]: (number | null)[]): Row[] => [
    ["requests", "minute", limit ?? null, remaining ?? null, reset ?? null],
  ];

  test.each([
    ["the limit is no number", "many", "3", "4", row(null, 3, 4_000)],
    ["the rest is no number", "5", "NaN", "4", row(5, null, 4_000)],
    ["the rest is negative", "5", "-3", "4", row(5, null, 4_000)],
    ["the reset is negative", "5", "3", "-4", row(5, 3, null)],
    ["the reset has passed", "5", "3", String((now - 1_000) / 1_000), row(5, 3, null)],
    ["the reset is now", "5", "3", "0", row(5, 3, null)],
    ["the reset is 33 days off", "5", "3", `${33 * 24}h`, row(5, 3, null)],
    ["the reset is 33 days off, in seconds", "5", "3", String(33 * 86_400), row(5, 3, null)],
    ["the reset is 33 days off, as a time", "5", "3", String(now + 33 * day), row(5, 3, null)],
    ["the reset is no time at all", "5", "3", "2026-13-41T99:00:00Z", row(5, 3, null)],
    ["more remains than the limit", "5", "6", "4", []],
    ["the limit is 0", "0", "0", "4", []],
    ["the limit is -1", "-1", "0", "4", []],
    ["the limit is no limit", "9223372036854775807", "9223372036854775807", "4", []],
    ["nothing can be read", "x", "y", "z", []],
  ])("where %s", (_why, limit, remaining, reset, expected) => {
    expect(requests(limit, remaining, reset)).toEqual(expected);
  });
});

describe("clocks that differ", () => {
  const reset = (date: string): number | null | undefined =>
    rows("anthropic", {
      date,
      "anthropic-ratelimit-requests-remaining": "0",
      "anthropic-ratelimit-requests-reset": "2026-11-21T04:14:30Z",
    })[0]?.[4];

  test.each([
    ["by 10 minutes: the provider's Date decides", "Sat, 21 Nov 2026 04:14:00 GMT", 30_000],
    ["by a second: that is rounding", "Sat, 21 Nov 2026 04:04:01 GMT", 629_750],
    ["by a month: that is no clock", "Mon, 21 Dec 2026 04:04:00 GMT", 629_750],
    ["in no way that can be read", "yesterday", 629_750],
  ])("%s", (_how, date, expected) => {
    expect(reset(date)).toBe(expected);
  });
});

describe("whatever arrives", () => {
  const names = [
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens-minute",
    "anthropic-ratelimit-tokens-reset",
    "anthropic-ratelimit-input-tokens-limit",
    "x-ratelimit-reset",
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-limit",
    "date",
  ];
  const value = fc.oneof(
    fc.stringMatching(/^[ -~]{0,80}$/),
    fc.double().map(String),
    fc.stringMatching(/^[0-9hmsd.:TZ;=", rtqw-]{0,60}$/),
  );

  test("nothing is thrown and every hint is plausible", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...providers),
        fc.dictionary(fc.constantFrom(...names), value),
        (provider, fields) => {
          for (const hint of readHints(provider, new Headers(fields), now)) {
            const { limit, remaining, resetAt } = hint;
            expect(limit ?? remaining ?? resetAt).not.toBeNull();
            if (limit !== null) expect(limit).toBeGreaterThan(0);
            if (remaining !== null) expect(remaining).toBeGreaterThanOrEqual(0);
            expect(remaining ?? 0).toBeLessThanOrEqual(limit ?? Infinity);
            if (resetAt === null) continue;
            expect(resetAt).toBeGreaterThan(now);
            expect(resetAt - now).toBeLessThanOrEqual(longestWaitMs);
          }
        },
      ),
    );
  });

  test.each([
    ["digits", "9".repeat(65_536)],
    ["durations", "1h".repeat(32_768)],
    ["list items", '"a";r=1,'.repeat(8_192)],
    ["parameters", `"a"${";q".repeat(32_768)}`],
    ["quotes", '"'.repeat(65_536)],
    ["spaces", `a${" ".repeat(65_534)}b`],
    ["limits", "limit=1,".repeat(8_192)],
  ])("64 KB of %s take no time", (_what, text) => {
    const fields = names.map((name): [string, string] => [name, text]);
    const headers = new Headers(fields);
    const before = performance.now();
    for (const provider of providers) readHints(provider, headers, now);
    expect(performance.now() - before).toBeLessThan(50);
  });
});
