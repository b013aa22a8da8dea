import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { limitsFrom } from "../../src/mock/limit.ts";
import { createQuota } from "../../src/mock/quota.ts";
import type { Decision } from "../../src/mock/quota.ts";
import type { Algorithm, LimitName } from "../../src/mock/limit.ts";

const minute = 60_000;

interface Step {
  atMs: number;
  tokens?: number;
  /** Revise the charge of this step, by its index, instead of asking. */
  revise?: { step: number; tokens: number };
  /** `admitted`, or the milliseconds to wait. */
  expect?: "admitted" | number;
}

const cases: {
  name: string;
  algorithm: Algorithm;
  limits: Partial<Record<LimitName, number>>;
  burst?: number;
  steps: Step[];
}[] = [
  {
    name: "sliding window: the request that leaves makes room at the very moment",
    algorithm: "sliding_window",
    limits: { rpm: 2 },
    steps: [
      { atMs: 0, expect: "admitted" },
      { atMs: 10_000, expect: "admitted" },
      { atMs: 20_000, expect: 40_000 },
      { atMs: 59_999, expect: 1 },
      { atMs: 60_000, expect: "admitted" },
      { atMs: 60_000, expect: 10_000 },
    ],
  },
  {
    name: "sliding window: waits for as many to leave as it needs",
    algorithm: "sliding_window",
    limits: { tpm: 100 },
    steps: [
      { atMs: 0, tokens: 30, expect: "admitted" },
      { atMs: 1_000, tokens: 70, expect: "admitted" },
      { atMs: 2_000, tokens: 30, expect: 58_000 },
      { atMs: 2_000, tokens: 31, expect: 59_000 },
    ],
  },
  {
    name: "sliding window: a revised reservation gives back at once",
    algorithm: "sliding_window",
    limits: { tpm: 100 },
    steps: [
      { atMs: 0, tokens: 100, expect: "admitted" },
      { atMs: 1_000, tokens: 50, expect: 59_000 },
      { atMs: 2_000, revise: { step: 0, tokens: 50 } },
      { atMs: 2_000, tokens: 50, expect: "admitted" },
      { atMs: 2_000, tokens: 1, expect: 58_000 },
    ],
  },
  {
    name: "sliding window: an overage told after the window counts from then",
    algorithm: "sliding_window",
    limits: { tpm: 100 },
    steps: [
      { atMs: 0, tokens: 10, expect: "admitted" },
      { atMs: 70_000, revise: { step: 0, tokens: 60 } },
      { atMs: 70_000, tokens: 51, expect: 60_000 },
      { atMs: 70_000, tokens: 50, expect: "admitted" },
    ],
  },
  {
    name: "token bucket: starts full, then one each refill interval",
    algorithm: "token_bucket",
    limits: { rpm: 60 },
    burst: 2,
    steps: [
      { atMs: 0, expect: "admitted" },
      { atMs: 0, expect: "admitted" },
      { atMs: 0, expect: 1_000 },
      { atMs: 400, expect: 600 },
      { atMs: 1_000, expect: "admitted" },
      { atMs: 60_000, expect: "admitted" },
      { atMs: 60_000, expect: "admitted" },
      { atMs: 60_000, expect: 1_000 },
    ],
  },
  {
    name: "token bucket: an overage is a debt that refills first",
    algorithm: "token_bucket",
    limits: { tpm: 60 },
    steps: [
      { atMs: 0, tokens: 60, expect: "admitted" },
      { atMs: 0, revise: { step: 0, tokens: 70 } },
      { atMs: 0, tokens: 1, expect: 11_000 },
      { atMs: 11_000, tokens: 1, expect: "admitted" },
    ],
  },
  {
    name: "token bucket: what comes back never fills it over its capacity",
    algorithm: "token_bucket",
    limits: { tpm: 60 },
    steps: [
      { atMs: 0, tokens: 60, expect: "admitted" },
      { atMs: 50_000, revise: { step: 0, tokens: 0 } },
      { atMs: 50_000, tokens: 60, expect: "admitted" },
      { atMs: 50_000, tokens: 1, expect: 1_000 },
    ],
  },
  {
    name: "several limits: the slowest says when, and a refusal charges none",
    algorithm: "sliding_window",
    limits: { rpm: 2, tpm: 100 },
    steps: [
      { atMs: 0, tokens: 60, expect: "admitted" },
      { atMs: 5_000, tokens: 60, expect: 55_000 },
      { atMs: 5_000, tokens: 40, expect: "admitted" },
      { atMs: 6_000, tokens: 70, expect: 59_000 },
    ],
  },
  {
    name: "more than the whole limit never fits",
    algorithm: "token_bucket",
    limits: { tpm: 100 },
    steps: [{ atMs: 0, tokens: 101, expect: Infinity }],
  },
];

