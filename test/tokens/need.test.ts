import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createNeeds, type Needs } from "../../src/tokens/need.ts";
import { Series } from "./series.ts";

const cap = 32_000;

const learnMany = (needs: Needs, outputs: Iterable<number>, sentCap = cap): void => {
  for (const output of outputs)
    needs.learn("k", { output, cap, sentCap, stoppedForLength: output >= sentCap });
};
const cut = (needs: Needs, sentCap: number): void =>
  needs.learn("k", { output: sentCap, cap, sentCap, stoppedForLength: true });
const chat = (count: number, seed = 1): number[] => {
  const series = new Series(seed);
  return Array.from({ length: count }, () => series.lognormal(300, 0.8));
};

describe("when caps are lowered", () => {
  test("not before 50 answers have ended, and then far above all of them", () => {
    const needs = createNeeds();
    expect(needs.capFor("k", cap)).toBeNull();
    learnMany(needs, Array<number>(49).fill(1000));
    expect(needs.capFor("k", cap)).toBeNull();
    learnMany(needs, [1000]);
    expect(needs.capFor("k", cap)).toBeGreaterThanOrEqual(3000);
    expect(needs.capFor("k", cap)).toBeLessThan(4000);
  });

  test("the more is known, the nearer to it, never below what was needed or a tenth of the cap", () => {
    const needs = createNeeds();
    let before = Infinity;
    for (const count of [50, 100, 300, 700]) {
      learnMany(needs, Array<number>(count).fill(4000));
      const now = needs.capFor("k", cap) ?? cap;
      expect(now).toBeLessThan(before);
      expect(now).toBeGreaterThan(4000 * 1.15);
      before = now;
    }
    expect(before).toBeLessThan(4000 * 1.3);
    const small = createNeeds();
    learnMany(small, Array<number>(1000).fill(5));
    expect(small.capFor("k", cap)).toBe(3200);
  });

  test.each([0.5, 0.8, 1.2])("never below the 99.9th percentile needed (σ %d)", (sigma) => {
    const series = new Series(7);
    const needs = createNeeds();
    const outputs: number[] = [];
    for (let i = 0; i < 6000; i++) {
      const output = series.lognormal(100, sigma);
      outputs.push(output);
      learnMany(needs, [output]);
      if (i < 100 || i % 100 !== 0) continue;
      const sorted = outputs.slice(-4000).sort((a, b) => a - b);
      const needed = sorted[Math.floor(sorted.length * 0.999)]!;
      expect(needs.capFor("k", cap) ?? cap).toBeGreaterThanOrEqual(needed);
    }
  });

  test("not where little would be saved, for small caps, or for other caps than were seen", () => {
    const needs = createNeeds();
    learnMany(needs, Array<number>(200).fill(20_000));
    expect(needs.capFor("k", cap)).toBeNull();
    for (let i = 0; i < 200; i++) {
      needs.learn("s", { output: 3, cap: 200, sentCap: 200, stoppedForLength: false });
      needs.learn("t", { output: 3, cap, sentCap: cap, stoppedForLength: false });
    }
    expect(needs.capFor("s", 200)).toBeNull();
    expect(needs.capFor("t", cap)).not.toBeNull();
    expect(needs.capFor("t", 4000)).toBeNull();
    expect(needs.capFor("another", cap)).toBeNull();
    for (const odd of [NaN, Infinity, -1, 0]) expect(needs.capFor("t", odd)).toBeNull();
  });

  test("is always a whole number below the cap", () => {
    const outputs = fc.array(fc.integer({ min: 0, max: 40_000 }), {
      minLength: 50,
      maxLength: 200,
    });
    fc.assert(
      fc.property(outputs, fc.integer({ min: 1, max: 200_000 }), (seen, asked) => {
        const needs = createNeeds();
        for (const output of seen)
          needs.learn("k", { output, cap: asked, sentCap: asked, stoppedForLength: false });
        const lowered = needs.capFor("k", asked);
        if (lowered === null) return;
        expect(Number.isInteger(lowered)).toBe(true);
        expect(lowered).toBeLessThan(asked);
        expect(lowered).toBeGreaterThan(Math.max(...seen));
      }),
      { numRuns: 50 },
    );
  });
});

