import { expect, test } from "bun:test";
import fc from "fast-check";
import { createPairMerger, type Pair } from "../../src/tokens/pair-merge.ts";

/** The definition of merging by a list of pairs: the first pair of the list that is there, the leftmost of them. */
function mergePlainly(pairs: readonly Pair[], symbols: readonly number[]): number {
  const ranks = new Map(pairs.map(([left, right], rank) => [`${left},${right}`, rank]));
  const parts = [...symbols];
  for (;;) {
    let lowest = Infinity;
    let at = 0;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]},${parts[i + 1]}`) ?? Infinity;
      if (rank < lowest) [lowest, at] = [rank, i];
    }
    const pair = pairs[lowest];
    if (pair === undefined) return parts.length;
    parts.splice(at, 2, pair[2]);
  }
}

// Each merge makes a symbol of its own: what two merges to one symbol mean, the reference alone decides.
const symbol = fc.nat({ max: 12 });
const pairs = fc
  .uniqueArray(fc.tuple(symbol, symbol), { selector: ([a, b]) => `${a},${b}`, maxLength: 40 })
  .map((list) => list.map(([left, right], i): Pair => [left, right, 3 + i]));

test("merging equals its definition, for any list of pairs, by scan and by heap", () => {
  fc.assert(
    fc.property(
      pairs,
      fc.array(fc.array(fc.nat({ max: 2 }), { minLength: 1, maxLength: 200, size: "max" }), {
        minLength: 1,
        maxLength: 5,
      }),
      (list, pieces) => {
        const merge = createPairMerger(list);
        for (const piece of pieces)
          expect(merge(Int32Array.from(piece), piece.length)).toBe(mergePlainly(list, piece));
      },
    ),
    { numRuns: 500 },
  );
});

test("what is unknown merges with nothing", () => {
  const merge = createPairMerger([[0, 1, 2]]);
  expect(merge(Int32Array.of(-1, 0, 1, -1), 4)).toBe(3);
});
