import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { LimitSpec, WindowName } from "../../src/limit/limit.ts";
import { windowMs } from "../../src/limit/limit.ts";
import { SlidingWindow } from "../../src/limit/sliding-window.ts";
import { fates } from "./fates.ts";
import type { Call } from "./upstream.ts";
import { counted, simulate } from "./upstream.ts";

const start = 1_700_000_000_000;
const sliceMs = 100;

type Spec = LimitSpec & { kind: "sliding_window" };

function spec(limit: number, marginMs = 1_000, window: WindowName = "minute"): Spec {
  return { kind: "sliding_window", unit: "tokens", window, limit, marginMs };
}

describe("decisions", () => {
  test("what fits goes now, what does not goes when the window lets it", () => {
    const limit = new SlidingWindow(spec(10));
    const table: { at: number; amount: number; fitsAt: number }[] = [
      { at: 0, amount: 6, fitsAt: 0 },
      { at: 5_000, amount: 4, fitsAt: 5_000 },
      // The first six are a window old when the slice in which they were counted is.
      { at: 5_000, amount: 1, fitsAt: 60_100 },
      { at: 5_000, amount: 7, fitsAt: 65_100 },
      { at: 59_999, amount: 6, fitsAt: 60_100 },
      { at: 60_100, amount: 6, fitsAt: 60_100 },
      { at: 60_100, amount: 11, fitsAt: Infinity },
    ];
    for (const { at, amount, fitsAt } of table) {
      expect(limit.fitsAt(start + at, amount)).toBe(start + fitsAt);
      expect(limit.fits(start + at, amount)).toBe(fitsAt <= at);
      if (fitsAt <= at) counted(limit, start + at, amount);
    }
  });

  test.each([
    ["second", 2],
    ["minute", 100],
    ["hour", 6_000],
    ["day", 144_000],
  ] as const)("a %s is given back a slice of %d ms after it is over", (window, slice) => {
    const limit = new SlidingWindow(spec(5, 0, window));
    const now = Math.ceil(start / slice) * slice;
    counted(limit, now, 5);
    const free = now + windowMs[window] + slice;
    expect(limit.fitsAt(now, 1)).toBe(free);
    expect(limit.fits(free - 1, 1)).toBe(false);
    expect(limit.fits(free, 5)).toBe(true);
    expect(limit.idle(free)).toBe(true);
  });

  test("is held until counted: a slow answer from the margin on, a fast one from its headers on", () => {
    for (const [arrivesMs, free] of [
      [200, 60_300],
      [5_000, 61_100],
    ] as const) {
      const limit = new SlidingWindow(spec(1));
      const entry = limit.charge(start, 1, null);
      limit.sent(entry, start);
      expect(limit.fitsAt(start, 1)).toBe(start + 61_100);
      limit.fits(start + arrivesMs, 1);
      limit.arrived(entry, start + arrivesMs);
      expect(limit.fitsAt(start + 5_000, 1)).toBe(start + free);
    }
  });

  test("what has not left in full stays charged for ever", () => {
    const limit = new SlidingWindow(spec(1));
    const entry = limit.charge(start, 1, null);
    expect(limit.fits(start + 10 * 60_000, 1)).toBe(false);
    expect(limit.fitsAt(start + 10 * 60_000, 1)).toBe(start + 11 * 60_000 + 1_100);
    limit.release(entry, start + 10 * 60_000);
    expect(limit.fits(start + 10 * 60_000, 1)).toBe(true);
  });

  test("sending twice does not put the margin off", () => {
    const limit = new SlidingWindow(spec(1));
    const entry = limit.charge(start, 1, null);
    limit.sent(entry, start);
    limit.sent(entry, start + 900);
    expect(limit.fitsAt(start + 900, 1)).toBe(start + 61_100);
  });
});

