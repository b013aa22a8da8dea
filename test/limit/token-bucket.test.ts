import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { LimitSpec } from "../../src/limit/limit.ts";
import { TokenBucket } from "../../src/limit/token-bucket.ts";
import { fates } from "./fates.ts";
import { counted, simulate } from "./upstream.ts";

const start = 1_700_000_000_000;

function spec(limit: number, marginMs = 1_000): LimitSpec & { kind: "token_bucket" } {
  return { kind: "token_bucket", unit: "tokens", window: "minute", limit, marginMs };
}

describe("decisions", () => {
  test("a full bucket lets a whole limit go, then fills up at a limit a window", () => {
    const limit = new TokenBucket(spec(60));
    const table: { at: number; amount: number; fitsAt: number }[] = [
      { at: 0, amount: 61, fitsAt: Infinity },
      { at: 0, amount: 60, fitsAt: 0 },
      { at: 0, amount: 1, fitsAt: 1_000 },
      { at: 0, amount: 60, fitsAt: 60_000 },
      { at: 1_500, amount: 1, fitsAt: 1_500 },
      { at: 1_500, amount: 1, fitsAt: 2_000 },
      { at: 2_000.5, amount: 1, fitsAt: 2_000.5 },
      { at: 2_000.5, amount: 1, fitsAt: 3_000 },
      { at: 600_000, amount: 60, fitsAt: 600_000 },
      { at: 600_000, amount: 1, fitsAt: 601_000 },
    ];
    for (const { at, amount, fitsAt } of table) {
      expect(limit.fitsAt(start + at, amount)).toBe(start + fitsAt);
      expect(limit.fits(start + at, amount)).toBe(fitsAt <= at);
      if (fitsAt <= at) counted(limit, start + at, amount);
    }
  });

  test("a bucket that is not counted yet does not fill up", () => {
    const limit = new TokenBucket(spec(60));
    const entry = limit.charge(start, 60, null);
    // Not sent: as if it left now.
    expect(limit.fitsAt(start, 1)).toBe(start + 2_000);
    expect(limit.fitsAt(start + 500, 1)).toBe(start + 2_500);
    limit.sent(entry, start + 500);
    limit.sent(entry, start + 700);
    expect(limit.fitsAt(start + 500, 1)).toBe(start + 2_500);
    limit.fits(start + 600, 1);
    limit.arrived(entry, start + 600);
    expect(limit.fitsAt(start + 600, 1)).toBe(start + 1_600);
    expect(limit.fits(start + 1_599, 1)).toBe(false);
    expect(limit.fits(start + 1_600, 1)).toBe(true);
  });

  test("settling gives back or takes on debt, once", () => {
    const limit = new TokenBucket(spec(60));
    const small = counted(limit, start, 60);
    limit.settle(small, start, 10);
    limit.settle(small, start, 60);
    limit.release(small, start);
    expect(limit.usage(start)).toEqual({ limit: 60, used: 10, reserved: 0, remaining: 50 });
    const large = counted(limit, start, 50);
    limit.settle(large, start, 110);
    expect(limit.usage(start)).toEqual({ limit: 60, used: 120, reserved: 0, remaining: 0 });
    expect(limit.fitsAt(start, 1)).toBe(start + 61_000);
    expect(limit.idle(start + 119_999)).toBe(false);
    expect(limit.idle(start + 120_000)).toBe(true);
    const released = limit.charge(start + 120_000, 60, null);
    limit.release(released, start + 120_000);
    const late = counted(limit, start + 120_000, 60);
    limit.release(late, start + 120_000);
    limit.settle(late, start + 120_000, 60);
    expect(limit.idle(start + 120_000)).toBe(true);
  });

  test("another limit takes over what is missing", () => {
    const limit = new TokenBucket(spec(60));
    counted(limit, start, 60);
    limit.resize(spec(30));
    expect(limit.max).toBe(30);
    expect(limit.fitsAt(start, 1)).toBe(start + 62_000);
    expect(limit.usage(start)).toEqual({ limit: 30, used: 0, reserved: 60, remaining: 0 });
    limit.resize({ kind: "concurrency", max: 1 });
    expect(limit.max).toBe(30);
  });

  test("forecasts", () => {
    const limit = new TokenBucket(spec(60));
    const entry = limit.charge(start, 60, { endAt: start + 2_400, amount: 12 });
    limit.sent(entry, start);
    limit.arrived(entry, start);
    expect(limit.earliestAt(start, 60)).toBe(start);
    expect(limit.earliestAt(start, 61)).toBe(Infinity);
    expect(limit.expectedAt(start, 1)).toBe(start + 1_000);
    expect(limit.expectedAt(start, 40)).toBeGreaterThanOrEqual(start + 2_400);
    expect(limit.expectedAt(start, 40)).toBeLessThan(start + 2_640);
    expect(limit.expectedAt(start, 61)).toBe(Infinity);
    limit.settle(entry, start, 30);
    expect(limit.expectedAt(start, 30)).toBe(start);
    expect(limit.earliestAt(start, 31)).toBe(start + 1_000);
  });

  test("one mark says what settled charges left missing", () => {
    const limit = new TokenBucket(spec(60));
    expect(limit.takeMarks()).toEqual([]);
    limit.settle(counted(limit, start, 20), start, 15);
    counted(limit, start + 1_000, 20);
    limit.settle(counted(limit, start + 1_000, 6), start + 1_000, 6);
    const marks = limit.takeMarks();
    expect(marks).toEqual([
      {
        slot: 0,
        at: start + 1_000,
        value: 20 * 60_000,
        expiresAt: start + 21_000 + 2 * 86_400_000,
      },
    ]);
    expect(limit.takeMarks()).toEqual([]);
    const again = new TokenBucket(spec(60));
    for (const mark of marks) again.restore(mark);
    expect(again.usage(start + 1_000)).toMatchObject({ used: 20, remaining: 40 });
    expect(again.usage(start + 11_000)).toMatchObject({ used: 10, remaining: 50 });
  });
});

