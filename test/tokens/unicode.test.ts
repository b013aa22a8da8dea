import { expect, test } from "bun:test";
import { loadVocabulary } from "../../src/tokens/load.ts";
import {
  characterClass,
  codePoints,
  packClasses,
  unpackClasses,
} from "../../src/tokens/unicode.ts";

const { other, upper, lower, letter, mark, number, space, newline } = characterClass;

test.each([
  ["A", upper],
  ["ǅ", upper],
  ["ſ", lower],
  ["中", letter],
  ["ʰ", letter],
  ["\u0301", mark],
  ["½", number],
  ["\u0085", space],
  ["\u3000", space],
  ["\r", newline],
  ["\ufeff", other],
  ["😀", other],
  ["\u{10ffff}", other],
])("%j is of its class in both vocabularies", (character, kind) => {
  const codePoint = character.codePointAt(0) ?? 0;
  expect(loadVocabulary("o200k").classes[codePoint]).toBe(kind);
  expect(loadVocabulary("cl100k").classes[codePoint]).toBe(kind);
});

test("packing loses nothing", () => {
  const { classes } = loadVocabulary("o200k");
  const packed = packClasses(classes);
  expect(classes).toHaveLength(codePoints);
  expect(packed.length).toBeLessThan(10_000);
  expect(Bun.hash(unpackClasses(packed))).toBe(Bun.hash(classes));
});
