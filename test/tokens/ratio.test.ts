import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createRatios } from "../../src/tokens/ratio.ts";

const learnMany = (
  ratios: ReturnType<typeof createRatios>,
  times: number,
  estimated: number,
  actual: number,
): void => {
  for (let i = 0; i < times; i++) ratios.learn("k", estimated, actual);
};

describe("ratios", () => {
  test("start at 1 and converge to what the provider counts", () => {
    const ratios = createRatios();
    expect(ratios.ratioOf("k")).toBe(1);
    learnMany(ratios, 1, 1000, 1300);
    expect(ratios.ratioOf("k")).toBeCloseTo(1.3);
    learnMany(ratios, 60, 1000, 900);
    expect(ratios.ratioOf("k")).toBeCloseTo(0.9, 1);
    expect(ratios.ratioOf("another")).toBe(1);
  });

  test("one wrong value does not matter much", () => {
    const ratios = createRatios();
    learnMany(ratios, 20, 1000, 1100);
    ratios.learn("k", 1000, 900_000);
    expect(ratios.ratioOf("k")).toBeLessThan(1.2);
    ratios.learn("k", 1000, 1);
    expect(ratios.ratioOf("k")).toBeGreaterThan(1.05);
  });

  test("short prompts count less than long ones", () => {
    const ratios = createRatios();
    learnMany(ratios, 5, 1000, 1000);
    ratios.learn("k", 8, 16);
    expect(ratios.ratioOf("k")).toBeLessThan(1.02);
  });

  test("nonsense is not learned, and the ratio stays in bounds", () => {
    const ratios = createRatios();
    for (const bad of [0, -1, NaN, Infinity]) {
      ratios.learn("k", bad, 10);
      ratios.learn("k", 10, bad);
    }
    expect(ratios.toJSON()).toEqual([]);
    const amount = fc.double({ min: 1e-3, max: 1e9, noNaN: true });
    fc.assert(
      fc.property(fc.array(fc.tuple(amount, amount)), (pairs) => {
        for (const [estimated, actual] of pairs) ratios.learn("k", estimated, actual);
        expect(ratios.ratioOf("k")).toBeGreaterThanOrEqual(0.25);
        expect(ratios.ratioOf("k")).toBeLessThanOrEqual(4);
      }),
    );
  });

  test("survive being stored", () => {
    const ratios = createRatios();
    learnMany(ratios, 20, 1000, 1250);
    const restored = createRatios();
    restored.restore(JSON.parse(JSON.stringify(ratios)));
    expect(restored.ratioOf("k")).toBeCloseTo(1.25);
    restored.learn("k", 1000, 100_000); // still robust
    expect(restored.ratioOf("k")).toBeLessThan(1.4);
  });

  test.each([null, "x", {}, [null], [["k"]], [["k", "1", 1]], [["k", -1, 1]], [[1, 1, 1]]])(
    "restore ignores %j",
    (stored) => {
      const ratios = createRatios();
      ratios.restore(stored);
      expect(ratios.toJSON()).toEqual([]);
    },
  );

  test("remember a bounded number of keys", () => {
    const ratios = createRatios();
    for (let i = 0; i < 1500; i++) ratios.learn(`k${i}`, 100, 200);
    expect(ratios.toJSON()).toHaveLength(1000);
    expect(ratios.ratioOf("k0")).toBe(1);
    expect(ratios.ratioOf("k1499")).toBeCloseTo(2);
  });
});
