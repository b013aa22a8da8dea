import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Entry, Limit, LimitHint } from "../../src/limit/limit.ts";
import { SlidingWindow } from "../../src/limit/sliding-window.ts";
import { TokenBucket } from "../../src/limit/token-bucket.ts";
import { counted } from "./upstream.ts";

const start = 1_700_000_000_000;
const minute = { unit: "requests", window: "minute", limit: 100, marginMs: 1_000 } as const;

function hint(remaining: number | null, limit: number | null = 100): LimitHint {
  return { unit: "requests", window: "minute", limit, remaining, resetAt: null };
}

const kinds: { name: string; make(): Limit }[] = [
  { name: "window", make: () => new SlidingWindow({ kind: "sliding_window", ...minute }) },
  { name: "bucket", make: () => new TokenBucket({ kind: "token_bucket", ...minute }) },
];

describe.each(kinds)("$name", ({ make }) => {
  test("what is missing beyond our own use is others', and lowers the room", () => {
    const limit = make();
    const entry = counted(limit, start, 10);
    limit.hint(entry, start, hint(90));
    expect(limit.usage(start).remaining).toBe(90);
    limit.hint(entry, start, hint(60));
    const { remaining, foreign, used, reserved } = limit.usage(start);
    expect(used + reserved).toBe(10);
    expect(foreign).toBeGreaterThanOrEqual(30);
    expect(remaining).toBeLessThanOrEqual(60);
    expect(remaining).toBeGreaterThanOrEqual(50);
  });

  test("the very first answer is believed as far as all that was charged before it allows", () => {
    const limit = make();
    const entries = [1, 2, 3].map(() => counted(limit, start, 10));
    limit.hint(entries[0] ?? null, start + 200, hint(60));
    const { foreign } = limit.usage(start + 200);
    expect(foreign).toBeGreaterThanOrEqual(10);
    expect(foreign).toBeLessThanOrEqual(20);
  });

  describe("nothing is left until the reset", () => {
    const inMs = (ms: number, more: Partial<LimitHint> = {}): LimitHint => ({
      ...hint(0),
      resetAt: start + 200 + ms,
      ...more,
    });
    test.each([
      ["that is soon, and hardly anything is ours", 1, inMs(3_000), true],
      ["most of which is in flight from here", 50, inMs(3_000), false],
      ["which is when an empty bucket is full", 1, inMs(60_000), false],
      ["of a lower limit, whatever that is", 1, inMs(59_000, { limit: 20 }), true],
      ["of a limit that cannot be meant", 1, inMs(3_000, { limit: 1_000_000 }), false],
      ["that is not told", 1, inMs(3_000, { resetAt: null }), false],
      ["that has passed", 1, inMs(-1), false],
      ["of no limit at all", 1, inMs(3_000, { limit: null }), false],
      ["but one", 1, inMs(3_000, { remaining: 1 }), false],
    ] as const)("%s", (_, amount, told, expected) => {
      const limit = make();
      const entry = counted(limit, start, amount);
      expect(limit.isSpent?.(entry, start + 200, told)).toBe(expected);
    });

    test("what others are known to use explains it as well", () => {
      const limit = make();
      limit.hint(counted(limit, start, 1), start, hint(40));
      const entry = counted(limit, start + 100, 1);
      expect(limit.isSpent?.(entry, start + 200, inMs(3_000))).toBe(false);
    });

    test("says nothing of what others use afterwards", () => {
      const limit = make();
      limit.hint(counted(limit, start, 1), start + 200, inMs(3_000));
      expect(limit.usage(start + 3_200).remaining).toBeGreaterThanOrEqual(99);
    });
  });

  test("more than we think is left changes nothing", () => {
    const limit = make();
    const entry = counted(limit, start, 50);
    limit.hint(entry, start, hint(100));
    limit.hint(entry, start, hint(5_000, 5_000));
    expect(limit.usage(start).remaining).toBe(50);
    expect(limit.max).toBe(100);
  });

  test.each([
    hint(101),
    hint(-1),
    hint(Number.NaN),
    hint(null),
    hint(0, 0),
    hint(0, 0.05),
    hint(0, 200_000),
  ])("is not impressed by %j", (told) => {
    const limit = make();
    limit.hint(counted(limit, start, 10), start, told);
    expect(limit.usage(start).remaining).toBe(90);
    expect(limit.max).toBe(100);
  });

  test("answers that show less lower it again", () => {
    const limit = make();
    limit.hint(counted(limit, start, 1), start, hint(49));
    let at = start;
    for (let i = 0; i < 4; i++) {
      at += 1_000;
      limit.hint(counted(limit, at, 1), at, hint(98 - i));
    }
    // Of the cushion one arrival is left.
    expect(limit.usage(at).foreign ?? 0).toBeLessThanOrEqual(7);
  });

  test("a lower limit told by three answers is in force until answers say otherwise", () => {
    const limit = make();
    const entry = counted(limit, start, 1);
    for (const [told, max] of [
      [80, 100],
      [80, 100],
      [80, 80],
      [500, 80],
      [500, 80],
      [500, 100],
    ] as const) {
      limit.hint(entry, start, hint(null, told));
      expect(limit.max).toBe(max);
    }
  });

  test("what remains of a lower limit than ours is not used by others", () => {
    const limit = make();
    for (let n = 1; n <= 5; n++) {
      const at = start + n;
      limit.hint(counted(limit, at, 1), at, hint(20 - n, 20));
    }
    // A lower limit is believed after three answers. Only what is used of it is missing then.
    expect(limit.max).toBe(20);
    expect(limit.usage(start + 5)).toMatchObject({ limit: 20, remaining: 15 });
    expect(limit.fits(start + 5, 15)).toBe(true);
  });

  test("a refusal without numbers does not say who has used it up, nor for how long", () => {
    const limit = make();
    limit.refused(counted(limit, start, 10), start + 100);
    expect(limit.usage(start + 100)).toMatchObject({ used: 0, reserved: 10, remaining: 90 });
  });

  test("it says that others who are known of take more than was kept free, by some hundredths", () => {
    const limit = make();
    const entry = counted(limit, start, 10);
    limit.hint(entry, start, hint(89));
    const at = start + 100;
    const before = limit.usage(at).remaining;
    limit.refused(entry, at);
    expect(limit.usage(at).remaining).toBeWithin(before - 5, before);
    for (let later = at; later < at + 40_000; later += 4_000) {
      limit.refused(entry, later);
      expect(limit.usage(later).remaining).toBeGreaterThan(before - 10);
    }
  });

  test("a refusal that says how much is left means that it is full, whatever we think", () => {
    const limit = make();
    const entry = counted(limit, start, 10);
    limit.hint(entry, start, hint(0));
    limit.refused(entry, start);
    limit.settle(entry, start, 0);
    expect(limit.fits(start, 1)).toBe(false);
    expect(limit.earliestAt(start, 1)).toBe(start);
    const at = limit.fitsAt(start, 1);
    expect(at).toBeLessThanOrEqual(start + 60_100);
    expect(limit.fits(at, 1)).toBe(true);
  });

  test("what others used ends by itself when no answer speaks of it any more", () => {
    const limit = make();
    limit.hint(counted(limit, start, 1), start, hint(0));
    expect(limit.idle(start + 100_000)).toBe(false);
    expect(limit.fits(start + 62_000, 10)).toBe(true);
    expect(limit.idle(start + 181_000)).toBe(true);
    expect(limit.usage(start + 181_000).remaining).toBe(100);
  });
});

