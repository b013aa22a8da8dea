import { describe, expect, test } from "bun:test";

import { MemoryLedger } from "../../src/ledger/memory.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";
import { account, bucket, rpm, tpm } from "./costs.ts";
import type { Outcome, SharedKey } from "./shared-key.ts";
import { share } from "./shared-key.ts";

const base: SharedKey = {
  seed: 1,
  meter: "sliding_window",
  rpm: 1_000,
  tpm: 1e9,
  externalShare: 0,
  tokens: { from: 500, to: 1_500, actualShare: 1 },
  latencyMs: { from: 50, to: 400 },
  answerMs: { from: 0, to: 3_000 },
  looks: "counting",
  minutes: 7,
};

/** Which limit binds, and what of it a request is charged in the end. */
const kinds = {
  requests: {},
  "tokens in full": {
    rpm: 1e6,
    tpm: 1_000_000,
    tokens: { from: 500, to: 3_000, actualShare: 1 },
  },
  "tokens, most given back": {
    rpm: 1e6,
    tpm: 1_000_000,
    tokens: { from: 500, to: 3_000, actualShare: 0.4 },
  },
} satisfies Record<string, Partial<SharedKey>>;

function run(given: SharedKey, limits: readonly LimitSpec[]): Outcome {
  const ledger = new MemoryLedger();
  return share(ledger, ledger.account(account("shared", limits)), given);
}

function windows(given: SharedKey): LimitSpec[] {
  return [rpm(given.rpm), tpm(given.tpm)];
}

function buckets(given: SharedKey): LimitSpec[] {
  return [{ ...bucket(given.tpm) }, { ...bucket(given.rpm), unit: "requests" } as LimitSpec];
}

const cases = Object.entries(kinds).flatMap(([kind, more]) =>
  (["sliding_window", "token_bucket"] as const).map((meter) => ({ kind, meter, more })),
);

describe.each(cases)("$kind, a provider with a $meter", ({ meter, more }) => {
  test("alone on the key, hints waste nothing and nothing is refused", () => {
    for (const seed of [1, 2]) {
      for (const looks of ["counting", "answering"] as const) {
        const { refused, use } = run(
          { ...base, ...more, meter, seed, looks, minutes: 5 },
          windows({ ...base, ...more }),
        );
        expect(refused).toBe(0);
        expect(use).toBeGreaterThan(0.99);
      }
    }
  });

  test("beside others, at twice the quota: one in a thousand refused, 95 % of the rest used", () => {
    const sum = { dispatched: 0, refused: 0, use: 0, runs: 0 };
    for (const externalShare of [0.1, 0.25, 0.4]) {
      for (const seed of [1, 2, 3]) {
        const given = { ...base, ...more, meter, seed, externalShare, offered: 2 };
        const { dispatched, refused, use } = run(given, windows(given));
        sum.dispatched += dispatched;
        sum.refused += refused;
        sum.use += use;
        sum.runs++;
        expect(use).toBeGreaterThan(0.92);
      }
    }
    expect(sum.refused / sum.dispatched).toBeLessThanOrEqual(0.001);
    expect(sum.use / sum.runs).toBeGreaterThan(0.95);
  });
});

test.each(Object.entries(kinds))("%s, both counting as buckets, beside others", (_kind, more) => {
  for (const externalShare of [0, 0.25]) {
    const given: SharedKey = {
      ...base,
      ...more,
      meter: "token_bucket",
      externalShare,
      offered: 2,
    };
    const { dispatched, refused, use } = run(given, buckets(given));
    expect(refused / dispatched).toBeLessThanOrEqual(0.001);
    expect(use).toBeGreaterThan(0.95);
  }
});

test("few large requests, both counting as buckets, beside others", () => {
  const sum = { dispatched: 0, refused: 0 };
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const given: SharedKey = {
      ...base,
      seed,
      meter: "token_bucket",
      tpm: 100_000,
      tokens: { from: 470, to: 490, actualShare: 0.42 },
      answerMs: { from: 0, to: 300 },
      looks: "answering",
      externalShare: 0.2,
      offered: 2,
      minutes: 4,
    };
    const { dispatched, refused, use } = run(given, buckets(given));
    sum.dispatched += dispatched;
    sum.refused += refused;
    expect(use).toBeGreaterThan(0.95);
  }
  expect(sum.refused / sum.dispatched).toBeLessThanOrEqual(0.0005);
});

test("others that leave give back what they had, at the latest a window later", () => {
  const given = { ...base, externalShare: 0.4, externalUntil: 2 * 60_000, offered: 2, minutes: 8 };
  expect(run(given, windows(given)).use).toBeGreaterThan(0.9);
});
