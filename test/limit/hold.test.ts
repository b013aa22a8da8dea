import { expect, test } from "bun:test";

import { Hold } from "../../src/limit/hold.ts";

const now = 1_700_000_000_000;

test("nothing fits before its end, everything after", () => {
  const hold = new Hold(now + 2_000);
  for (const [at, fits] of [
    [now, false],
    [now + 1_999, false],
    [now + 2_000, true],
  ] as const) {
    expect(hold.fits(at)).toBe(fits);
    expect(hold.idle(at)).toBe(fits);
    for (const when of [hold.fitsAt(at), hold.expectedAt(at), hold.earliestAt(at)])
      expect(when).toBe(Math.max(at, now + 2_000));
    expect(hold.roomAt(now, at)).toBe(fits ? Infinity : 0);
  }
});

test("is only ever prolonged", () => {
  const hold = new Hold(now + 2_000);
  hold.prolong(now + 1_000);
  expect(hold.until).toBe(now + 2_000);
  hold.prolong(now + 3_000);
  expect(hold.until).toBe(now + 3_000);
});
