import { expect, test } from "bun:test";
import { overloadWait, Strikes } from "../../src/proxy/backoff.ts";
import { Account } from "../../src/ledger/account.ts";
import { account } from "../ledger/costs.ts";

test("without a word from the upstream: 1 s, doubling, at most 60 s, by account, anew after success", () => {
  const strikes = new Strikes(() => 0.5);
  const [a, b] = [new Account(account("a", [])), new Account(account("b", []))];
  const waits = Array.from({ length: 8 }, () => strikes.next(a));
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  expect(strikes.next(b)).toBe(1_000);
  strikes.clear(a);
  expect(strikes.next(a)).toBe(1_000);
});

test.each([
  [0, 750],
  [0.999, 1_249.5],
])("waits are spread by a quarter: %p", (drawn, ms) => {
  expect(new Strikes(() => drawn).next(new Account(account("a", [])))).toBeCloseTo(ms, 0);
});

test("overload: full jitter under a bound that doubles", () => {
  expect([1, 2, 3].map((tries) => overloadWait(tries, () => 0.5))).toEqual([500, 1_000, 2_000]);
  expect(overloadWait(1, () => 0)).toBe(0);
});
