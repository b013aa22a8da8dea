import { describe, expect, test } from "bun:test";

import type { AlgorithmName } from "../../src/client/plan.ts";
import { refusalError, setRefusalHeaders } from "../../src/client/refusal.ts";
import { client, configOf, cost, letThrough, limitsOf, refusalOf, takenOf } from "./requests.ts";

const all: readonly AlgorithmName[] = ["token_bucket", "sliding_window", "leaky_bucket"];
const buckets: readonly AlgorithmName[] = ["token_bucket", "leaky_bucket"];
const ann = client("ip:10.0.0.1");
const ben = client("ip:10.0.0.2");

describe.each(all)("%s", (algorithm) => {
  test("lets the limit go at once, and no more; others are untouched", () => {
    const { limits } = limitsOf({ rate_limit: 60, algorithm });
    expect(letThrough(limits, ann, 61)).toBe(60);
    expect(limits.limited()).toBe(1);
    expect(letThrough(limits, ben, 60)).toBe(60);
    expect(limits.tracked()).toBe(2);
  });

  test("tells how long to wait, exactly", () => {
    const { clock, limits } = limitsOf({ rate_limit: 7, algorithm });
    letThrough(limits, ann, 7);
    for (let i = 0; i < 20; i++) {
      const { retryAfterMs } = refusalOf(limits.take(ann, cost()));
      expect(retryAfterMs).toBeGreaterThan(0);
      clock.skip(retryAfterMs - 0.01);
      expect(limits.take(ann, cost()).ok).toBe(false);
      clock.skip(0.02);
      expect(limits.take(ann, cost()).ok).toBe(true);
      letThrough(limits, ann, 7);
    }
  });

  test("what is refused costs nothing", () => {
    const { clock, limits } = limitsOf({ rate_limit: 6, algorithm });
    letThrough(limits, ann, 500);
    clock.skip(60_001);
    expect(letThrough(limits, ann, 7)).toBe(6);
  });

  test("a charge that is given back was never there", () => {
    const { limits } = limitsOf({ rate_limit: 6, algorithm });
    expect(letThrough(limits, ann, 5)).toBe(5);
    const before = limits.get(ann.id);
    const { at, remaining } = takenOf(limits.take(ann, cost()));
    expect(remaining).toBe(0);
    limits.giveBack(ann, cost(), at);
    expect(limits.get(ann.id)).toEqual(before);
    expect(letThrough(limits, ann, 2)).toBe(1);
  });

  test("requests and tokens: all or nothing", () => {
    const tiers = { paid: { rpm: 10, tpm: 1_000 } };
    const { limits } = limitsOf({ tiers, algorithm });
    const paid = client("key:a", "paid");
    expect(limits.take(paid, cost(900)).ok).toBe(true);
    const refusal = refusalOf(limits.take(paid, cost(101)));
    expect(refusal.requests).toEqual({ limit: 10, remaining: 9 });
    expect(refusal.tokens).toEqual({ limit: 1_000, remaining: 100 });
    expect(limits.take(paid, cost(100)).ok).toBe(true);
    expect(limits.get("key:a")).toMatchObject({ remaining: 8, tokens_remaining: 0 });
  });

  test("more than there ever is", () => {
    const { limits } = limitsOf({ tiers: { paid: { rpm: null, tpm: 1_000 } }, algorithm });
    const refusal = refusalOf(limits.take(client("key:a", "paid"), cost(1_001)));
    expect(refusal.retryAfterMs).toBe(Infinity);
    expect(refusalError(refusal).code).toBe("EXCEEDS_QUOTA");
    expect(refusalError(refusal).message).toContain("1001 tokens");
  });

  test("tokens are corrected at the end, debt included", () => {
    const { clock, limits } = limitsOf({ tiers: { paid: { rpm: null, tpm: 1_000 } }, algorithm });
    const paid = client("key:a", "paid");
    const { at } = takenOf(limits.take(paid, cost(800)));
    limits.settle(paid, -700, at);
    expect(limits.get(paid.id)?.tokens_remaining).toBe(900);
    const second = takenOf(limits.take(paid, cost(900)));
    limits.settle(paid, 1_000, second.at);
    expect(limits.get(paid.id)?.tokens_remaining).toBe(0);
    const { retryAfterMs } = refusalOf(limits.take(paid, cost(1)));
    expect(retryAfterMs).toBeGreaterThanOrEqual(60_000);
    clock.skip(retryAfterMs);
    expect(limits.take(paid, cost(1)).ok).toBe(true);
  });

  test("who has its whole allowance again is forgotten, soon and by itself", () => {
    const { clock, limits } = limitsOf({ rate_limit: 60, algorithm });
    letThrough(limits, ann, 30);
    const full = takenOf(limits.take(ann, cost())).resetMs;
    clock.advance(full - 1_000);
    expect(limits.tracked()).toBe(1);
    clock.advance(3_000);
    expect(limits.tracked()).toBe(0);
    expect(limits.get(ann.id)).toBeNull();
    expect(clock.pending).toBe(0);
    expect(letThrough(limits, ann, 61)).toBe(60);
  });

  test("so is who was idle for long", () => {
    const { clock, limits } = limitsOf({ rate_limit: 60, algorithm, idle_ttl: 10_000 });
    letThrough(limits, ann, 60);
    clock.advance(8_000);
    expect(limits.tracked()).toBe(1);
    clock.advance(5_000);
    expect(limits.tracked()).toBe(0);
  });

  test("is shown, and reset", () => {
    const { limits } = limitsOf({ rate_limit: 60, algorithm });
    expect(limits.get(ann.id)).toBeNull();
    expect(limits.reset(ann.id)).toBe(false);
    letThrough(limits, ann, 100);
    expect(limits.get(ann.id)).toEqual({
      id: ann.id,
      tier: null,
      algorithm,
      limit: 60,
      remaining: 0,
      reset_seconds: 60,
    });
    expect(limits.reset(ann.id)).toBe(true);
    expect(limits.tracked()).toBe(0);
    expect(letThrough(limits, ann, 61)).toBe(60);
  });

  test("a change of limits keeps what was used, of other algorithms too", () => {
    for (const next of all) {
      const { limits } = limitsOf({ rate_limit: 60, algorithm });
      letThrough(limits, ann, 40);
      limits.configure(configOf({ rate_limit: 60, algorithm }));
      expect(limits.get(ann.id)?.remaining).toBe(20);
      limits.configure(configOf({ rate_limit: 100, algorithm: next }));
      expect(limits.get(ann.id)).toMatchObject({ algorithm: next, limit: 100, remaining: 60 });
      limits.configure(configOf({ rate_limit: 30, algorithm: next }));
      expect(limits.get(ann.id)).toMatchObject({ limit: 30, remaining: 0 });
      limits.configure(configOf({ algorithm: next }));
      expect(limits.get(ann.id)).toBeNull();
      expect(limits.tracked()).toBe(0);
      expect(letThrough(limits, ann, 500)).toBe(500);
    }
  });

  test("a key that gets another tier keeps what it has used", () => {
    const tiers = { free: { rpm: 10, tpm: null }, paid: { rpm: 100, tpm: 1_000 } };
    const keys = [{ name: "a", tier: "free" }];
    const { limits } = limitsOf({ tiers, keys, algorithm });
    letThrough(limits, client("key:a", "free"), 10);
    limits.configure(configOf({ tiers, keys: [{ name: "a", tier: "paid" }], algorithm }));
    expect(limits.get("key:a")).toMatchObject({ tier: "paid", remaining: 90 });
    // A request that was recognised before the change is held to the tier it came with.
    expect(limits.take(client("key:a", "free"), cost()).ok).toBe(false);
    expect(limits.take(client("key:a", "paid"), cost(1_000)).ok).toBe(true);
  });

  test("usage goes through the store and back", () => {
    const config = {
      algorithm,
      tiers: { paid: { rpm: 10, tpm: 1_000 } },
      keys: [{ name: "a", tier: "paid" }],
    };
    const before = limitsOf(config);
    const paid = client("key:a", "paid");
    before.limits.take(paid, cost(100));
    before.clock.skip(1_000);
    before.limits.take(paid, cost(300));
    const stored = JSON.parse(JSON.stringify(before.limits.pack("key:a")));
    for (const name of all) {
      const after = limitsOf({ ...config, algorithm: name });
      after.clock.skip(1_000);
      expect(after.limits.unpack("key:a", stored)).toBe(true);
      const shown = after.limits.get("key:a");
      if (name === algorithm) expect(shown).toEqual(before.limits.get("key:a"));
      expect(shown?.remaining).toBe(8);
      // A bucket has made good by now what a window still counts.
      expect(shown?.tokens_remaining).toBeWithin(600, 617);
    }
  });
});

