import { describe, expect, test } from "bun:test";
import { textCounter } from "../../src/tokens/bpe.ts";
import { loadTokenizerJson } from "../../src/tokens/tokenizer-json.ts";
import { fixtureTexts } from "./fixture-texts.ts";
import { tokenizerFiles } from "./tokenizer-files.ts";
import recorded from "./counts.json";

/** The texts that are counted otherwise than `expected` says; the first few, with both counts. */
function wrong(
  count: (text: string) => number,
  expected: readonly number[],
  but: (text: string) => boolean = () => false,
): unknown[] {
  return fixtureTexts
    .map((text, i) => ({ i, text, counted: count(text), expected: expected[i] }))
    .filter((each) => each.counted !== each.expected && !but(each.text))
    .slice(0, 3);
}

/**
 * What may be counted otherwise: words over 512 letters, on which an unknown pattern is not run as a whole; a
 * letter that has had a compatible form since Unicode 15, and marks among random code points, of which the
 * reference does not know yet.
 */
const exceptions: Record<string, (text: string) => boolean> = {
  "gpt2, prefix, NFKC": (text) => text.includes("\u{1e030}"),
  "merged with next": (text) => text.includes("\u{1e030}"),
  "no accents": (text) => /[\p{Cn}\p{Co}]/u.test(text),
  "an unknown pattern": (text) => text.length > 512,
  "merged with previous, inverted": (text) => text.length > 512,
};

test("there are more than 300 texts", () => {
  expect(fixtureTexts.length).toBeGreaterThan(300);
  for (const counts of [...Object.values(recorded.vocabularies), ...Object.values(recorded.files)])
    expect(counts).toHaveLength(fixtureTexts.length);
});

describe("the vocabularies that Cooldown carries count as their reference does", () => {
  test.each(["llama3", "qwen3", "deepseek"] as const)("%s", (name) => {
    expect(wrong(textCounter(name), recorded.vocabularies[name])).toEqual([]);
  });
});

describe("a tokenizer.json counts as its reference does", () => {
  const counts: Record<string, readonly number[]> = recorded.files;
  test.each(Object.entries(tokenizerFiles))("%s", (name, file) => {
    const { count } = loadTokenizerJson(Buffer.from(JSON.stringify(file)));
    expect(wrong(count, counts[name] ?? [], exceptions[name])).toEqual([]);
  });
});
