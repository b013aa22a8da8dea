import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { AlgorithmName } from "../../src/client/plan.ts";
import { client, cost, limitsOf } from "./requests.ts";

const ann = client("key:ann", "t");
const minute = 60_000;

/** A request after `gapMs`, of so many tokens; given back or corrected at once, later, or never. */
const steps = fc.array(
  fc.record({
    gapMs: fc.oneof(
      fc.constant(0),
      fc.double({ min: 0, max: 50, noNaN: true }),
      fc.double({ min: 0, max: 9_000, noNaN: true }),
      fc.double({ min: 0, max: 90_000, noNaN: true }),
    ),
    tokens: fc.integer({ min: 0, max: 120 }),
    fate: fc.constantFrom("stays", "stays", "given back", "corrected"),
    actual: fc.integer({ min: 0, max: 200 }),
    laterMs: fc.oneof(
      fc.constant(0),
      fc.integer({ min: 0, max: 60_000 }),
      fc.integer({ min: 60_000, max: 130_000 }),
    ),
  }),
  { minLength: 1, maxLength: 150 },
);
const limit = fc.record({
  rpm: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 40 })),
  tpm: fc.integer({ min: 50, max: 400 }),
});

interface Event {
  at: number;
  requests: number;
  tokens: number;
}

/** Plays the steps. @returns what was really let through and used, by the times of admission */
function play(
  algorithm: AlgorithmName,
  { rpm, tpm }: { rpm: number; tpm: number },
  all: typeof steps extends fc.Arbitrary<infer T> ? T : never,
  fates: "with fates" | "all stay",
): Event[] {
  const { clock, limits } = limitsOf({ tiers: { t: { rpm, tpm } }, algorithm });
  const events: Event[] = [];
  const later: { at: number; run: () => void }[] = [];
  for (const { gapMs, tokens, fate, actual, laterMs } of all) {
    clock.advance(gapMs);
    for (const [i, { at, run }] of [...later.entries()].toReversed()) {
      if (at > clock.now()) continue;
      run();
      later.splice(i, 1);
    }
    const asked = cost(tokens);
    const outcome = limits.take(ann, asked);
    if (!outcome.ok) continue;
    const event = { at: outcome.at, ...asked };
    events.push(event);
    if (fates === "all stay" || fate === "stays") continue;
    const run = (): void => {
      if (fate === "given back") {
        limits.giveBack(ann, asked, outcome.at);
        event.requests = 0;
        event.tokens = 0;
      } else {
        const used = Math.min(tokens, actual);
        limits.settle(ann, used - tokens, outcome.at);
        event.tokens = used;
      }
    };
    later.push({ at: clock.now() + laterMs, run });
  }
  return events;
}

/** The most that is in any span of `ms` that begins with an event. */
function mostIn(events: readonly Event[], ms: number, unit: "requests" | "tokens"): number {
  return Math.max(
    0,
    ...events.map(({ at: from }) =>
      events
        .filter(({ at }) => at >= from && at < from + ms)
        .reduce((sum, event) => sum + event[unit], 0),
    ),
  );
}

describe("never more than allowed", () => {
  test("a sliding window in any 60 s, whatever is given back when", () => {
    fc.assert(
      fc.property(limit, steps, (limits, all) => {
        const events = play("sliding_window", limits, all, "with fates");
        expect(mostIn(events, minute, "requests")).toBeLessThanOrEqual(limits.rpm);
        expect(mostIn(events, minute, "tokens")).toBeLessThanOrEqual(limits.tpm);
      }),
      { numRuns: 150 },
    );
  });

  test.each(["token_bucket", "leaky_bucket"] as const)("%s: burst + rate × t", (algorithm) => {
    fc.assert(
      fc.property(limit, steps, fc.integer({ min: 0, max: minute }), (limits, all, spanMs) => {
        const events = play(algorithm, limits, all, "all stay");
        for (const [unit, rate] of [
          ["requests", limits.rpm],
          ["tokens", limits.tpm],
        ] as const) {
          const most = rate + (rate / minute) * spanMs;
          expect(mostIn(events, spanMs, unit)).toBeLessThanOrEqual(most + 1e-3);
        }
      }),
      { numRuns: 100 },
    );
  });

  test("a bucket from when it was full, whatever is given back when", () => {
    fc.assert(
      fc.property(limit, steps, (limits, all) => {
        const events = play("token_bucket", limits, all, "with fates");
        const start = events[0]?.at ?? 0;
        let requests = 0;
        for (const event of events) {
          requests += event.requests;
          const most = limits.rpm + (limits.rpm / minute) * (event.at - start);
          expect(requests).toBeLessThanOrEqual(most + 1e-3);
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe("as a naive implementation decides", () => {
  const gaps = fc.array(fc.double({ min: 0, max: 12_000, noNaN: true }), { maxLength: 200 });

  test("a sliding window, exactly while there are no more instants than it keeps", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), gaps, (rate, all) => {
        const { clock, limits } = limitsOf({ rate_limit: rate, algorithm: "sliding_window" });
        let log: number[] = [];
        for (const gap of all) {
          clock.advance(Math.round(gap));
          log = log.filter((at) => clock.now() - at < minute);
          const fits = log.length < rate;
          expect(limits.take(client("a"), cost()).ok).toBe(fits);
          if (fits) log.push(clock.now());
        }
      }),
      { numRuns: 100 },
    );
  });

  test("a token bucket that is filled at each step", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), gaps, (rate, all) => {
        const { clock, limits } = limitsOf({ rate_limit: rate });
        let level = rate;
        let last = clock.now();
        for (const gap of all) {
          clock.advance(gap);
          level = Math.min(rate, level + ((clock.now() - last) * rate) / minute);
          last = clock.now();
          const { ok } = limits.take(client("a"), cost());
          // Within a rounding error of a whole request both are right.
          if (Math.abs(level - 1) > 1e-5) expect(ok).toBe(level >= 1);
          if (ok) level -= 1;
        }
      }),
      { numRuns: 100 },
    );
  });
});

test("what is told to wait is enough, and hardly more than needed", () => {
  fc.assert(
    fc.property(
      fc.constantFrom<AlgorithmName>("token_bucket", "sliding_window", "leaky_bucket"),
      limit,
      steps,
      (algorithm, { rpm, tpm }, all) => {
        const { clock, limits } = limitsOf({ tiers: { t: { rpm, tpm } }, algorithm });
        for (const { gapMs, tokens } of all) {
          clock.advance(gapMs);
          const asked = cost(tokens);
          const outcome = limits.take(ann, asked);
          if (outcome.ok || outcome.retryAfterMs === Infinity) continue;
          clock.skip(Math.max(0, outcome.retryAfterMs - 2));
          const early = limits.take(ann, asked);
          expect(early.ok && outcome.retryAfterMs > 2).toBe(false);
          clock.skip(Math.min(2, outcome.retryAfterMs));
          expect(early.ok || limits.take(ann, asked).ok).toBe(true);
        }
      },
    ),
    { numRuns: 60 },
  );
});

test("a busy window loses little to what it does not tell apart", () => {
  const { clock, limits } = limitsOf({ rate_limit: 600, algorithm: "sliding_window" });
  let through = 0;
  for (let second = 0; second < 600; second += 0.05) {
    clock.skip(50);
    if (limits.take(client("a"), cost()).ok) through++;
  }
  expect(through).toBeLessThanOrEqual(6_600);
  expect(through).toBeGreaterThan(5_400);
});
