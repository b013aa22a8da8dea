import { expect, test } from "bun:test";
import { textCounter } from "../../src/tokens/bpe.ts";
import { claudeTokens } from "../../src/tokens/claude.ts";
import { createRatios } from "../../src/tokens/ratio.ts";
import recorded from "./counts.json";
import { samples } from "./samples.ts";

const o200k = textCounter("o200k");

/** Later models count what Claude 2's published vocabulary counts, times about this. */
const truthRatio = 1.1;

/** What people send: mostly English, some code, JSON and other languages. The same at every run. */
function* conversations(count: number): Generator<{ estimate: number; truth: number }> {
  const usual = samples.flatMap(([kind], i) =>
    ["prose", "markdown", "typescript", "python", "c", "rust", "json", "yaml", "log"].includes(kind)
      ? [i]
      : [],
  );
  const foreign = samples.flatMap(([kind], i) =>
    ["chinese", "japanese", "german", "french", "russian"].includes(kind) ? [i] : [],
  );
  for (let n = 0; n < count; n++) {
    const from = n % 10 === 9 ? foreign : usual;
    const parts = Array.from(
      { length: 3 + (n % 9) },
      (_, i) => from[(n * 7 + i * i + i) % from.length] ?? 0,
    );
    yield {
      estimate: parts.reduce((sum, i) => sum + claudeTokens(samples[i]?.[1] ?? "", o200k), 0),
      truth: parts.reduce(
        (sum, i) => sum + truthRatio * (recorded.vocabularies.claude2[i] ?? 0),
        0,
      ),
    };
  }
}

test("with what is learned from 200 answers, estimates are within 5 % at the median", () => {
  const ratios = createRatios();
  const errors: number[] = [];
  for (const { estimate, truth } of conversations(400)) {
    errors.push(Math.abs((estimate * ratios.ratioOf("k")) / truth - 1));
    ratios.learn("k", estimate, truth);
  }
  const after = errors.slice(200).sort((a, b) => a - b);
  expect(after[after.length >> 1]).toBeLessThan(0.05);
  expect(after[Math.floor(after.length * 0.95)]).toBeLessThan(0.2);
});

test.each([
  ["", 0],
  ["Hello", 2],
])("%j has %i tokens", (text, tokens) => {
  expect(claudeTokens(text, o200k)).toBe(tokens);
});

test("long texts are looked at in places only, and come out the same", () => {
  const line = "for (const [key, value] of map) total += value * 2; // and so on\n";
  const ratio = (text: string): number => claudeTokens(text, o200k) / o200k(text);
  expect(ratio(line.repeat(500))).toBeCloseTo(ratio(line.repeat(60)), 1);
});