describe("an answer that a lowered cap cut off", () => {
  test("raises it four times at once, a second one back to the client's", () => {
    const needs = createNeeds();
    learnMany(needs, Array<number>(2000).fill(2500));
    const first = needs.capFor("k", cap)!;
    cut(needs, first);
    const second = needs.capFor("k", cap)!;
    expect(second / first).toBeGreaterThan(3.9);
    cut(needs, second);
    expect(needs.capFor("k", cap)).toBeNull();
  });

  test("does so less and less, as long as no other is", () => {
    const needs = createNeeds();
    learnMany(needs, Array<number>(600).fill(2500));
    const first = needs.capFor("k", cap)!;
    cut(needs, first);
    learnMany(needs, Array<number>(300).fill(2500));
    expect(needs.capFor("k", cap)!).toBeGreaterThan(2 * first);
    learnMany(needs, Array<number>(6000).fill(2500));
    expect(needs.capFor("k", cap)!).toBeLessThan(1.4 * first);
  });

  test("is not one that the client's own cap cut off", () => {
    const needs = createNeeds();
    learnMany(needs, Array<number>(2000).fill(2500));
    const before = needs.capFor("k", cap)!;
    needs.learn("k", { output: 2600, cap, sentCap: cap, stoppedForLength: true });
    expect(needs.capFor("k", cap)!).toBeLessThan(1.2 * before);
  });

  test("is told by its length too, where nobody says why it ended", () => {
    const needs = createNeeds();
    learnMany(needs, Array<number>(2000).fill(2500));
    const first = needs.capFor("k", cap)!;
    needs.learn("k", { output: first, cap, sentCap: first, stoppedForLength: false });
    expect(needs.capFor("k", cap)!).toBeGreaterThan(3 * first);
  });

  test("happens at most about once in 1,000, whatever the answers are", () => {
    // The worst that a route can do: whenever the cap is lowered, the next answer runs into it.
    const needs = createNeeds();
    let cuts = 0;
    const answers = 40_000;
    for (let i = 0; i < answers; i++) {
      const lowered = needs.capFor("k", cap);
      if (lowered === null) learnMany(needs, [400]);
      else {
        cuts++;
        cut(needs, lowered);
      }
    }
    expect(cuts / answers).toBeLessThanOrEqual(0.001);
  });
});

/** A client that always asks for `cap`, with 32 in flight: the share of answers that we cut, and the mean cap sent. */
function run(
  needs: Needs,
  series: Series,
  answers: number,
  draw: () => number,
): { cuts: number; meanCap: number } {
  const inFlight: { needed: number; sentCap: number }[] = [];
  let cuts = 0;
  let sum = 0;
  for (let i = 0; i < answers; i++) {
    const sentCap = needs.capFor("k", cap) ?? cap;
    const needed = Math.min(cap, draw());
    if (needed > sentCap) cuts++;
    sum += sentCap;
    inFlight.push({ needed, sentCap });
    if (inFlight.length < 32) continue;
    const [ended] = inFlight.splice(Math.floor(series.uniform() * inFlight.length), 1);
    const output = Math.min(ended!.needed, ended!.sentCap);
    const stoppedForLength = ended!.needed > ended!.sentCap || output === cap;
    needs.learn("k", { output, cap, sentCap: ended!.sentCap, stoppedForLength });
  }
  return { cuts, meanCap: sum / answers };
}

describe.each<readonly [name: string, draw: (series: Series) => number]>([
  ["a light tail", (series) => series.lognormal(350, 0.6)],
  ["a chat", (series) => series.lognormal(290, 0.8)],
  ["a heavy tail", (series) => series.lognormal(195, 1.2)],
  ["5 % of long answers", (series) => series.bimodal(0.05)],
  ["0.2 % of long answers", (series) => series.bimodal(0.002)],
])("simulated: a route with %s", (_, draw) => {
  test("has at most 0.1 % of its answers cut while it stays the same", () => {
    const series = new Series(11);
    const needs = createNeeds();
    run(needs, series, 2000, () => draw(series));
    const { cuts } = run(needs, series, 50_000, () => draw(series));
    expect(cuts / 50_000).toBeLessThanOrEqual(0.0005);
  });

  test("and at most 0.1 % of the first 2,000", () => {
    let cuts = 0;
    for (let seed = 0; seed < 20; seed++) {
      const series = new Series(seed);
      cuts += run(createNeeds(), series, 2000, () => draw(series)).cuts;
    }
    expect(cuts / 40_000).toBeLessThanOrEqual(0.001);
  });

  test("and at most 0.5 % of the 2,000 after they become five times as long", () => {
    let cuts = 0;
    for (let seed = 0; seed < 20; seed++) {
      const series = new Series(100 + seed);
      const needs = createNeeds();
      run(needs, series, 3000, () => draw(series));
      cuts += run(needs, series, 2000, () => 5 * draw(series)).cuts;
    }
    expect(cuts / 40_000).toBeLessThanOrEqual(0.005);
  });
});

test("simulated: a chat that needs 400 reserves at most a fifth of the 32,000 it asks for", () => {
  const series = new Series(5);
  const needs = createNeeds();
  run(needs, series, 3000, () => series.lognormal(290, 0.8));
  const { meanCap } = run(needs, series, 30_000, () => series.lognormal(290, 0.8));
  expect(meanCap).toBeLessThan(cap / 5);
});

