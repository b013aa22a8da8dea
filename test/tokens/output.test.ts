import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createOutputPredictor, firstGuess } from "../../src/tokens/output.ts";
import { Series } from "./series.ts";

const predictorOf = (
  outputs: readonly number[],
  cap: number | null = null,
): ReturnType<typeof createOutputPredictor> => {
  const predictor = createOutputPredictor();
  for (const output of outputs) predictor.learn("k", { cap, output, durationMs: output * 10 });
  return predictor;
};

/** Lognormal answers, 300 tokens in the median, always the same. */
function lognormal(count: number, seed: number): number[] {
  const series = new Series(seed);
  return Array.from({ length: count }, () => series.lognormal(300, 0.8));
}

/** Twenty at once, again and again: how often what they hold covers what they take, and how much they hold for it. */
function batches(
  predictor: ReturnType<typeof createOutputPredictor>,
  outputs: readonly number[],
): { covered: number; times: number } {
  const size = 20;
  let covered = 0;
  let reserved = 0;
  for (let i = 0; i < outputs.length; i += size) {
    const group = outputs.slice(i, i + size);
    let room = 0;
    for (let inFlight = 0; inFlight < size; inFlight++)
      room += predictor.reserve("k", inFlight, 1e9);
    if (room >= group.reduce((sum, output) => sum + output, 0)) covered++;
    reserved += room;
    for (const output of group) predictor.learn("k", { cap: null, output, durationMs: 1 });
  }
  return {
    covered: covered / (outputs.length / size),
    times: reserved / outputs.reduce((sum, output) => sum + output, 0),
  };
}

