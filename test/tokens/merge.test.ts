import { expect, test } from "bun:test";
import fc from "fast-check";
import { createMerger } from "../../src/tokens/merge.ts";
import { o200kPieceEnd } from "../../src/tokens/pieces.ts";
import { buildVocabulary, packVocabulary } from "../../src/tokens/vocabulary.ts";

/** The definition of byte pair merging, as slow and as plain as it gets; `ranks` are by pair, `left|right`. */
function mergePairsPlainly(ranks: ReadonlyMap<string, number>, piece: string): number {
  return mergePlainly(ranks, piece, "|");
}

/** The same for `ranks` by token, or by pair with a `separator` between. */
function mergePlainly(ranks: ReadonlyMap<string, number>, piece: string, separator = ""): number {
  const parts = [...piece];
  for (;;) {
    let lowest = Infinity;
    let at = 0;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]}${separator}${parts[i + 1]}`) ?? Infinity;
      if (rank < lowest) [lowest, at] = [rank, i];
    }
    if (lowest === Infinity) return parts.length;
    parts.splice(at, 2, `${parts[at]}${parts[at + 1]}`);
  }
}

// Vocabularies that no training would give: a token may rank before those it is made of.
const token = fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 2, maxLength: 7 });
const tokens = fc.uniqueArray(token, { minLength: 3, maxLength: 60, size: "max" });
const piece = fc.string({
  unit: fc.constantFrom("a", "b", "c"),
  minLength: 1,
  maxLength: 200,
  size: "max",
});

test("merging equals its definition, for any vocabulary, by scan and by heap", () => {
  fc.assert(
    fc.property(tokens, fc.array(piece, { minLength: 1, maxLength: 8 }), (longer, pieces) => {
      const all = ["a", "b", "c", ...longer];
      const ranks = new Map(all.map((text, rank) => [text, rank]));
      const packed = packVocabulary(
        all.map((text) => Buffer.from(text)),
        new Uint8Array(),
      );
      const merge = createMerger(buildVocabulary(packed, o200kPieceEnd));
      for (const text of pieces) {
        const bytes = Buffer.from(`x${text}x`);
        expect(merge(bytes, 1, bytes.length - 1)).toBe(mergePlainly(ranks, text));
      }
    }),
    { numRuns: 300 },
  );
});

test("where a token has one pair only, no other becomes it", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(token, fc.nat()), { selector: ([text]) => text, maxLength: 60 }),
      fc.array(piece, { minLength: 1, maxLength: 8 }),
      (longer, pieces) => {
        const lefts = longer.map(([text, at]) => 1 + (at % (text.length - 1)));
        const all = ["a", "b", "c", ...longer.map(([text]) => text)];
        const packed = packVocabulary(
          all.map((text) => Buffer.from(text)),
          new Uint8Array(),
          Uint8Array.from([0, 0, 0, ...lefts]),
        );
        const merge = createMerger(buildVocabulary(packed, o200kPieceEnd));
        const pairs = longer.map(
          ([text], i) => [`${text.slice(0, lefts[i])}|${text.slice(lefts[i])}`, i] as const,
        );
        for (const text of pieces) {
          const bytes = Buffer.from(text);
          expect(merge(bytes, 0, bytes.length)).toBe(mergePairsPlainly(new Map(pairs), text));
        }
      },
    ),
    { numRuns: 300 },
  );
});
