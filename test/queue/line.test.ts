import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";

import type { Priority, Waiting } from "../../src/queue/lane.ts";
import { classAt, goesBefore, Line, sizeLane } from "../../src/queue/line.ts";
import { Shares } from "../../src/queue/shares.ts";
import { serve, waiting } from "./waiting.ts";

function lineOf(...items: Waiting[]): Line {
  const line = new Line(new Shares());
  for (const item of items) line.push(item);
  return line;
}

/** Everybody in the order in which they are served at `now`. */
function order(shares: Shares, line: Line, now: number): Waiting[] {
  const served: Waiting[] = [];
  for (let item = line.head(now); item !== null; item = line.head(now)) {
    serve(line, shares, item);
    served.push(item);
  }
  return served;
}

describe("order", () => {
  test.each([
    ["the higher class first", { priority: "low" }, { priority: "high" }, false, 1],
    ["then who came first", {}, {}, false, 0],
    ["smart: small before medium", { amount: 1_000 }, { amount: 999 }, true, 1],
    ["smart: medium before large", { amount: 5_001 }, { amount: 5_000 }, true, 1],
    ["smart: alike within a size", { amount: 5_000 }, { amount: 1_000 }, true, 0],
    ["not smart: size does not matter", { amount: 9_000 }, { amount: 1 }, false, 0],
    ["class before size", { priority: "high", amount: 9_000 }, { amount: 1 }, true, 0],
  ] as const)("%s", (_, first, second, smart, expected) => {
    const items = [
      waiting({ seq: 1, ...first }),
      waiting({ seq: 2, client: "two", ...second }),
    ] as const;
    const line = lineOf(...items);
    line.smart = smart;
    expect(line.head(0)).toBe(items[expected]);
    expect(goesBefore(items[expected], items[1 - expected] as Waiting, 0, smart)).toBe(true);
    expect(goesBefore(items[1 - expected] as Waiting, items[expected], 0, smart)).toBe(false);
  });

  test("waiting lifts a request by a class each tenth of its longest wait, past the highest too", () => {
    const item = waiting({ seq: 1, priority: "low", arrivedAt: 1_000, timeoutMs: 100_000 });
    const classes = [1_000, 10_999, 11_000, 21_000, 31_000, 101_000].map((now) =>
      classAt(item, now),
    );
    expect(classes).toEqual([2, 2, 1, 0, -1, -8]);
    const line = lineOf(item);
    const fresh = waiting({
      seq: 2,
      client: "two",
      priority: "high",
      arrivedAt: 20_999,
      timeoutMs: 100_000,
    });
    line.push(fresh);
    expect(line.head(20_999)).toBe(fresh);
    expect(line.head(31_000)).toBe(item);
  });

  test("who has waited longest in a lane is lifted even if it is another's turn", () => {
    const shares = new Shares();
    const line = new Line(shares);
    const items = [1, 2, 3].map((seq) =>
      waiting({ seq, client: "busy", arrivedAt: seq * 1_000, timeoutMs: 100_000 }),
    );
    for (const item of items) line.push(item);
    serve(line, shares, items[0] as Waiting);
    const other = waiting({ seq: 4, client: "other", arrivedAt: 8_000, timeoutMs: 100_000 });
    line.push(other);
    expect(line.head(11_000)).toBe(other);
    expect(line.head(12_000)).toBe(items[1] as Waiting);
    expect(line.isPick(items[1] as Waiting)).toBe(true);
    expect(line.isPick(other)).toBe(true);
    expect(line.isPick(items[2] as Waiting)).toBe(false);
  });

  test("sizes are told apart at the two bounds of smart mode", () => {
    expect([0, 999, 1_000, 5_000, 5_001, 1e9].map(sizeLane)).toEqual([0, 4, 5, 6, 7, 12]);
  });
});

describe("properties", () => {
  const names: readonly Priority[] = ["high", "normal", "low"];
  const drafts = fc.array(
    fc.record({
      priority: fc.constantFrom(...names),
      client: fc.constantFrom("a", "b", "c", "d"),
      amount: fc.oneof(fc.integer({ min: 1, max: 1_200 }), fc.integer({ min: 1, max: 300_000 })),
      waitedMs: fc.nat(300_000),
    }),
    { minLength: 1, maxLength: 60, size: "max" },
  );

  test("the head is the least of all by the order, while nobody is lifted", () => {
    fc.assert(
      fc.property(
        drafts,
        fc.boolean(),
        fc.array(fc.nat(), { maxLength: 40 }),
        (list, smart, removals) => {
          const shares = new Shares();
          const line = new Line(shares);
          line.smart = smart;
          let rest = list.map((draft, seq) => waiting({ ...draft, seq }));
          for (const item of rest) line.push(item);
          for (const which of removals) {
            const gone = rest[which % Math.max(1, rest.length)];
            if (gone === undefined) break;
            line.remove(gone);
            line.remove(gone);
            rest = rest.filter((item) => item !== gone);
          }
          expect(line.size).toBe(rest.length);
          while (rest.length > 0) {
            const least = rest.reduce((a, b) => (goesBefore(b, a, 0, smart) ? b : a));
            expect(line.head(0)).toBe(least);
            const picks = line.picks();
            expect(picks).toContain(least);
            expect(picks.every((item) => line.isPick(item) && rest.includes(item))).toBe(true);
            expect(rest).toContain(line.anyone() as Waiting);
            serve(line, shares, least);
            rest = rest.filter((item) => item !== least);
          }
          expect([line.size, line.head(0), line.anyone()]).toEqual([0, null, null]);
        },
      ),
      { numRuns: 150 },
    );
  });

  test("nobody of a higher class stands behind the head, however long they have waited", () => {
    fc.assert(
      fc.property(drafts, fc.boolean(), (list, smart) => {
        const shares = new Shares();
        const line = new Line(shares);
        line.smart = smart;
        const byArrival = list.toSorted((a, b) => b.waitedMs - a.waitedMs);
        const all = byArrival.map((draft, seq) =>
          waiting({ ...draft, seq, arrivedAt: 300_000 - draft.waitedMs }),
        );
        for (const item of all) line.push(item);
        let rest = all;
        for (const item of order(shares, line, 300_000)) {
          const best = Math.min(...rest.map((other) => classAt(other, 300_000)));
          expect(classAt(item, 300_000)).toBe(best);
          rest = rest.filter((other) => other !== item);
        }
        expect(rest).toEqual([]);
      }),
      { numRuns: 150 },
    );
  });

  test("one client's requests of a class and size go first come, first served", () => {
    fc.assert(
      fc.property(drafts, (list) => {
        const shares = new Shares();
        const line = new Line(shares);
        for (const [seq, draft] of list.entries())
          line.push(waiting({ ...draft, seq, amount: 500 }));
        const served = order(shares, line, 0);
        expect(served.length).toBe(list.length);
        for (const client of ["a", "b", "c", "d"]) {
          for (const priority of names) {
            const own = served.filter(
              (item) => item.client === client && item.priority === priority,
            );
            expect(own.map(({ seq }) => seq)).toEqual(
              own.map(({ seq }) => seq).toSorted((a, b) => a - b),
            );
          }
        }
      }),
    );
  });
});
