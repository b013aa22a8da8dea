import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import { Gcra } from "../../src/limit/gcra.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";

const start = 1_700_000_000_000;

function spec(requestsPerSecond: number, burst = 1): LimitSpec & { kind: "leaky_bucket" } {
  return { kind: "leaky_bucket", requestsPerSecond, burst };
}

/** Sends as soon as told, where it had to wait each `lateMs` after that; the times of departure. */
function greedy(limit: Gcra, from: number, lateMs: readonly number[]): number[] {
  const left: number[] = [];
  let now = from;
  for (const late of lateMs) {
    const at = limit.fitsAt(now, 1);
    now = at > now ? at + late : at;
    expect(limit.fits(now, 1)).toBe(true);
    limit.charge(now, 1);
    left.push(now);
  }
  return left;
}

describe("decisions", () => {
  test.each([
    { rate: 20, burst: 1, gaps: [50, 50, 50, 50] },
    { rate: 0.5, burst: 1, gaps: [2_000, 2_000] },
    { rate: 0.001, burst: 1, gaps: [1_000_000] },
    { rate: 3, burst: 1, gaps: [333.334, 333.334, 333.334] },
    { rate: 10, burst: 3, gaps: [0, 0, 100, 100] },
    { rate: 1_000_000, burst: 1, gaps: [0.001, 0.001] },
  ])("$rate a second, burst $burst", ({ rate, burst, gaps }) => {
    const limit = new Gcra(spec(rate, burst));
    expect(limit.requestsPerSecond).toBe(rate);
    const left = greedy(limit, start, [0, ...gaps.map(() => 0)]);
    const seen = left.slice(1).map((at, i) => at - (left[i] ?? 0));
    // Times are doubles: a quarter of a microsecond is all they can tell apart.
    for (const [i, gap] of gaps.entries())
      expect(Math.abs((seen[i] ?? NaN) - gap)).toBeLessThan(0.003);
  });

  test("several at once use the burst up", () => {
    const limit = new Gcra(spec(10, 4));
    expect(limit.fitsAt(start, 0)).toBe(start);
    expect(limit.fits(start, 4)).toBe(true);
    expect(limit.fitsAt(start, 5)).toBeCloseTo(start + 100, 2);
    limit.charge(start, 4);
    expect(limit.fitsAt(start, 1)).toBeCloseTo(start + 100, 2);
    expect(limit.usage(start)).toEqual({ limit: 4, used: 4, reserved: 0, remaining: 0 });
    expect(limit.usage(start + 150)).toEqual({ limit: 4, used: 3, reserved: 0, remaining: 1 });
    expect(limit.idle(start + 400)).toBe(false);
    expect(limit.idle(start + 405)).toBe(true);
  });

  test("a lateness of 5 ms is made good, a longer one is not", () => {
    const limit = new Gcra(spec(10));
    limit.charge(start, 1);
    limit.charge(start + 105, 1);
    expect(limit.fitsAt(start + 105, 1)).toBeCloseTo(start + 200, 2);
    limit.charge(start + 206, 1);
    expect(limit.fitsAt(start + 206, 1)).toBeCloseTo(start + 306, 2);
  });

  test("a turn is given back only if nobody has left since", () => {
    const limit = new Gcra(spec(1));
    const first = limit.charge(start, 1);
    limit.sent();
    limit.arrived(first);
    limit.release(first);
    limit.release(first);
    expect(limit.fits(start, 1)).toBe(true);
    const second = limit.charge(start, 1);
    const third = limit.charge(start + 1_000, 1);
    limit.release(second);
    limit.settle(third);
    limit.release(third);
    expect(limit.fitsAt(start + 1_000, 1)).toBeCloseTo(start + 2_000, 2);
  });

  test("another rate holds at once, for what has left already too", () => {
    const limit = new Gcra(spec(10));
    limit.charge(start, 1);
    limit.resize(spec(1));
    expect(limit.fitsAt(start, 1)).toBeCloseTo(start + 1_000, 2);
    limit.resize(spec(20));
    expect(limit.fitsAt(start, 1)).toBeCloseTo(start + 50, 2);
    limit.resize({ kind: "concurrency", max: 1 });
    expect(limit.requestsPerSecond).toBe(20);
  });

  test("a used-up burst is used up at a lower rate as well", () => {
    const limit = new Gcra(spec(10, 10));
    limit.charge(start, 10);
    limit.resize(spec(1, 10));
    expect(limit.fitsAt(start, 1)).toBeCloseTo(start + 1_000, 2);
    expect(limit.usage(start).used).toBe(10);
  });

  test("forecasts are decisions: nothing is ever refunded", () => {
    const limit = new Gcra(spec(10));
    limit.charge(start, 1);
    expect(limit.expectedAt(start, 1)).toBe(limit.fitsAt(start, 1));
    expect(limit.earliestAt(start, 1)).toBe(limit.fitsAt(start, 1));
    expect(limit.roomAt(start, start)).toBe(0);
    expect(limit.roomAt(start, limit.fitsAt(start, 1))).toBe(1);
    expect(limit.expectedRoomAt(start, start + 1_000)).toBe(10);
  });

  test("its mark is a second ahead while running, and exact at the end", () => {
    const limit = new Gcra(spec(4));
    expect(limit.unsaved).toBe(false);
    expect(limit.takeMarks(false)).toEqual([]);
    expect(limit.takeMarks(true)).toEqual([]);
    const mark = (ms: number, at: number) => [
      { slot: 0, at, value: (start + ms) * 1_000, expiresAt: start + ms },
    ];
    limit.charge(start, 1);
    expect(limit.unsaved).toBe(true);
    expect(limit.takeMarks(false)).toEqual(mark(1_250, start));
    for (const turn of [1, 2, 3, 4]) {
      limit.charge(start + turn * 250, 1);
      expect(limit.unsaved).toBe(false);
      expect(limit.takeMarks(false)).toEqual([]);
    }
    limit.charge(start + 1_250, 1);
    expect(limit.unsaved).toBe(true);
    expect(limit.takeMarks(false)).toEqual(mark(2_500, start + 1_250));
    expect(limit.takeMarks(true)).toEqual(mark(1_500, start + 1_250));
  });

  test("after a restart it goes on from its mark", () => {
    const limit = new Gcra(spec(1));
    limit.charge(start, 1);
    const marks = limit.takeMarks(true);
    expect(marks).toEqual([]);
    limit.takeMarks(false);
    marks.push(...limit.takeMarks(true));
    const again = new Gcra(spec(1));
    for (const mark of marks) again.restore(mark);
    expect(again.fitsAt(start, 1)).toBeCloseTo(start + 1_000, 2);
  });
});

