import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createUsageLog } from "../../src/mock/usage-log.ts";
import type { Watch } from "../../src/mock/usage-log.ts";

const watches: Watch[] = [
  { unit: "requests", window: "minute", windowMs: 1000, limit: 5 },
  { unit: "tokens", window: "minute", windowMs: 1000, limit: null },
];

describe("usage log", () => {
  test("the peak takes final amounts, the reserved peak what was held at the time", () => {
    const log = createUsageLog(watches);
    const first = log.append(0, 100);
    log.append(500, 50);
    log.revise(first, 10, 600);
    log.append(700, 20);
    expect(log.usage(700)).toEqual([
      { unit: "requests", window: "minute", limit: 5, used: 3, peak: 3, peak_reserved: 3 },
      { unit: "tokens", window: "minute", limit: null, used: 80, peak: 80, peak_reserved: 150 },
    ]);
    expect(log.usage(1000).map(({ used }) => used)).toEqual([2, 70]);
    expect(log.entries(2)).toEqual([
      { at: 500, tokens: 50 },
      { at: 700, tokens: 20 },
    ]);
  });

  test("the peak equals the fullest of all windows counted one by one", () => {
    const events = fc.array(
      fc.record({
        gapMs: fc.integer({ min: 0, max: 500 }),
        tokens: fc.nat(50),
        actual: fc.option(fc.nat(60)),
      }),
      { maxLength: 80, size: "max" },
    );
    fc.assert(
      fc.property(events, (requests) => {
        const log = createUsageLog(watches);
        const known: { at: number; tokens: number }[] = [];
        let now = 0;
        for (const { gapMs, tokens, actual } of requests) {
          now += gapMs;
          const id = log.append(now, tokens);
          if (actual !== null) log.revise(id, actual, now);
          known.push({ at: now, tokens: actual ?? tokens });
        }
        const windowAt = (end: number): { tokens: number }[] =>
          known.filter(({ at }) => at > end - 1000 && at <= end);
        const sums = known.map(({ at }) => windowAt(at));
        const [inRequests, inTokens] = log.usage(now);
        expect(inRequests?.peak).toBe(Math.max(0, ...sums.map((entries) => entries.length)));
        expect(inTokens?.peak).toBe(
          Math.max(
            0,
            ...sums.map((entries) => entries.reduce((sum, { tokens }) => sum + tokens, 0)),
          ),
        );
        expect(inTokens?.used).toBe(windowAt(now).reduce((sum, { tokens }) => sum + tokens, 0));
      }),
    );
  });

  test("grows with what it is given", () => {
    const log = createUsageLog(watches);
    for (let index = 0; index < 5000; index++) log.append(index, 2);
    expect(log.entries(Infinity)).toHaveLength(5000);
    expect(log.usage(5000).map(({ peak }) => peak)).toEqual([1000, 2000]);
  });

  test("a full log drops its older half and keeps its peaks", () => {
    const log = createUsageLog(watches, 8);
    for (let index = 0; index < 6; index++) log.append(index, 10);
    for (let index = 1; index <= 20; index++) log.append(index * 1000, 1);
    const [requests, tokens] = log.usage(20_000);
    expect(requests).toMatchObject({ used: 1, peak: 6, peak_reserved: 6 });
    expect(tokens).toMatchObject({ used: 1, peak: 60, peak_reserved: 60 });
    log.revise(0, 1_000_000, 20_000);
    expect(log.usage(20_000)[1]).toMatchObject({ peak: 60 });
    expect(log.entries(100).length).toBeLessThanOrEqual(8);
  });

  test("entries that are dropped inside their window leave its sum as well", () => {
    const log = createUsageLog(watches, 8);
    for (let index = 0; index < 9; index++) log.append(index, 10);
    expect(log.usage(9).map(({ used, peak }) => [used, peak])).toEqual([
      [5, 8],
      [50, 80],
    ]);
  });
});