describe("reserve", () => {
  test("is the first guess while nothing is known, but never over the ceiling", () => {
    const predictor = createOutputPredictor();
    expect(predictor.reserve("k", 0, 100_000)).toBe(firstGuess);
    expect(predictor.reserve("k", 5, 300)).toBe(300);
  });

  test("is the mean, and a margin that more in flight share", () => {
    const predictor = predictorOf(lognormal(500, 1));
    const alone = predictor.reserve("k", 0, 1e9);
    const among = predictor.reserve("k", 99, 1e9);
    const mean = predictor.expected("k", null) ?? 0;
    expect(alone).toBeGreaterThan(mean * 1.5);
    expect(among).toBeLessThan(mean * 1.2);
    expect(among).toBeGreaterThanOrEqual(mean);
  });

  test("together covers what 20 answers take at least 92 times in 100, at less than 1.4 times their use", () => {
    const { covered, times } = batches(predictorOf(lognormal(300, 7)), lognormal(40_000, 99));
    expect(covered).toBeGreaterThanOrEqual(0.92);
    expect(times).toBeLessThanOrEqual(1.4);
  });

  test("alone covers 95 in 100", () => {
    const predictor = predictorOf(lognormal(500, 3));
    let covered = 0;
    for (const output of lognormal(10_000, 4)) {
      if (predictor.reserve("k", 0, 1e9) >= output) covered++;
      predictor.learn("k", { cap: null, output, durationMs: 1 });
    }
    expect(covered / 10_000).toBeGreaterThan(0.93);
    expect(covered / 10_000).toBeLessThan(0.98);
  });

  test("after answers have become five times as long, covers 88 in 100 again within 100 of them", () => {
    let covered = 0;
    let times = 0;
    const runs = 200;
    for (let seed = 0; seed < runs; seed++) {
      const predictor = predictorOf(lognormal(500, seed));
      const longer = lognormal(200, 1000 + seed).map((output) => 5 * output);
      batches(predictor, longer.slice(0, 100));
      const after = batches(predictor, longer.slice(100));
      covered += after.covered / runs;
      times += after.times / runs;
    }
    expect(covered).toBeGreaterThanOrEqual(0.88);
    expect(times).toBeLessThan(1.6);
  });

  test("knowing what the others hold, keeps covering as they end and new ones follow", () => {
    const inFlightAtOnce = 20;
    const outputs = lognormal(20_000, 5);
    const coverage = (tellsHeld: boolean): number => {
      const predictor = predictorOf(lognormal(300, 6));
      const running: { end: number; reserved: number; output: number }[] = [];
      const all: { reserved: number; output: number }[] = [];
      let held = 0;
      let now = 0;
      for (const output of outputs) {
        if (running.length === inFlightAtOnce) {
          const first = running.reduce((a, b) => (b.end < a.end ? b : a));
          running.splice(running.indexOf(first), 1);
          now = first.end;
          held -= first.reserved;
          predictor.learn("k", { cap: null, output: first.output, durationMs: 1 });
        }
        const known = tellsHeld ? held : undefined;
        const reserved = predictor.reserve("k", running.length, 1e9, undefined, known);
        held += reserved;
        running.push({ end: now + output, reserved, output });
        all.push({ reserved, output });
      }
      let covered = 0;
      for (let i = 0; i < all.length; i += inFlightAtOnce) {
        const group = all.slice(i, i + inFlightAtOnce);
        if (group.reduce((sum, { reserved, output }) => sum + reserved - output, 0) >= 0) covered++;
      }
      return covered / (all.length / inFlightAtOnce);
    };
    expect(coverage(true)).toBeGreaterThanOrEqual(0.92);
    expect(coverage(true)).toBeGreaterThan(coverage(false));
  });

  test("depends on the input, where answers do", () => {
    const predictor = createOutputPredictor();
    const series = new Series(8);
    for (let i = 0; i < 400; i++) {
      const long = i % 2 === 0;
      const output = series.lognormal(long ? 2000 : 100, 0.3);
      predictor.learn("k", { cap: null, input: long ? 30_000 : 500, output, durationMs: 1 });
    }
    const [long, short] = [30_000, 500].map((input) => predictor.reserve("k", 5, 1e9, input));
    expect(long!).toBeGreaterThan(2000);
    expect(long!).toBeLessThan(3000);
    expect(short!).toBeLessThan(600);
    expect(predictor.reserve("k", 5, 1e9)).toBeGreaterThan(900);
    expect(predictor.expected("k", null, 30_000)!).toBeGreaterThan(1800);
    expect(predictor.expected("k", 8000, 500)!).toBeLessThan(1300);
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

describe("stored", () => {
  const known = (): ReturnType<typeof createOutputPredictor> => {
    const predictor = createOutputPredictor();
    for (const [index, output] of lognormal(500, 2).entries()) {
      const cap = index % 3 === 0 ? null : 4096;
      predictor.learn("k", { cap, input: index * 10, output, durationMs: output });
    }
    return predictor;
  };

  test("and restored it predicts the same, and goes on learning", () => {
    const before = known();
    const again = createOutputPredictor();
    again.restore(JSON.parse(JSON.stringify(before)));
    for (const inFlight of [0, 1, 50])
      expect(
        again.reserve("k", inFlight, 1e9, 2000) / before.reserve("k", inFlight, 1e9, 2000),
      ).toBeCloseTo(1, 3);
    expect(again.expected("k", 4096)).toBe(before.expected("k", 4096));
    expect(again.duration("k")!).toBeCloseTo(before.duration("k")!, 1);
    for (let i = 0; i < 60; i++) again.learn("k", { cap: null, output: 9000, durationMs: 1 });
    expect(again.reserve("k", 50, 1e9)).toBeGreaterThan(6000);
  });

  test("takes a few KB at most", () => {
    const predictor = createOutputPredictor();
    const series = new Series(1);
    for (let i = 0; i < 5000; i++) {
      const cap = 2 ** Math.floor(20 * series.uniform());
      const input = 2 ** Math.floor(20 * series.uniform());
      predictor.learn("k", { cap, input, output: series.lognormal(300, 2), durationMs: 1 });
    }
    expect(JSON.stringify(predictor).length).toBeLessThan(4096);
  });

  test("as nonsense it is left out", () => {
    const stored = JSON.parse(JSON.stringify(known())) as [string, Record<string, unknown>][];
    const [, good] = stored[0]!;
    for (const bad of [
      null,
      [],
      { ...good, averages: [] },
      { ...good, averages: (good["averages"] as unknown[]).map(() => [1, 1, -5, 1]) },
      { ...good, averages: (good["averages"] as unknown[]).map(() => [1, 1, null, 1]) },
      { ...good, level: [1] },
      { ...good, cells: 4 },
    ]) {
      const predictor = createOutputPredictor();
      predictor.restore([["k", bad]]);
      expect(predictor.toJSON()).toEqual([]);
    }
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (value, residuals) => {
        const predictor = createOutputPredictor();
        predictor.restore(value);
        predictor.restore([["k", value]]);
        predictor.restore([["k", { ...good, residuals, cells: [[value, residuals]] }]]);
        const reserved = predictor.reserve("k", 0, 5000);
        expect(reserved).toBeGreaterThanOrEqual(1);
        expect(reserved).toBeLessThanOrEqual(5000);
      }),
    );
  });
});
