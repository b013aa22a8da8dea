import * as fc from "fast-check";

import type { Fate } from "./upstream.ts";

const share = fc.double({ min: 0, max: 1, noNaN: true });

/** Requests of up to `maxAmount` units that keep a limit of about that size full. */
export function fates(maxAmount: number): fc.Arbitrary<Fate[]> {
  const fate: fc.Arbitrary<Fate> = fc.record({
    gapMs: fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 0, max: 2_000 }) },
      fc.integer({ min: 0, max: 70_000 }),
    ),
    amount: fc.integer({ min: 0, max: maxAmount }),
    sendMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 3_000 })),
    headersMs: fc.oneof(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 90_000 })),
    countedShare: fc.oneof(fc.constant(0), fc.constant(1), share),
    answerMs: fc.integer({ min: 0, max: 100_000 }),
    actualShare: fc.oneof(fc.constant(1), share),
    released: fc.nat(9).map((n) => n === 0),
  });
  return fc.array(fate, { minLength: 20, maxLength: 80, size: "max" });
}
