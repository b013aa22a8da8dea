import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createRatios, densityOf } from "../../src/tokens/ratio.ts";
import { Series } from "./series.ts";

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

  test.each([
    null,
    "x",
    {},
    [null],
    [["k"]],
    [["k", "1"]],
    [["k", [[1, 1, -1, 0], []]]],
    [["k", [[1, 1, 1, 0], 1]]],
    [[1, [[1, 1, 1, 0], []]]],
  ])("restore ignores %j", (stored) => {
    const ratios = createRatios();
    ratios.restore(stored);
    expect(ratios.toJSON()).toEqual([]);
  });

  test("remember a bounded number of keys", () => {
    const ratios = createRatios();
    for (let i = 0; i < 1500; i++) ratios.learn(`k${i}`, 100, 200);
    expect(ratios.toJSON()).toHaveLength(1000);
    expect(ratios.ratioOf("k0")).toBe(1);
    expect(ratios.ratioOf("k1499")).toBeCloseTo(2);
  });
});

test("densityOf counts the characters of all text", () => {
  const prompt = {
    model: "m",
    messages: [{ role: "user", name: null, text: ["abcd", "ef"], images: [] }],
    texts: ["gh"],
    tokenIds: 0,
    tools: ["ijklmnop"],
  };
  expect(densityOf(prompt, 4)).toBe(4);
  expect(densityOf({ ...prompt, messages: [], texts: [], tools: [] }, 0)).toBe(0);
});

/** What a new tokenizer takes more of, by kind of text, and how many characters a token of ours has there. */
const kinds = [
  { ratio: 1.13, density: 4.5 },
  { ratio: 1.45, density: 3.3 },
  { ratio: 1.3, density: 2.6 },
  { ratio: 1.2, density: 1.5 },
];

/** |error| of the estimates that follow 200 answers, at the median over many routes. */
function medianError(told: boolean, shares: (series: Series) => readonly number[]): number {
  const errors: number[] = [];
  for (let seed = 0; seed < 50; seed++) {
    const series = new Series(seed);
    const ratios = createRatios();
    for (let answer = 0; answer < 250; answer++) {
      const weights = shares(series);
      const sum = weights.reduce((a, b) => a + b);
      const mixed = (of: "ratio" | "density"): number =>
        kinds.reduce((total, kind, index) => total + (kind[of] * weights[index]!) / sum, 0);
      const estimated = series.lognormal(400, 1);
      const actual = estimated * mixed("ratio") * Math.exp(0.03 * series.normal()) + 4;
      const density = told ? mixed("density") * Math.exp(0.08 * series.normal()) : undefined;
      if (answer >= 200)
        errors.push(Math.abs((ratios.ratioOf("k", density) * estimated) / actual - 1));
      ratios.learn("k", estimated, actual, density);
    }
  }
  errors.sort((a, b) => a - b);
  return errors[Math.floor(errors.length / 2)]!;
}

describe("after 200 answers, the error at the median is within 5 %", () => {
  const inTurn = (series: Series): number[] => {
    const picked = Math.floor(series.uniform() * kinds.length);
    return kinds.map((_, index) => (index === picked ? 1 : 0));
  };

  test("where prompts are of one kind each, knowing how dense they are", () => {
    expect(medianError(true, inTurn)).toBeLessThan(0.035);
    // One ratio for all of them cannot be: this is what density is for.
    expect(medianError(false, inTurn)).toBeGreaterThan(0.05);
  });

  test("where each prompt mixes kinds, with and without", () => {
    const mixed = (series: Series): number[] => kinds.map(() => series.uniform() ** 2);
    expect(medianError(true, mixed)).toBeLessThan(0.05);
    expect(medianError(false, mixed)).toBeLessThan(0.05);
  });
});