describe("settlement", () => {
  test("less is given back at once, more is debt from now on, each once", () => {
    const limit = new SlidingWindow(spec(100));
    const small = counted(limit, start, 60);
    limit.settle(small, start + 1_000, 10);
    limit.settle(small, start + 1_000, 50);
    limit.release(small, start + 1_000);
    expect(limit.usage(start + 1_000)).toEqual({
      limit: 100,
      used: 10,
      reserved: 0,
      remaining: 90,
    });

    const large = counted(limit, start + 1_000, 90);
    limit.settle(large, start + 30_000, 150);
    expect(limit.usage(start + 30_000)).toEqual({
      limit: 100,
      used: 160,
      reserved: 0,
      remaining: 0,
    });
    // 10 end at 60.1 s, 90 at 61.1 s; the 60 over were counted when they were known.
    expect(limit.fitsAt(start + 30_000, 40)).toBe(start + 61_100);
    expect(limit.fitsAt(start + 30_000, 41)).toBe(start + 90_100);
    expect(limit.idle(start + 90_100)).toBe(true);
  });

  test("a refund after the window is over takes nothing away from others, an overage still counts", () => {
    const limit = new SlidingWindow(spec(100));
    const first = counted(limit, start, 50);
    const second = counted(limit, start, 50);
    const now = start + 70_000;
    const other = counted(limit, now, 30);
    limit.settle(first, now, 0);
    limit.settle(second, now, 57);
    expect(limit.usage(now)).toEqual({ limit: 100, used: 7, reserved: 30, remaining: 63 });
    limit.settle(other, now, 30);
    expect(limit.usage(now)).toEqual({ limit: 100, used: 37, reserved: 0, remaining: 63 });
  });

  test("released after it was counted, nothing of it stays", () => {
    const limit = new SlidingWindow(spec(10));
    const entry = counted(limit, start, 10);
    limit.release(entry, start + 5);
    expect(limit.usage(start + 5)).toEqual({ limit: 10, used: 0, reserved: 0, remaining: 10 });
  });

  test("another limit takes over what is used", () => {
    const limit = new SlidingWindow(spec(10));
    counted(limit, start, 8);
    limit.resize(spec(4));
    expect(limit.max).toBe(4);
    expect(limit.fitsAt(start, 1)).toBe(start + 60_100);
    expect(limit.fitsAt(start, 5)).toBe(Infinity);
    expect(limit.usage(start).remaining).toBe(0);
    limit.resize(spec(12));
    expect(limit.fits(start, 4)).toBe(true);
    limit.resize({ kind: "concurrency", max: 1 });
    expect(limit.max).toBe(12);
  });

  test("a margin lowered on the way does not count anybody too early, nor tell a time too early", () => {
    const limit = new SlidingWindow(spec(2, 5_000));
    limit.sent(limit.charge(start, 1, null), start);
    limit.resize(spec(2, 0));
    limit.sent(limit.charge(start + 100, 1, null), start + 100);
    const at = limit.fitsAt(start + 100, 2);
    expect(limit.fits(at - 1, 2)).toBe(false);
    expect(limit.fits(at, 2)).toBe(true);
  });
});

describe("forecasts", () => {
  test("a refund is expected when the request should end, and in the next slice when it is late", () => {
    const limit = new SlidingWindow(spec(100));
    const entry = limit.charge(start, 100, { endAt: start + 2_000, amount: 20 });
    limit.sent(entry, start);
    limit.arrived(entry, start);
    expect(limit.expectedAt(start, 80)).toBe(start + 2_000);
    expect(limit.expectedAt(start, 81)).toBe(start + 60_100);
    expect(limit.expectedRoomAt(start, start + 2_000)).toBe(80);
    expect(limit.expectedRoomAt(start, start + 1_900)).toBe(0);
    expect(limit.expectedAt(start + 3_000, 80)).toBe(start + 3_100);
    expect(limit.earliestAt(start, 100)).toBe(start);
    limit.settle(entry, start + 3_050, 30);
    expect(limit.expectedAt(start + 3_050, 70)).toBe(start + 3_050);
    expect(limit.expectedAt(start + 3_050, 71)).toBe(start + 60_100);
    expect(limit.earliestAt(start + 3_050, 71)).toBe(start + 60_100);
    expect(limit.earliestAt(start + 3_050, 101)).toBe(Infinity);
  });
});

test("what is held and never refunded is expected when it frees", () => {
  const limit = new SlidingWindow(spec(100));
  limit.charge(start, 100, { endAt: start + 500, amount: 90 });
  expect(limit.expectedAt(start, 10)).toBe(start + 500);
  expect(limit.expectedAt(start, 11)).toBe(limit.fitsAt(start, 11));
});

describe("marks", () => {
  test("what is settled comes back from its marks, and no slice twice", () => {
    const limit = new SlidingWindow(spec(100));
    counted(limit, start, 30);
    limit.settle(counted(limit, start, 20), start, 15);
    limit.settle(counted(limit, start + 7_000, 20), start + 9_000, 25);
    const marks = limit.takeMarks();
    expect(limit.takeMarks()).toEqual([]);
    expect(marks.map(({ at, value }) => ({ at: at - start, value }))).toEqual([
      { at: 0, value: 15 },
      { at: 7_000, value: 20 },
      { at: 9_000, value: 5 },
    ]);
    const again = new SlidingWindow(spec(100));
    for (const mark of marks) again.restore(mark);
    expect(again.usage(start + 9_000).used).toBe(40);
    expect(again.fitsAt(start + 9_000, 61)).toBe(start + 60_100);
    expect(again.idle(start + 69_100)).toBe(true);
  });

  test("slices that are over leave no mark", () => {
    const limit = new SlidingWindow(spec(100));
    limit.settle(counted(limit, start, 20), start, 15);
    limit.fits(start + 60_100, 1);
    expect(limit.takeMarks()).toEqual([]);
    limit.settle(counted(limit, start + 60_100, 20), start + 60_100, 15);
    limit.fits(start + 600_000, 1);
    expect(limit.takeMarks()).toEqual([]);
    const again = new SlidingWindow(spec(100));
    again.restore({
      slot: (start + 60_000) / sliceMs,
      at: start + 60_000,
      value: 1,
      expiresAt: Infinity,
    });
    again.restore({ slot: start / sliceMs - 10, at: start - 1_000, value: 1, expiresAt: Infinity });
    expect(again.usage(start + 60_000).used).toBe(1);
  });
});

