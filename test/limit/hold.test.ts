import { describe, expect, test } from "bun:test";

import { Hold } from "../../src/limit/hold.ts";

const now = 1_700_000_000_000;
const end = now + 2_000;

test("nothing fits before its end", () => {
  const hold = new Hold(end);
  for (const [at, fits] of [
    [now, false],
    [now + 1_999, false],
    [end, true],
  ] as const) {
    expect(hold.fits(at)).toBe(fits);
    expect(hold.idle(at)).toBe(fits);
    for (const when of [hold.fitsAt(at), hold.expectedAt(at), hold.earliestAt(at)])
      expect(when).toBe(Math.max(at, end));
    expect(hold.roomAt(now, at)).toBe(fits ? Infinity : 0);
  }
});

describe("after its end", () => {
  test("one request tries, the others fit a second later", () => {
    const hold = new Hold(end);
    hold.charge(end + 10, 1);
    expect([hold.fits(end + 10), hold.fitsAt(end + 10)]).toEqual([false, end + 1_010]);
    expect(hold.fits(end + 1_010)).toBe(true);
    expect([hold.isOver(end + 999), hold.isOver(end + 1_000)]).toEqual([false, true]);
  });

  test.each(["settle", "release"] as const)("another tries where the first ended in %s", (way) => {
    const hold = new Hold(end);
    const entry = hold.charge(end, 1);
    hold[way](entry);
    expect(hold.fits(end)).toBe(true);
    hold.charge(end, 1);
    hold[way](entry);
    expect(hold.fits(end)).toBe(false);
  });
});

test("is only ever prolonged, and tried again then", () => {
  const hold = new Hold(end);
  hold.prolong(now + 1_000);
  expect(hold.until).toBe(end);
  hold.charge(end, 1);
  hold.prolong(now + 3_000);
  expect(hold.until).toBe(now + 3_000);
  expect(hold.fits(now + 3_000)).toBe(true);
});
