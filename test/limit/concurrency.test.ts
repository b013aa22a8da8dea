import { expect, test } from "bun:test";

import { Concurrency } from "../../src/limit/concurrency.ts";

const start = 1_700_000_000_000;

test("as many as allowed are in flight; only an ending makes room", () => {
  const limit = new Concurrency({ kind: "concurrency", max: 2 });
  expect(limit.max).toBe(2);
  const first = limit.charge(start, 1, null);
  const second = limit.charge(start, 1, null);
  limit.sent();
  limit.arrived(first);
  expect(limit.fits(start, 1)).toBe(false);
  expect(limit.fitsAt(start, 1)).toBe(Infinity);
  expect(limit.earliestAt(start)).toBe(start);
  expect(limit.roomAt()).toBe(0);
  expect(limit.usage()).toEqual({ limit: 2, used: 0, reserved: 2, remaining: 0 });
  limit.settle(first, start + 1_000);
  limit.settle(first, start + 1_000);
  limit.release(first, start + 1_000);
  expect(limit.fitsAt(start + 1_000, 1)).toBe(start + 1_000);
  limit.release(second, start + 1_000);
  expect(limit.idle()).toBe(true);
  limit.restore();
  expect(limit.takeMarks()).toEqual([]);
});

test("the end of a running request is expected when its outlook says, whatever else it is charged", () => {
  const limit = new Concurrency({ kind: "concurrency", max: 2 });
  limit.charge(start, 1, { endAt: start + 5_000, amount: 1 });
  expect(limit.expectedAt(start, 1)).toBe(start);
  const other = limit.charge(start, 1, { endAt: start + 3_000, amount: 0 });
  expect(limit.expectedAt(start, 1)).toBe(start + 3_000);
  expect(limit.expectedAt(start, 2)).toBe(start + 5_000);
  expect(limit.expectedAt(start, 3)).toBe(Infinity);
  expect(limit.expectedRoomAt(start, start + 2_999)).toBe(0);
  expect(limit.expectedRoomAt(start, start + 3_000)).toBe(1);
  expect(limit.expectedAt(start + 10_000, 1)).toBe(start + 10_100);
  limit.settle(other, start + 10_000);
  expect(limit.expectedAt(start + 10_000, 1)).toBe(start + 10_000);
});

test("a lowered number lets nobody in until enough have ended", () => {
  const limit = new Concurrency({ kind: "concurrency", max: 3 });
  const running = [1, 2, 3].map(() => limit.charge(start, 1, null));
  limit.resize({ kind: "concurrency", max: 1 });
  expect(limit.usage()).toEqual({ limit: 1, used: 0, reserved: 3, remaining: 0 });
  const decisions = running.map((entry) => {
    limit.settle(entry, start);
    return limit.fits(start, 1);
  });
  expect(decisions).toEqual([false, false, true]);
  limit.resize({ kind: "leaky_bucket", requestsPerSecond: 1, burst: 1 });
  expect(limit.max).toBe(1);
});