describe("properties", () => {
  const rates = fc.oneof(
    fc.double({ min: 0.01, max: 2, noNaN: true }),
    fc.integer({ min: 1, max: 2_000 }),
    fc.double({ min: 1, max: 500, noNaN: true }),
  );
  const bursts = fc.integer({ min: 1, max: 10 });

  test("in no span do more leave than the burst, the rate and 5 ms of lateness allow", () => {
    const lateness = fc.oneof(
      fc.constant(0),
      fc.double({ min: 0, max: 5, noNaN: true }),
      fc.nat(3_000),
    );
    fc.assert(
      fc.property(
        rates,
        bursts,
        fc.array(lateness, { minLength: 5, maxLength: 60, size: "max" }),
        (rate, burst, late) => {
          const left = greedy(new Gcra(spec(rate, burst)), start, late);
          for (let i = 0; i < left.length; i++) {
            for (let j = i; j < left.length; j++) {
              const span = (left[j] ?? 0) - (left[i] ?? 0);
              expect(j - i + 1).toBeLessThanOrEqual(burst + ((span + 5.01) * rate) / 1_000 + 1e-6);
            }
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  test("with timers that are at most 5 ms late the rate is met", () => {
    const lateness = fc.double({ min: 0, max: 4.99, noNaN: true });
    fc.assert(
      fc.property(
        rates,
        bursts,
        fc.array(lateness, { minLength: 2, maxLength: 60, size: "max" }),
        (rate, burst, late) => {
          const left = greedy(new Gcra(spec(rate, burst)), start, late);
          const [first = 0] = left;
          const intervalMs = Math.ceil(1_000_000 / rate) / 1_000;
          const span = (left.at(-1) ?? 0) - first;
          expect(span).toBeLessThanOrEqual(Math.max(0, left.length - burst) * intervalMs + 5);
        },
      ),
      { numRuns: 150 },
    );
  });

  test("changed rates hold from the change on", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ rate: rates, burst: bursts, count: fc.integer({ min: 1, max: 15 }) }),
          {
            minLength: 2,
            maxLength: 5,
          },
        ),
        (phases) => {
          const limit = new Gcra(spec(1));
          let now = start;
          for (const { rate, burst, count } of phases) {
            limit.resize(spec(rate, burst));
            const left = greedy(
              limit,
              now,
              Array.from({ length: count }, () => 0),
            );
            now = left.at(-1) ?? now;
            const span = now - (left[0] ?? now);
            expect(count).toBeLessThanOrEqual(burst + (span * rate) / 1_000 + 1e-3);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});