test.each([
  ["charges answered here prove", false],
  ["what a process before may never have sent does not prove", true],
])("%s that a provider's count drains", (_, isDistrusted) => {
  const limit = new SlidingWindow({ kind: "sliding_window", ...minute });
  limit.settle(counted(limit, start, 50), start, 50);
  if (isDistrusted) limit.distrust(start + 1_000);
  const now = start + 30_000;
  limit.hint(counted(limit, now, 1), now, hint(95));
  // Where it drains this is told of that count, else of the window.
  limit.hint(counted(limit, now, 1), now, hint(30));
  expect(limit.usage(now).foreign !== undefined).toBe(isDistrusted);
});

test("decisions agree with each other whatever is told, and room is never more than without it", () => {
  const step = fc.record({
    gapMs: fc.oneof({ weight: 5, arbitrary: fc.nat(900) }, fc.nat(70_000)),
    what: fc.constantFrom("charge", "charge", "hint", "hint", "refused", "settle"),
    amount: fc.integer({ min: 0, max: 60 }),
    which: fc.nat(1_000),
    told: fc.integer({ min: 0, max: 110 }),
  });
  fc.assert(
    fc.property(
      fc.constantFrom(...kinds),
      fc.array(step, { minLength: 5, maxLength: 60, size: "max" }),
      ({ name, make }, steps) => {
        const limit = make();
        const plain = make();
        const made: { told: Entry; plain: Entry }[] = [];
        let now = start;
        for (const { gapMs, what, amount, which, told } of steps) {
          now += gapMs;
          const fits = limit.fits(now, amount);
          const fitsAt = limit.fitsAt(now, amount);
          expect(fitsAt <= now).toBe(fits);
          expect(limit.earliestAt(now, amount)).toBeLessThanOrEqual(fitsAt);
          expect(limit.roomAt(now, now)).toBeLessThanOrEqual(plain.roomAt(now, now));
          if (fits) expect(plain.fits(now, amount)).toBe(true);
          if (what === "charge" && fits) {
            made.push({ told: counted(limit, now, amount), plain: counted(plain, now, amount) });
            const { limit: most, used, reserved, foreign } = limit.usage(now);
            expect(used + reserved + (foreign ?? 0)).toBeLessThanOrEqual(most + 1);
          }
          const chosen = made[which % Math.max(1, made.length)];
          if (chosen === undefined) continue;
          if (what === "hint") limit.hint(chosen.told, now, hint(told));
          if (what === "refused") limit.refused(chosen.told, now);
          if (what === "settle") {
            limit.settle(chosen.told, now, amount);
            plain.settle(chosen.plain, now, amount);
          }
          // The very first moment: nothing fits just before, everything still does then.
          const at = limit.fitsAt(now, amount);
          if (name !== "window" || at === Infinity || at <= now + 1) continue;
          expect(limit.roomAt(now, at - 1)).toBeLessThan(amount);
          expect(limit.roomAt(now, at)).toBeGreaterThanOrEqual(amount);
        }
      },
    ),
    { numRuns: 300 },
  );
});
