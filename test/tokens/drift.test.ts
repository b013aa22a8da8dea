import { describe, expect, test } from "bun:test";
import { type Level, newLevel, observeLevel } from "../../src/tokens/drift.ts";
import { Series } from "./series.ts";

const threshold = 4;
const routes: readonly (readonly [name: string, draw: (series: Series) => number])[] = [
  ["narrow", (series) => series.lognormal(250, 0.5)],
  ["a chat", (series) => series.lognormal(300, 0.8)],
  ["heavy-tailed", (series) => series.lognormal(200, 1.2)],
  ["5 % long", (series) => series.bimodal(0.05)],
];

const settled = (series: Series, draw: (series: Series) => number): Level => {
  const level = newLevel();
  for (let i = 0; i < 500; i++) observeLevel(level, draw(series), threshold);
  return level;
};

describe.each(routes)("%s", (_, draw) => {
  test("is called changed at most once in 4,000 while it stays the same", () => {
    const series = new Series(1);
    const level = settled(series, draw);
    let changes = 0;
    for (let i = 0; i < 40_000; i++) if (observeLevel(level, draw(series), threshold)) changes++;
    expect(changes).toBeLessThanOrEqual(10);
  });

  test.each([5, 0.2])("is told to have become %d times as long within 40 answers", (factor) => {
    for (let seed = 0; seed < 30; seed++) {
      const series = new Series(seed);
      const level = settled(series, draw);
      let after = 1;
      while (after <= 40 && !observeLevel(level, factor * draw(series), threshold)) after++;
      expect(after).toBeLessThanOrEqual(40);
    }
  });
});

test("one huge value is no change, and neither are small ones to a series that never varied", () => {
  const level = newLevel();
  for (let i = 0; i < 100; i++) expect(observeLevel(level, 300, threshold)).toBe(false);
  expect(observeLevel(level, 320, threshold)).toBe(false);
  const other = settled(new Series(3), (series) => series.lognormal(300, 0.8));
  expect(observeLevel(other, 1_000_000, threshold)).toBe(false);
});

test("after a change, the new level is what counts", () => {
  const level = newLevel();
  for (let i = 0; i < 200; i++) observeLevel(level, 100, threshold);
  let changes = 0;
  for (let i = 0; i < 400; i++) if (observeLevel(level, 1000, threshold)) changes++;
  expect(changes).toBeGreaterThanOrEqual(1);
  expect(changes).toBeLessThanOrEqual(8);
  expect(Math.exp(level.slow.mean)).toBeGreaterThan(900);
});
