import { describe, expect, test } from "bun:test";
import { textCounter } from "../../src/tokens/bpe.ts";
import { loadTokenizerJson } from "../../src/tokens/tokenizer-json.ts";
import { samples } from "./samples.ts";
import { worstUnits } from "./texts.ts";
import { tokenizerFiles } from "./tokenizer-files.ts";

function millisecondsOf(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

const sentences = samples
  .filter(([kind]) => kind === "prose" || kind === "markdown")
  .map(([, text]) => text)
  .join("\n")
  .repeat(80)
  .split(" ");

/** 100 KB of prose, some words of which are new each time: there is no text whose pieces are all in the cache. */
function prose(salt: number): string {
  return sentences
    .map((word, i) => (i % 7 === 0 ? `${word}${((i + salt) * 7919).toString(36)}` : word))
    .join(" ")
    .slice(0, 100_000);
}

const texts = Array.from({ length: 30 }, (_, i) => prose(i * 101));
let next = 0;
/** A text that was not counted for a while: what was cached of it has made place for others. */
const nextProse = (): string => texts[next++ % texts.length] ?? "";

/** Lets the runtime compile what is needed for prose and for long words. */
function warmUp(count: (text: string) => number): void {
  for (let i = 0; i < 5; i++) count("ab".repeat(20_000) + nextProse());
}

/**
 * How many times as long as prose 100 KB of `unit` take. What is over ten is measured again, a few times, for the
 * machine may be busy; what is not linear is over a hundred at any time.
 */
function worstRatio(count: (text: string) => number, unit: string): number {
  const text = unit.repeat(Math.floor(100_000 / Buffer.byteLength(unit)));
  let ratio = Infinity;
  for (let i = 0; i < 8 && ratio > 10; i++) {
    const usual = millisecondsOf(() => count(nextProse()));
    ratio = Math.min(ratio, millisecondsOf(() => count(text)) / usual);
  }
  return ratio;
}

const units = [...worstUnits, "\u0301\u0316", "\u0323\u0301\u0345", "ᄀ", "각ᆨ", "＝ﾞ", "\u0e48"];

describe.each(["o200k", "cl100k", "llama3", "qwen3", "deepseek"] as const)("%s", (name) => {
  const count = textCounter(name);
  warmUp(count);

  // The textbook merge takes seconds for the first of these.
  test.each(units.map((unit) => [JSON.stringify(unit), unit] as const))(
    "100 KB of %s take at most ten times as long as prose",
    (_, unit) => {
      const text = unit.repeat(Math.floor(100_000 / Buffer.byteLength(unit)));
      expect(worstRatio(count, unit)).toBeLessThan(10);
      const tokens = count(text);
      expect(tokens).toBeGreaterThan(0);
      expect(tokens).toBeLessThanOrEqual(Buffer.byteLength(text) * 2);
    },
  );
});

describe("of a tokenizer.json", () => {
  test.each([
    "gpt2, prefix, NFKC",
    "qwen",
    "deepseek",
    "an unknown pattern",
    "no accents",
    "mistral 1",
    "metaspace, first",
  ] as const)("%s", (name) => {
    const { count } = loadTokenizerJson(Buffer.from(JSON.stringify(tokenizerFiles[name])));
    warmUp(count);
    const ratios = units.map((unit) => ({ unit, ratio: worstRatio(count, unit) }));
    expect(ratios.filter(({ ratio }) => ratio > 10)).toEqual([]);
  });
});