describe("properties", () => {
  test("an upstream's bucket never overflows, whatever the jitter, and room is given back in the end", () => {
    const sizes = fc.array(fc.integer({ min: 20, max: 60 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(
        fates(20),
        sizes,
        fc.constantFrom(0, 50, 1_000, 6_000),
        (list, limits, marginMs) => {
          const limit = new TokenBucket(spec(limits[0] ?? 20, marginMs));
          let at = start;
          let missing = 0;
          let events = 0;
          const drain = (now: number): void => {
            missing = Math.max(0, missing - ((now - at) * limit.max) / 60_000);
            at = now;
          };
          simulate(
            {
              limit,
              marginMs,
              startAt: start,
              onCount(call, now) {
                drain(now);
                missing += call.charged;
                if (limits.length === 1) expect(missing).toBeLessThanOrEqual(limit.max + 1e-6);
              },
              onRevise(call, before, now) {
                drain(now);
                missing = Math.max(0, missing + call.charged - before);
              },
              onEvent(now) {
                drain(now);
                // At any moment, so also when limits change: the upstream never misses more than we believe.
                expect(limit.max - missing).toBeGreaterThanOrEqual(limit.roomAt(now, now) - 1e-6);
                const { used, reserved } = limit.usage(now);
                expect(used).toBeGreaterThanOrEqual(0);
                expect(reserved).toBeGreaterThanOrEqual(0);
                if (++events % 25 === 0)
                  limit.resize(spec(limits[(events / 25) % limits.length] ?? 20, marginMs));
              },
            },
            list,
          );
          expect(limit.usage(start + 1e9)).toMatchObject({ used: 0, reserved: 0 });
          expect(limit.idle(start + 1e9)).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("the time told is tight: with all sent, it fits then and not a millisecond before", () => {
    const charges = fc.array(
      fc.record({
        gapMs: fc.nat(5_000),
        amount: fc.integer({ min: 1, max: 9 }),
        arrives: fc.boolean(),
        outlook: fc.nat(20_000),
      }),
      { maxLength: 60, size: "max" },
    );
    fc.assert(
      fc.property(
        charges,
        fc.constantFrom(0, 50, 1_000, 6_000),
        fc.integer({ min: 1, max: 40 }),
        (list, marginMs, a) => {
          const limit = new TokenBucket(spec(40, marginMs));
          let now = start;
          for (const { gapMs, amount, arrives, outlook } of list) {
            now += gapMs;
            if (!limit.fits(now, amount)) continue;
            const entry = limit.charge(now, amount, { endAt: now + outlook, amount: 1 });
            limit.sent(entry, now);
            if (arrives) limit.arrived(entry, now);
          }
          const at = limit.fitsAt(now, a);
          expect(limit.fits(now, a)).toBe(at <= now);
          expect(limit.roomAt(now, at)).toBeGreaterThanOrEqual(a);
          const expected = limit.expectedAt(now, a);
          expect(expected).toBeLessThanOrEqual(at);
          expect(limit.earliestAt(now, a)).toBeLessThanOrEqual(at);
          expect(limit.expectedRoomAt(now, expected)).toBeGreaterThanOrEqual(a);
          if (at > now) {
            expect(limit.roomAt(now, at - 1)).toBeLessThan(a);
            expect(limit.fits(at - 1, a)).toBe(at - 1 < now && limit.fits(now, a));
          }
          expect(limit.fits(at, a)).toBe(true);
        },
      ),
      { numRuns: 400 },
    );
  });
});