describe("properties", () => {
  const margins = fc.constantFrom(0, 50, 1_000, 6_000);

  test("no upstream ever counts more than the limit in any window, whatever the jitter", () => {
    const limits = fc.array(fc.integer({ min: 5, max: 60 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fates(20), limits, margins, (list, sizes, marginMs) => {
        const limit = new SlidingWindow(spec(sizes[0] ?? 5, marginMs));
        const seen: Call[] = [];
        let events = 0;
        simulate(
          {
            limit,
            marginMs,
            startAt: start,
            onCount(call, now) {
              seen.push(call);
              const inWindow = seen.filter(({ countedAt }) => countedAt > now - 60_000);
              const sum = inWindow.reduce((total, { charged }) => total + charged, 0);
              // The limit in force when the last of them was dispatched allowed them all together.
              const last = inWindow.reduce((a, b) => (b.id > a.id ? b : a));
              expect(sum).toBeLessThanOrEqual(last.limit);
            },
            onEvent(now) {
              if (++events % 25 === 0)
                limit.resize(spec(sizes[(events / 25) % sizes.length] ?? 5, marginMs));
              const { used, reserved } = limit.usage(now);
              expect(used).toBeGreaterThanOrEqual(0);
              expect(reserved).toBeGreaterThanOrEqual(0);
            },
          },
          list,
        );
        expect(limit.usage(start + 1e9)).toMatchObject({ used: 0, reserved: 0 });
        expect(limit.idle(start + 1e9)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  /** A limit after a random history that ends in the middle, everything sent: nothing is refunded from there on. */
  const histories = fc
    .record({
      list: fates(20),
      marginMs: margins,
      size: fc.integer({ min: 5, max: 60 }),
      cut: fc.nat(200),
    })
    .map(({ list, marginMs, size, cut }) => {
      const limit = new SlidingWindow(spec(size, marginMs));
      let events = 0;
      let now = start;
      const stop = new Error("cut");
      try {
        simulate(
          {
            limit,
            marginMs,
            startAt: start,
            onCount() {},
            onEvent: (at) => {
              now = at;
              if (++events > cut) throw stop;
            },
          },
          list,
        );
      } catch (error) {
        if (error !== stop) throw error;
      }
      return { limit, now };
    });

  test("the time told is tight: it fits then, and not a moment before", () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 60 }), ({ limit, now }, amount) => {
        const at = limit.fitsAt(now, amount);
        expect(limit.fits(now, amount)).toBe(at <= now);
        if (at === Infinity) return expect(amount).toBeGreaterThan(limit.max);
        if (at <= now) return;
        expect(limit.roomAt(now, at)).toBeGreaterThanOrEqual(amount);
        expect(limit.roomAt(now, at - 1)).toBeLessThan(amount);
        const earliest = limit.earliestAt(now, amount);
        const expected = limit.expectedAt(now, amount);
        expect(earliest).toBeLessThanOrEqual(at);
        expect(expected).toBeLessThanOrEqual(at);
        expect(limit.expectedRoomAt(now, expected)).toBeGreaterThanOrEqual(amount);
        expect(limit.fits(at - 1, amount)).toBe(false);
        expect(limit.fitsAt(at - 1, amount)).toBeGreaterThanOrEqual(at);
      }),
      { numRuns: 400 },
    );
  });

  test("with all sent, it really fits at the time told", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ gapMs: fc.nat(5_000), amount: fc.integer({ min: 1, max: 9 }) }), {
          maxLength: 60,
        }),
        margins,
        fc.integer({ min: 1, max: 40 }),
        (charges, marginMs, amount) => {
          const limit = new SlidingWindow(spec(40, marginMs));
          let now = start;
          for (const charge of charges) {
            now += charge.gapMs;
            if (limit.fits(now, charge.amount))
              limit.sent(limit.charge(now, charge.amount, null), now);
          }
          const at = limit.fitsAt(now, amount);
          expect(limit.roomAt(now, at)).toBeGreaterThanOrEqual(amount);
          if (at > now) expect(limit.fits(at - 0.01, amount)).toBe(false);
          expect(limit.fits(at, amount)).toBe(true);
        },
      ),
      { numRuns: 300 },
    );
  });
});

test("what a provider counts beyond the answer's usage takes room and is not called used", () => {
  const now = start;
  const limit = new SlidingWindow(spec(1_000, 0));
  const entry = limit.charge(now, 800, null);
  limit.settle(entry, now, 800);
  limit.withhold(now, 700);
  expect(limit.usage(now)).toMatchObject({ used: 100, reserved: 0, remaining: 200 });
  expect([limit.fits(now, 200), limit.fits(now, 201)]).toEqual([true, false]);
  expect(limit.usage(now + 61_000)).toMatchObject({ used: 0, remaining: 1_000 });
});
