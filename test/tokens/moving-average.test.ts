import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  discount,
  emptyAverage,
  observe,
  packAverage,
  unpackAverage,
} from "../../src/tokens/moving-average.ts";

const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), {
  minLength: 1,
  maxLength: 40,
});

test("with a long memory it is the plain mean and variance", () => {
  fc.assert(
    fc.property(values, (seen) => {
      const average = emptyAverage();
      for (const value of seen) observe(average, value, 1e12);
      const mean = seen.reduce((a, b) => a + b) / seen.length;
      const variance = seen.reduce((a, b) => a + (b - mean) ** 2, 0) / seen.length;
      expect(average.count).toBe(seen.length);
      expect(Math.abs(average.mean - mean)).toBeLessThan(1e-3);
      expect(Math.abs(average.variance - variance)).toBeLessThan(1e-3 * (1 + variance));
    }),
  );
});

test("the past fades, and counts for little once discounted", () => {
  const average = emptyAverage();
  for (let i = 0; i < 1000; i++) observe(average, 100, 50);
  expect(average.weight).toBeCloseTo(50);
  discount(average, 1);
  observe(average, 200, 50);
  expect(average.mean).toBeGreaterThan(149);
});

test("is stored, and nonsense is not restored", () => {
  fc.assert(
    fc.property(values, (seen) => {
      const average = emptyAverage();
      for (const value of seen) observe(average, value, 10);
      const again = unpackAverage(JSON.parse(JSON.stringify(packAverage(average))));
      expect(again!.mean / (average.mean || 1)).toBeCloseTo(average.mean === 0 ? 0 : 1, 4);
    }),
  );
  expect(unpackAverage(packAverage(emptyAverage()))).toEqual(emptyAverage());
  for (const bad of [
    null,
    [],
    [1, 1, 1],
    [1, 1, "1", 1],
    [-1, 1, 1, 1],
    [1, 0, 1, 1],
    [0, 1, 1, 1],
    [1, 1, 1, null],
  ])
    expect(unpackAverage(bad)).toBeNull();
});
