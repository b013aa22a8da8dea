import { expect, test } from "bun:test";

import { createLimit, limitKey } from "../../src/limit/algorithms.ts";
import { amountOf, oneRequest } from "../../src/limit/cost.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";

const specs: readonly LimitSpec[] = [
  { kind: "sliding_window", unit: "requests", window: "minute", limit: 5, marginMs: 1_000 },
  { kind: "token_bucket", unit: "tokens", window: "hour", limit: 5, marginMs: 1_000 },
  { kind: "leaky_bucket", requestsPerSecond: 2, burst: 5 },
  { kind: "concurrency", max: 5 },
];

test.each(specs)("$kind", (spec) => {
  const now = 1_700_000_000_000;
  const limit = createLimit(spec);
  expect(limit.key).toBe(limitKey(spec));
  expect(limit.idle(now)).toBe(true);
  expect(limit.roomAt(now, now)).toBe(5);
  expect(limit.usage(now)).toEqual({ limit: 5, used: 0, reserved: 0, remaining: 5 });
  for (let i = 0; i < 5; i++) {
    expect(limit.fits(now, 1)).toBe(true);
    limit.charge(now, 1, null);
  }
  expect(limit.fits(now, 1)).toBe(false);
  expect(limit.usage(now).remaining).toBe(0);
});

test("units of one kind and window have a key of their own", () => {
  expect(specs.map(limitKey)).toEqual([
    "sliding_window requests/minute",
    "token_bucket tokens/hour",
    "leaky_bucket requests",
    "concurrency",
  ]);
});

test("a cost counts for each unit, and one slot", () => {
  const cost = { requests: 1, tokens: 2, input_tokens: 3, output_tokens: 4, total_tokens: 5 };
  const units = [
    "requests",
    "tokens",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "slots",
  ] as const;
  expect(units.map((unit) => amountOf(cost, unit))).toEqual([1, 2, 3, 4, 5, 1]);
  expect(units.map((unit) => amountOf(oneRequest, unit))).toEqual([1, 0, 0, 0, 0, 1]);
});
