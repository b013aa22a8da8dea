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
