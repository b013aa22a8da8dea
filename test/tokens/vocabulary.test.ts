import { describe, expect, test } from "bun:test";
import { loadVocabulary } from "../../src/tokens/load.ts";
import {
  buildVocabulary,
  hashFactor,
  noRank,
  packVocabulary,
  rankOf,
} from "../../src/tokens/vocabulary.ts";
import { o200kPieceEnd } from "../../src/tokens/pieces.ts";

const hashOf = (bytes: Uint8Array): number => {
  let hash = 0;
  for (const byte of bytes) hash = (Math.imul(hash, hashFactor) + byte + 1) | 0;
  return hash;
};

describe.each([
  ["o200k", 199_998],
  ["cl100k", 100_256],
] as const)("%s", (name, size) => {
  const vocabulary = loadVocabulary(name);
  const { arena, offsets } = vocabulary;

  test("finds each token under its rank", () => {
    expect(offsets).toHaveLength(size + 1);
    let wrong = 0;
    for (let rank = 0; rank < size; rank++) {
      const token = arena.subarray(offsets[rank], offsets[rank + 1]);
      if (rankOf(vocabulary, token, 0, token.length, hashOf(token)) !== rank) wrong++;
    }
    expect(wrong).toBe(0);
  });

  test("is loaded once", () => {
    expect(loadVocabulary(name)).toBe(vocabulary);
  });

  test("tells bytes of one hash apart", () => {
    const token = Buffer.from("hello");
    const impostor = Buffer.from("hellp");
    expect(rankOf(vocabulary, impostor, 0, 5, hashOf(token))).toBe(noRank);
    expect(rankOf(vocabulary, token, 0, 4, hashOf(token))).toBe(noRank);
  });

  test("has no token longer than the longest", () => {
    const long = new Uint8Array(vocabulary.longest + 1);
    expect(rankOf(vocabulary, long, 0, long.length, hashOf(long))).toBe(noRank);
  });
});

test("a packed vocabulary has what was put in", () => {
  const vocabulary = buildVocabulary(
    packVocabulary([Buffer.from("a"), Buffer.from("ab")], new Uint8Array()),
    o200kPieceEnd,
  );
  expect(vocabulary.longest).toBe(2);
  expect(vocabulary.pairRanks[0x6162]).toBe(1);
  expect(vocabulary.pairRanks[0x6163]).toBe(noRank);
});

test.each([[new Uint8Array()], [new Uint8Array(256)]])(
  "refuses a token whose length does not fit a byte",
  (token) => {
    expect(() => packVocabulary([token], new Uint8Array())).toThrow(RangeError);
  },
);
