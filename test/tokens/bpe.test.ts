import { describe, expect, test } from "bun:test";
import { get_encoding } from "@dqbd/tiktoken";
import { textCounter } from "../../src/tokens/bpe.ts";
import { adversarialTexts, longWords, randomTexts } from "./texts.ts";

describe.each(["o200k", "cl100k"] as const)("%s", (name) => {
  const count = textCounter(name);

  test("equals the oracle on 10,000 random and adversarial strings", () => {
    const oracle = get_encoding(`${name}_base`);
    const wrong: unknown[] = [];
    let texts = 0;
    for (const text of [
      ...adversarialTexts(),
      ...longWords(400, 11),
      ...randomTexts(10_000, 20_260_101),
    ]) {
      texts++;
      const expected = oracle.encode_ordinary(text).length;
      const counted = count(text);
      if (counted !== expected && wrong.length < 5) wrong.push({ text, counted, expected });
    }
    oracle.free();
    expect(wrong).toEqual([]);
    expect(texts).toBeGreaterThan(10_000);
  }, 30_000);

  test("counts the names of special tokens as ordinary text", () => {
    expect(count("<|endoftext|>")).toBeGreaterThan(1);
  });
});