test("with RATE_LIMIT=60, after the first 60 one a second", () => {
  for (const algorithm of buckets) {
    const { clock, limits } = limitsOf({ rate_limit: 60, algorithm });
    expect(letThrough(limits, ann, 61)).toBe(60);
    for (let second = 0; second < 90; second++) {
      clock.advance(1_000);
      expect(letThrough(limits, ann, 3)).toBe(1);
    }
  }
});

describe("a sliding window", () => {
  const window = (rate: number) => limitsOf({ rate_limit: rate, algorithm: "sliding_window" });

  test("counts fractions of a millisecond", () => {
    const { clock, limits } = window(1);
    clock.skip(0.875);
    expect(letThrough(limits, ann, 2)).toBe(1);
    clock.skip(59_999.75);
    expect(letThrough(limits, ann, 1)).toBe(0);
    clock.skip(1.25);
    expect(letThrough(limits, ann, 1)).toBe(1);
  });

  test("gives back the charge that is meant, not another one", () => {
    const { clock, limits } = window(2);
    expect(letThrough(limits, ann, 1)).toBe(1);
    clock.skip(50_000);
    const { at } = takenOf(limits.take(ann, cost()));
    limits.giveBack(ann, cost(), at);
    // The first ends when it would have.
    clock.skip(10_000);
    expect(letThrough(limits, ann, 3)).toBe(2);
  });

  test("gives nothing back that has ended", () => {
    const { clock, limits } = window(2);
    const { at } = takenOf(limits.take(ann, cost()));
    clock.skip(60_000);
    expect(letThrough(limits, ann, 3)).toBe(2);
    limits.giveBack(ann, cost(), at);
    expect(letThrough(limits, ann, 1)).toBe(0);
  });
});

