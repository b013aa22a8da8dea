import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createOutputPredictor, firstGuess } from "../../src/tokens/output.ts";

const predictorOf = (
  outputs: readonly number[],
  cap: number | null = null,
): ReturnType<typeof createOutputPredictor> => {
  const predictor = createOutputPredictor();
  for (const output of outputs) predictor.learn("k", { cap, output, durationMs: output * 10 });
  return predictor;
};

/** Lognormal answers, 300 tokens in the median, always the same. */
function* lognormal(count: number, seed: number): Generator<number> {
  const next = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return (seed + 1) / 4_294_967_297;
  };
  for (let i = 0; i < count; i++) {
    const normal = Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
    yield Math.max(1, Math.round(300 * Math.exp(0.8 * normal)));
  }
}

describe("reserve", () => {
  test("is the first guess while nothing is known, but never over the ceiling", () => {
    const predictor = createOutputPredictor();
    expect(predictor.reserve("k", 0, 100_000)).toBe(firstGuess);
    expect(predictor.reserve("k", 5, 300)).toBe(300);
  });

  test("is the mean, and a margin that more in flight share", () => {
    const predictor = predictorOf([...lognormal(500, 1)]);
    const alone = predictor.reserve("k", 0, 1e9);
    const among = predictor.reserve("k", 99, 1e9);
    const mean = predictor.expected("k", null) ?? 0;
    expect(alone).toBeGreaterThan(mean * 1.5);
    expect(among).toBeLessThan(mean * 1.2);
    expect(among).toBeGreaterThanOrEqual(mean);
  });

  test("together covers what answers really take about 19 times in 20, at less than half as much again", () => {
    const predictor = predictorOf([...lognormal(200, 7)]);
    const outputs = [...lognormal(4000, 99)];
    let covered = 0;
    let reserved = 0;
    for (let i = 0; i < outputs.length; i += 20) {
      const group = outputs.slice(i, i + 20);
      const room = group.reduce(
        (sum, _, inFlight) => sum + predictor.reserve("k", inFlight, 1e9),
        0,
      );
      if (room >= group.reduce((sum, output) => sum + output, 0)) covered++;
      reserved += room;
      for (const output of group) predictor.learn("k", { cap: null, output, durationMs: 1 });
    }
    expect(covered / (outputs.length / 20)).toBeGreaterThan(0.88);
    expect(reserved / outputs.reduce((sum, output) => sum + output, 0)).toBeLessThan(1.5);
  });

  test("follows a drift", () => {
    const predictor = predictorOf([
      ...Array<number>(200).fill(100),
      ...Array<number>(100).fill(500),
    ]);
    expect(predictor.reserve("k", 50, 1e9)).toBeGreaterThan(450);
  });

  test("is always a whole number from 1 to the ceiling", () => {
    const outputs = fc.array(fc.integer({ min: 0, max: 1_000_000 }), { maxLength: 50 });
    fc.assert(
      fc.property(
        outputs,
        fc.nat({ max: 10_000 }),
        fc.integer({ min: 1, max: 1_000_000 }),
        (seen, inFlight, ceiling) => {
          const reserved = predictorOf(seen).reserve("k", inFlight, ceiling);
          expect(Number.isInteger(reserved)).toBe(true);
          expect(reserved).toBeGreaterThanOrEqual(1);
          expect(reserved).toBeLessThanOrEqual(ceiling);
        },
      ),
    );
  });
});

describe("expected", () => {
  test("is the cap while nothing is known", () => {
    expect(createOutputPredictor().expected("k", 500)).toBe(500);
    expect(createOutputPredictor().expected("k", null)).toBeNull();
  });

  test("is the mean where answers do not depend on the cap", () => {
    const predictor = createOutputPredictor();
    for (let i = 0; i < 40; i++)
      predictor.learn("k", { cap: 500 + (i % 7) * 1000, output: 200, durationMs: 1 });
    expect(predictor.expected("k", 4000)).toBe(200);
    expect(predictor.expected("k", 50)).toBe(50);
  });

  test("is a share of the cap where they do", () => {
    const predictor = createOutputPredictor();
    for (let i = 0; i < 40; i++) {
      const cap = 400 + (i % 7) * 1000;
      predictor.learn("k", { cap, output: cap / 4, durationMs: 1 });
    }
    expect(predictor.expected("k", 2000)).toBe(500);
  });

  test("is the mean of requests without a cap where no other was seen", () => {
    expect(predictorOf([100, 100]).expected("k", 1000)).toBe(100);
  });
});

test("an answer cut off by its cap does not lower the mean", () => {
  const predictor = predictorOf([1000, 1000]);
  predictor.learn("k", { cap: 10, output: 10, durationMs: 1 });
  expect(predictor.expected("k", null)).toBe(1000);
});

test("duration is the mean of what was seen", () => {
  expect(createOutputPredictor().duration("k")).toBeNull();
  expect(predictorOf([100, 100, 100]).duration("k")).toBeCloseTo(1000);
});

test("nonsense is not learned", () => {
  const predictor = createOutputPredictor();
  for (const bad of [-1, NaN, Infinity]) {
    predictor.learn("k", { cap: null, output: bad, durationMs: 1 });
    predictor.learn("k", { cap: null, output: 1, durationMs: bad });
  }
  expect(predictor.expected("k", null)).toBeNull();
});

test("remembers a bounded number of keys", () => {
  const predictor = createOutputPredictor();
  for (let i = 0; i < 1500; i++) predictor.learn(`k${i}`, { cap: null, output: 7, durationMs: 1 });
  expect(predictor.duration("k0")).toBeNull();
  expect(predictor.duration("k1499")).toBe(1);
});