describe("quota", () => {
  test.each(cases)("$name", ({ algorithm, limits, burst, steps }) => {
    const quota = createQuota(limitsFrom(limits, minute), algorithm, { burst });
    const decisions: (Decision | undefined)[] = [];
    for (const { atMs, tokens = 0, revise, expect: expected } of steps) {
      if (revise) {
        const decision = decisions[revise.step];
        if (decision?.kind === "admitted") decision.charge.revise({ tokens: revise.tokens }, atMs);
        decisions.push(undefined);
        continue;
      }
      const decision = quota.take({ requests: 1, tokens }, atMs);
      decisions.push(decision);
      const outcome = decision.kind === "admitted" ? "admitted" : decision.waitMs;
      if (typeof expected === "number") expect(outcome).toBeCloseTo(expected, 3);
      else expect(outcome).toBe(expected as "admitted");
    }
  });

  test("state tells what remains and when all of it is back", () => {
    const bucket = createQuota(limitsFrom({ rpm: 60, tpm: 600 }, minute), "token_bucket");
    bucket.take({ requests: 1, tokens: 60 }, 0);
    expect(bucket.state(0).map(({ remaining, resetMs }) => [remaining, resetMs])).toEqual([
      [59, 1000],
      [540, 6000],
    ]);
    const window = createQuota(limitsFrom({ rpm: 60 }, minute), "sliding_window");
    expect(window.state(0)[0]).toMatchObject({ remaining: 60, resetMs: 0 });
    window.take({ requests: 1, tokens: 0 }, 0);
    window.take({ requests: 1, tokens: 0 }, 500);
    expect(window.state(1000)[0]).toMatchObject({ remaining: 58, resetMs: 59_500 });
  });
});

test("sliding window: stays exact over many more requests than it keeps", () => {
  const quota = createQuota(limitsFrom({ rpm: 10 }, 1000), "sliding_window");
  for (let at = 0; at < 400_000; at += 100) {
    expect(quota.take({ requests: 1, tokens: 0 }, at).kind).toBe("admitted");
    if (at >= 900)
      expect(quota.take({ requests: 1, tokens: 0 }, at)).toMatchObject({ waitMs: 100 });
  }
});

const arrivals = fc.array(
  fc.record({ gapMs: fc.integer({ min: 0, max: 400 }), tokens: fc.integer({ min: 0, max: 60 }) }),
  { maxLength: 120, size: "max" },
);

describe("quota properties", () => {
  test("sliding window: no window (T-W, T] holds more than the limit, and a refusal had no room", () => {
    fc.assert(
      fc.property(arrivals, (requests) => {
        const quota = createQuota(limitsFrom({ tpm: 100, rpm: 7 }, 1000), "sliding_window");
        const admitted: { at: number; tokens: number }[] = [];
        const inWindow = (end: number): { at: number; tokens: number }[] =>
          admitted.filter(({ at }) => at > end - 1000 && at <= end);
        const tokensIn = (end: number): number =>
          inWindow(end).reduce((sum, { tokens }) => sum + tokens, 0);
        let now = 0;
        for (const { gapMs, tokens } of requests) {
          now += gapMs;
          const fits = inWindow(now).length < 7 && tokensIn(now) + tokens <= 100;
          const decision = quota.take({ requests: 1, tokens }, now);
          expect(decision.kind).toBe(fits ? "admitted" : "refused");
          if (fits) admitted.push({ at: now, tokens });
          expect(inWindow(now).length).toBeLessThanOrEqual(7);
          expect(tokensIn(now)).toBeLessThanOrEqual(100);
        }
      }),
    );
  });

  test("what is refused fits when its wait has passed, not before", () => {
    const algorithms = fc.constantFrom<Algorithm>("token_bucket", "sliding_window");
    fc.assert(
      fc.property(algorithms, arrivals, (algorithm, requests) => {
        const replay = (): { quota: ReturnType<typeof createQuota>; now: number } => {
          const quota = createQuota(limitsFrom({ tpm: 100 }, 1000), algorithm);
          let now = 0;
          for (const { gapMs, tokens } of requests)
            quota.take({ requests: 1, tokens }, (now += gapMs));
          return { quota, now };
        };
        const first = replay();
        const refusal = first.quota.take({ requests: 1, tokens: 80 }, first.now);
        if (refusal.kind === "admitted") return;
        expect(first.quota.take({ requests: 1, tokens: 80 }, first.now + refusal.waitMs).kind).toBe(
          "admitted",
        );
        const early = replay();
        const tooSoon = early.now + refusal.waitMs - Math.min(0.5, refusal.waitMs / 2);
        expect(early.quota.take({ requests: 1, tokens: 80 }, tooSoon).kind).toBe("refused");
      }),
    );
  });

  test("token bucket: agrees with a bucket that is filled in steps of a millisecond", () => {
    fc.assert(
      fc.property(arrivals, (requests) => {
        // 100 units of a tenth of a token a millisecond: whole numbers, so the model has no rounding.
        const quota = createQuota(limitsFrom({ tpm: 100 }, 1000), "token_bucket");
        let tenths = 1000;
        let now = 0;
        for (const { gapMs, tokens } of requests) {
          now += gapMs;
          tenths = Math.min(1000, tenths + gapMs);
          const fits = tenths >= tokens * 10;
          expect(quota.take({ requests: 1, tokens }, now).kind).toBe(fits ? "admitted" : "refused");
          if (fits) tenths -= tokens * 10;
        }
      }),
    );
  });
});