/**
 * Answers in `seconds` from a quota of a million tokens a minute that reserves input + cap and revises it to what was
 * used when the answer ends, for a client that always has more to send. What is reserved is held until then.
 */
function throughput(needs: Needs | null, seconds: number, output: () => number): number {
  const limit = 1_000_000;
  const input = 30;
  let now = 0;
  let level = limit;
  let held = 0;
  let done = 0;
  const running: { end: number; output: number; sentCap: number }[] = [];
  while (now < seconds) {
    const sentCap = needs?.capFor("k", cap) ?? cap;
    const missing = input + sentCap - level;
    if (missing <= 1e-6) {
      level -= input + sentCap;
      held += input + sentCap;
      const wrote = Math.min(sentCap, output());
      running.push({ end: now + 2 + wrote / 50, output: wrote, sentCap });
      continue;
    }
    const full = limit - held;
    const refilledAt = full - level < missing ? Infinity : now + (missing * 60) / limit;
    const ending = running.reduce((a, b) => (b.end < a.end ? b : a), running[0]!);
    const next = Math.min(refilledAt, ending?.end ?? Infinity);
    level = Math.min(full, level + ((next - now) * limit) / 60);
    now = next;
    if (ending.end > next) continue;
    running.splice(running.indexOf(ending), 1);
    held -= input + ending.sentCap;
    level += ending.sentCap - ending.output;
    done++;
    needs?.learn("k", {
      ...ending,
      cap,
      stoppedForLength: ending.output >= ending.sentCap,
    });
  }
  return done;
}

test("simulated: right-sizing answers at least 5 times as many in two minutes, from nothing known", () => {
  const ratios = [1, 2, 3, 4, 5].map((seed) => {
    const [series, other] = [new Series(seed), new Series(seed)];
    const passed = throughput(null, 120, () => series.lognormal(360, 0.47));
    return throughput(createNeeds(), 120, () => other.lognormal(360, 0.47)) / passed;
  });
  expect(ratios.reduce((a, b) => a + b) / ratios.length).toBeGreaterThan(5);
});

describe("stored", () => {
  test("and restored it sends the same caps, and remembers cuts", () => {
    const needs = createNeeds();
    learnMany(needs, chat(3000));
    needs.learn("cut", { output: 9, cap, sentCap: cap, stoppedForLength: false });
    const again = createNeeds();
    again.restore(JSON.parse(JSON.stringify(needs)));
    expect(again.capFor("k", cap)).toBe(needs.capFor("k", cap));
    cut(needs, needs.capFor("k", cap)!);
    const raised = createNeeds();
    raised.restore(JSON.parse(JSON.stringify(needs)));
    expect(raised.capFor("k", cap)! / needs.capFor("k", cap)!).toBeCloseTo(1, 3);
  });

  test("as nonsense it is left out", () => {
    const needs = createNeeds();
    needs.restore([
      ["k", [{ size: 14, seen: 1e9, current: [], before: null, level: [], raised: 0 }]],
    ]);
    needs.restore([["k", null], [1, []], "x"]);
    needs.restore("x");
    expect(needs.toJSON()).toEqual([]);
    const good = createNeeds();
    learnMany(good, chat(60));
    const stored = JSON.parse(JSON.stringify(good)) as [string, Record<string, unknown>[]][];
    const route = stored[0]![1][0]!;
    for (const change of [
      { seen: -1 },
      { raised: 1e9 },
      { level: [1, 2] },
      { size: 1.5 },
      { credit: "x" },
    ]) {
      const other = createNeeds();
      other.restore([["k", [{ ...route, ...change }]]]);
      expect(other.toJSON()).toEqual([]);
    }
    // More answers than there is anything of: not enough to lower a cap.
    const claimed = createNeeds();
    claimed.restore([["k", [{ ...route, seen: 4096, current: [40, 1] }]]]);
    expect(claimed.capFor("k", cap)).toBeNull();
  });
});

test("nonsense is not learned, and what is kept is bounded", () => {
  const needs = createNeeds();
  for (const bad of [-1, NaN, Infinity]) {
    needs.learn("k", { output: bad, cap, sentCap: cap, stoppedForLength: false });
    needs.learn("k", { output: 1, cap: bad, sentCap: cap, stoppedForLength: false });
    needs.learn("k", {
      output: 1,
      cap,
      sentCap: bad === Infinity ? 0 : bad,
      stoppedForLength: false,
    });
  }
  expect(needs.toJSON()).toEqual([]);
  for (let size = 0; size < 40; size++)
    needs.learn("k", { output: 1, cap: 2 ** size, sentCap: 2 ** size, stoppedForLength: false });
  const [[, routes]] = needs.toJSON() as [[string, unknown[]]];
  expect(routes.length).toBeLessThanOrEqual(6);
});
