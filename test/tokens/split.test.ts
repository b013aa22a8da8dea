import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { textCounter } from "../../src/tokens/bpe.ts";
import { loadVocabulary } from "../../src/tokens/load.ts";
import { sampleTokens, split } from "../../src/tokens/split.ts";
import { tokenizerNamed } from "../../src/tokens/tokenizer.ts";
import { randomTexts } from "./texts.ts";

const sum = (parts: Iterable<string>, count: (text: string) => number): number => {
  let tokens = 0;
  for (const part of parts) tokens += count(part);
  return tokens;
};

describe.each(["o200k", "cl100k", "llama3", "qwen3", "deepseek"] as const)("%s", (name) => {
  const { count, classes } = tokenizerNamed(name);

  test("counts of parts add up exactly where there are safe places to cut", () => {
    for (const text of randomTexts(3000, 4711)) {
      // A space after a word every few characters: each part of 200 has a safe place.
      const safe = text.replaceAll(/.{30}/gu, "$&word ");
      expect(sum(split(safe, classes, 200), count)).toBe(count(safe));
    }
  });

  test("is a token or two off for each cut where there is none", () => {
    const text = "a".repeat(10_000);
    const parts = [...split(text, classes, 1000)];
    expect(parts).toHaveLength(10);
    expect(Math.abs(sum(parts, count) - count(text))).toBeLessThanOrEqual(20);
  });
});

test("parts are the text, none is longer than asked for, no character is cut", () => {
  const { classes } = loadVocabulary("o200k");
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", maxLength: 300 }),
      fc.integer({ min: 2, max: 50 }),
      (text, length) => {
        const parts = [...split(text, classes, length)];
        expect(parts.join("")).toBe(text);
        for (const part of parts) {
          expect(part.length).toBeLessThanOrEqual(length);
          expect(part.isWellFormed()).toBe(true);
        }
      },
    ),
  );
});

test("an empty text is one empty part", () => {
  expect([...split("", loadVocabulary("o200k").classes)]).toEqual([""]);
});

test("sampling is exact for short texts and a few percent off for long ones", () => {
  const count = textCounter("o200k");
  const line = (_: unknown, i: number): string =>
    `${i}: the ${(i * 7919).toString(36)} requests waited ${i * 3} ms\n`;
  const text = Array.from({ length: 2000 }, line).join("");
  expect(sampleTokens(text.slice(0, 2048), count)).toBe(count(text.slice(0, 2048)));
  expect(Math.abs(sampleTokens(text, count) / count(text) - 1)).toBeLessThan(0.03);
});