test("burst: 1 spaces the requests of a bucket, and leaves a window alone", () => {
  for (const algorithm of buckets) {
    const { clock, limits } = limitsOf({ rate_limit: 60, burst: 1, algorithm });
    expect(letThrough(limits, ann, 2)).toBe(1);
    clock.skip(999);
    expect(letThrough(limits, ann, 2)).toBe(0);
    clock.skip(1);
    expect(letThrough(limits, ann, 2)).toBe(1);
  }
  const { limits } = limitsOf({ rate_limit: 60, burst: 1, algorithm: "sliding_window" });
  expect(letThrough(limits, ann, 61)).toBe(60);
});

test("a tier's rpm replaces the general limit; without one that holds", () => {
  const tiers = { free: { rpm: 5, tpm: null }, plain: { rpm: null, tpm: null } };
  const { limits } = limitsOf({ rate_limit: 10, tiers });
  expect(letThrough(limits, client("key:a", "free"), 20)).toBe(5);
  expect(letThrough(limits, client("key:b", "plain"), 20)).toBe(10);
  expect(letThrough(limits, client("key:c", "gone"), 20)).toBe(10);
});

test("without a limit nobody is tracked", () => {
  const { clock, limits } = limitsOf({});
  expect(limits.take(ann, cost(1e9))).toMatchObject({ ok: true, limit: null, remaining: null });
  expect(limits.tracked()).toBe(0);
  expect(clock.armed).toBe(0);
});

test("a virtual key is known before it is used", () => {
  const { limits } = limitsOf({
    rate_limit: 10,
    tiers: { paid: { rpm: 100, tpm: 500 } },
    keys: [
      { name: "a", tier: "paid" },
      { name: "b", tier: null },
    ],
  });
  expect(limits.get("key:a")).toMatchObject({
    tier: "paid",
    remaining: 100,
    tokens_remaining: 500,
  });
  expect(limits.get("key:b")).toMatchObject({ tier: null, limit: 10, remaining: 10 });
  expect(limits.get("key:c")).toBeNull();
  expect(limits.reset("key:a")).toBe(true);
});

test("what makes no sense is not taken from the store", () => {
  const { clock, limits } = limitsOf({ rate_limit: 10, keys: [{ name: "a", tier: null }] });
  const now = clock.now();
  const bad = [null, 7, {}, [], [1], [[now, 1]], [[now, -1, 0]], [[now, "1", 0]], [[NaN, 1, 0]]];
  for (const stored of bad) expect(limits.unpack("key:a", stored)).toBe(false);
  expect(limits.unpack("key:gone", [[now, 1, 0]])).toBe(false);
  expect(limits.tracked()).toBe(0);
  // The clock was set back: what is to come counts as now.
  expect(limits.unpack("key:a", [[now + 1e9, 4, 0]])).toBe(true);
  expect(limits.get("key:a")?.remaining).toBe(6);
});

test("a refusal carries the rest of the allowance", () => {
  const { limits } = limitsOf({ tiers: { paid: { rpm: 2, tpm: 1_000 } } });
  const paid = client("key:a", "paid");
  limits.take(paid, cost(300));
  limits.take(paid, cost(300));
  const refusal = refusalOf(limits.take(paid, cost(100)));
  const headers = new Headers();
  setRefusalHeaders(headers, refusal);
  expect(headers.toJSON()).toEqual({
    "ratelimit-policy": '"client";q=2;w=60',
    ratelimit: '"client";r=0;t=30',
    "x-ratelimit-limit-rpm": "2",
    "x-ratelimit-remaining-rpm": "0",
    "x-ratelimit-limit-tpm": "1000",
    "x-ratelimit-remaining-tpm": "400",
  });
  const error = refusalError(refusal);
  expect(error.code).toBe("RATE_LIMIT_EXCEEDED");
  expect(error.message).toBe("Rate limit exceeded. Please try again later.");
  expect(error.retryAfterMs).toBe(30_000);
});
