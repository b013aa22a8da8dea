import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { longestWaitMs } from "../../src/provider/hint-reset.ts";
import { providers } from "../../src/provider/provider.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { readRefusal } from "../../src/provider/refusal.ts";
import type { UpstreamRefusal } from "../../src/provider/refusal.ts";
import {
  now,
  openai,
  anthropic,
  google,
  quotaFailure,
  perMinute,
  perDay,
} from "./refusal-bodies.ts";
import { nevers, overloads } from "./refusal-ends.ts";
import { limits } from "./refusal-limits.ts";
import { moreLimits } from "./refusal-more-limits.ts";

function read(
  provider: Provider,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): UpstreamRefusal | null {
  const text = typeof body === "string" || body === null ? body : JSON.stringify(body);
  return readRefusal(provider, status, new Headers(headers), text, now);
}

describe.each([
  ["rate_limit", [...limits, ...moreLimits]],
  ["overload", overloads],
  ["never", nevers],
] as const)("%s", (kind, cases) => {
  test.each([...cases])("%s", (_name, provider, status, body, headers, expected) => {
    expect(read(provider, status, body, headers)).toMatchObject({ kind, ...expected });
  });
});

describe("no refusal", () => {
  const words = "Rate limit reached: Limit 1, Used 1. Please try again in 1s.";
  test.each([
    ["200", "openai", 200, openai(words, "tokens"), {}],
    [
      "500",
      "anthropic",
      500,
      anthropic("api_error", "Internal server error"),
      { "retry-after": "3" },
    ],
    ["502", "openai", 502, "<html>Bad gateway</html>", {}],
    ["504", "openai", 504, null, {}],
    ["498 of others", "openai", 498, null, {}],
    ["a wrong request", "openai", 400, openai(words, "invalid_request_error", "invalid_value"), {}],
    [
      "one that quotes",
      "anthropic",
      400,
      anthropic("invalid_request_error", 'messages.0: "insufficient credits"'),
      {},
    ],
    ["a body too long for the server", "generic", 413, "Payload too large", {}],
    [
      "no permission",
      "github",
      403,
      { message: "Resource not accessible by integration" },
      { "x-ratelimit-remaining": "12" },
    ],
    [
      "no permission elsewhere",
      "openai",
      403,
      openai(words, "x", "model_not_found"),
      { "retry-after": "3" },
    ],
    ["a wrong key", "openai", 401, null, { "retry-after": "3" }],
  ] as [string, Provider, number, unknown, Record<string, string>][])(
    "%s",
    (_name, provider, status, body, headers) => {
      expect(read(provider, status, body, headers)).toBeNull();
    },
  );
});

describe("whatever arrives", () => {
  const statuses = fc.constantFrom(200, 400, 402, 403, 413, 429, 498, 500, 503, 529);
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom("429", "rate_limit_exceeded", "insufficient_quota", "__proto__", "constructor"),
    fc.stringMatching(
      /^(Limit|Requested|try again in|retry after|limit:|per min|\(TPM\)| |[0-9.,hms]){0,12}$/,
    ),
  );
  const { body } = fc.letrec((tie) => ({
    body: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.double(),
      fc.constant(null),
      fc.array(tie("body"), { maxLength: 3 }),
      fc.dictionary(
        fc.oneof(
          fc.constantFrom(
            "error",
            "type",
            "code",
            "message",
            "details",
            "metadata",
            "headers",
            "raw",
          ),
          fc.constantFrom("violations", "quotaId", "quotaValue", "retryDelay", "X-RateLimit-Reset"),
          text,
        ),
        tie("body"),
        { maxKeys: 6 },
      ),
    ),
  }));
  const fields = fc.dictionary(
    fc.constantFrom(
      "retry-after",
      "retry-after-ms",
      "x-ratelimit-reset-tokens",
      "x-ratelimit-remaining",
      "date",
    ),
    fc.stringMatching(/^[ -~]{0,40}$/),
  );

  test("nothing is thrown and every wait is plausible", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...providers),
        statuses,
        fc.oneof(
          text,
          body.map((value) => JSON.stringify(value) ?? ""),
        ),
        fields,
        (provider, status, body, headers) => {
          const refusal = readRefusal(provider, status, new Headers(headers), body, now);
          if (refusal === null) return;
          expect(refusal.limit ?? 1).toBeGreaterThan(0);
          if (refusal.waitMs === null) return;
          expect(refusal.waitMs).toBeGreaterThan(0);
          expect(refusal.waitMs).toBeLessThanOrEqual(longestWaitMs);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  const long = (piece: string): string => piece.repeat(Math.floor(65_000 / piece.length));
  test.each([
    ["digits", long("9")],
    ["brackets", long("[")],
    ["objects", long('{"error":')],
    ["spaces", long(" ")],
    ["a message of digits", JSON.stringify(openai(`Limit ${long("9")}`, "tokens"))],
    ["a message of waits", JSON.stringify(openai(long("try again in 1.1m1.1s1."), "tokens"))],
    ["a message of commas", JSON.stringify(openai(`of ${long("1,")}`, "tokens"))],
    ["a message of tokens", JSON.stringify(openai(long("input tokens requests "), "tokens"))],
    [
      "details",
      JSON.stringify(
        google("", ...Array.from({ length: 160 }, () => quotaFailure(perMinute, perDay))),
      ),
    ],
    [
      "violations",
      JSON.stringify(google("", quotaFailure(...Array.from({ length: 300 }, () => perDay)))),
    ],
  ])("64 KB of %s take no time", (_what, body) => {
    const before = performance.now();
    readRefusal("gemini", 429, new Headers(), body, now);
    expect(performance.now() - before).toBeLessThan(25);
  });
});
