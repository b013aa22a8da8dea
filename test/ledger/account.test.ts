import { expect, test } from "bun:test";

import { Account } from "../../src/ledger/account.ts";
import { account, bucket, leaky, rpm, slots, tpm } from "./costs.ts";

const now = 1_700_000_000_000;

test("another spec keeps the limits of the same kind, unit and window, and what is used", () => {
  const quota = new Account(account("a", [rpm(5), tpm(100), slots(2)]));
  const [requests, tokens, inFlight] = quota.limits;
  tokens?.charge(now, 30, null);
  const before = quota.limits;
  const spec = account("a", [tpm(50), bucket(10), slots(1)]);
  quota.respec(spec);
  expect(quota.spec).toBe(spec);
  expect(quota.limits).not.toBe(before);
  expect(quota.limits[0]).toBe(tokens as never);
  expect(quota.limits[2]).toBe(inFlight as never);
  expect(quota.limits).not.toContain(requests as never);
  expect(quota.limits.map(({ max }) => max)).toEqual([50, 10, 1]);
  expect(tokens?.usage(now)).toMatchObject({ limit: 50, reserved: 30 });
});

test("is idle when nothing is charged and nobody waits", () => {
  const quota = new Account(account("a", [tpm(100), leaky(1)]));
  expect(quota.idle(now)).toBe(true);
  quota.waiting = 1;
  expect(quota.idle(now)).toBe(false);
  quota.waiting = 0;
  quota.limits[1]?.charge(now, 1, null);
  expect(quota.idle(now)).toBe(false);
  expect(quota.idle(now + 1_006)).toBe(true);
});

const requestsADay = { unit: "requests", window: "day", remaining: null, resetAt: null } as const;

test("a hold stands among the limits until it is lifted, and is only prolonged", () => {
  const quota = new Account(account("a", [tpm(100)]));
  quota.hold(now + 2_000);
  quota.hold(now + 1_000);
  expect(quota.heldUntil).toBe(now + 2_000);
  expect(quota.limits.map(({ key }) => key)).toEqual(["sliding_window tokens/minute", "hold"]);
  const before = quota.limits;
  quota.hold(now + 3_000);
  expect(quota.limits).toBe(before);
  expect(quota.idle(now)).toBe(false);
  quota.respec(account("a", [rpm(5)]));
  expect(quota.limits.every((limit) => limit.fits(now, 1))).toBe(false);
  expect(quota.heldUntil).toBe(now + 3_000);
  quota.lift();
  quota.lift();
  expect(quota.heldUntil).toBe(0);
  expect(quota.limits.map(({ key }) => key)).toEqual(["sliding_window requests/minute"]);
});

test("limits that the file leaves open are learned from two answers that agree", () => {
  const quota = new Account(account("a", [tpm(100)], { learns: true }));
  expect(quota.learn({ ...requestsADay, limit: 1_000 })).toBe(false);
  expect(quota.learn({ ...requestsADay, limit: 900 })).toBe(false);
  expect(quota.learn({ ...requestsADay, limit: 900 })).toBe(true);
  const learned = { kind: "sliding_window", unit: "requests", window: "day", limit: 900 };
  expect(quota.learned).toEqual([{ ...learned, marginMs: 1_000 } as never]);
  const [, limit] = quota.limits;
  limit?.charge(now, 30, null);
  // Another number takes its place, what is used stays used.
  quota.learn({ ...requestsADay, limit: 500 });
  quota.learn({ ...requestsADay, limit: 500 });
  expect(quota.limits[1]).toBe(limit as never);
  expect(limit?.usage(now)).toMatchObject({ limit: 500, reserved: 30 });
  // The operator's number, given later, is the one that counts.
  const configured = { ...learned, limit: 2_000, marginMs: 0 } as never;
  quota.respec(account("a", [tpm(100), configured], { learns: true }));
  expect(quota.learned).toEqual([]);
  expect(quota.limits[1]).toBe(limit as never);
  expect(limit?.max).toBe(2_000);
  quota.respec(account("a", [tpm(100)]));
  expect(quota.limits).toHaveLength(1);
});

test("what is configured, unknown, endless or too much is not learned", () => {
  const quota = new Account(account("a", [tpm(100)], { learns: true }));
  for (let i = 0; i < 3; i++) {
    quota.learn({ ...requestsADay, unit: "tokens", window: "minute", limit: 50 });
    quota.learn({ ...requestsADay, window: null, limit: 50 });
    for (const limit of [null, 0, -1, Number.NaN, Infinity, 1e15])
      quota.learn({ ...requestsADay, limit });
  }
  expect(quota.learned).toEqual([]);
  const windows = ["second", "minute", "hour", "day"] as const;
  const units = ["requests", "tokens", "input_tokens", "output_tokens"] as const;
  for (const window of windows)
    for (const unit of units)
      for (let i = 0; i < 2; i++) quota.learn({ ...requestsADay, unit, window, limit: 50 });
  expect(quota.learned.length).toBeLessThanOrEqual(8);
});
