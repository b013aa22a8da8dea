import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FadingHistogram } from "../../src/tokens/quantile.ts";
import { Series } from "./series.ts";

const histogramOf = (values: Iterable<number>, memory = 1e9): FadingHistogram => {
  const histogram = new FadingHistogram(memory);
  for (const value of values) histogram.add(value);
  return histogram;
};

describe("quantile", () => {
  test("is 0 of nothing", () => {
    expect(new FadingHistogram(10).quantile(0.9)).toBe(0);
  });

  test("is at least the true one, and at most a tenth more", () => {
    const values = fc.array(fc.integer({ min: 1, max: 1_000_000 }), {
      minLength: 1,
      maxLength: 200,
    });
    fc.assert(
      fc.property(values, fc.double({ min: 0.01, max: 0.999, noNaN: true }), (seen, p) => {
        const sorted = [...seen].sort((a, b) => a - b);
        // Either side of a step is right: rounding decides.
        const at = (rank: number): number =>
          sorted[Math.max(0, Math.min(seen.length - 1, Math.floor(rank)))]!;
        const quantile = histogramOf(seen).quantile(p);
        expect(quantile).toBeGreaterThanOrEqual(at(seen.length * p - 1e-3) * 0.999);
        expect(quantile).toBeLessThanOrEqual(at(seen.length * p + 1e-3) * 1.1);
      }),
    );
  });

  test("of all is the largest, and values out of range count as the nearest", () => {
    expect(histogramOf([3, 700, 20]).quantile(1 - 1e-9)).toBeGreaterThanOrEqual(700);
    expect(histogramOf([1e12]).quantile(0.5)).toBeCloseTo(2 ** 20);
    expect(histogramOf([0, -5]).quantile(0.5)).toBeLessThan(1.1);
  });
});

describe("the past fades", () => {
  test("as fast as memory says", () => {
    const histogram = histogramOf(Array<number>(10_000).fill(100), 50);
    expect(histogram.weight).toBeCloseTo(50);
    for (let i = 0; i < 35; i++) histogram.add(10_000); // ln 2 of a memory: half of it
    expect(histogram.quantile(0.45)).toBeLessThan(110);
    expect(histogram.quantile(0.55)).toBeGreaterThan(10_000);
  });

  test("over a million values without losing its footing", () => {
    const histogram = new FadingHistogram(10);
    for (let i = 0; i < 1_000_000; i++) histogram.add(100 + (i % 2) * 900);
    expect(histogram.weight).toBeCloseTo(10, 3);
    expect(histogram.quantile(0.3)).toBeLessThan(110);
    expect(histogram.quantile(0.9)).toBeGreaterThan(999);
  });

  test("at once when told to", () => {
    const histogram = histogramOf(Array<number>(100).fill(5), 1000);
    const { weight } = histogram;
    histogram.fade(0.25);
    expect(histogram.weight).toBeCloseTo(weight / 4, 3);
    histogram.fade(0);
    expect(histogram.quantile(0.5)).toBe(0);
  });
});

test("absorbs another, whatever their units have grown to", () => {
  const one = histogramOf(Array<number>(3000).fill(10), 100);
  const other = histogramOf(Array<number>(7).fill(5000), 100);
  one.absorb(other);
  expect(one.weight).toBeCloseTo(100 + other.weight, 2);
  expect(one.quantile(0.9)).toBeLessThan(11);
  expect(one.quantile(0.95)).toBeGreaterThan(5000);
});

describe("stored", () => {
  test("and restored it says the same and goes on", () => {
    const series = new Series(1);
    const histogram = histogramOf(
      Array.from({ length: 5000 }, () => series.lognormal(300, 1)),
      500,
    );
    const again = FadingHistogram.restore(JSON.parse(JSON.stringify(histogram)), 500);
    for (const p of [0.1, 0.5, 0.9, 0.99]) expect(again.quantile(p)).toBe(histogram.quantile(p));
    expect(again.weight).toBeCloseTo(histogram.weight, 0);
    again.add(1);
    expect(again.weight).toBeLessThanOrEqual(500.1);
  });

  test("as nonsense it is empty or harmless", () => {
    for (const stored of [
      null,
      "x",
      {},
      [[1]],
      [1],
      [-1, 5],
      [1e9, 5],
      [1.5, 5],
      [3, -1],
      [3, NaN],
    ])
      expect(FadingHistogram.restore(stored, 10).weight).toBe(0);
    fc.assert(
      fc.property(fc.jsonValue(), (stored) => {
        const { weight } = FadingHistogram.restore(stored, 10);
        expect(weight).toBeGreaterThanOrEqual(0);
        expect(weight).toBeLessThanOrEqual(10.001);
      }),
    );
    expect(FadingHistogram.restore([1, 9, 2, 9, 3, 9], 10).weight).toBeCloseTo(10);
  });
});
