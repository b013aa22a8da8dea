import { expect, test } from "bun:test";
import fc from "fast-check";
import { createDeadlines } from "../../src/upstream/deadlines.ts";
import type { Wait } from "../../src/upstream/deadlines.ts";
import { manualClock } from "./manual-clock.ts";

test("calls what was not ended in time, once and in order, with one timer", () => {
  const clock = manualClock();
  const deadlines = createDeadlines(clock, 100);
  const late: string[] = [];
  deadlines.begin({ late: () => late.push("a") });
  clock.advance(50);
  const b = deadlines.begin({ late: () => late.push("b") });
  deadlines.begin({ late: () => late.push("c") });
  expect(clock.timers()).toBe(1);
  b.end();
  clock.advance(49);
  expect(late).toEqual([]);
  clock.advance(1);
  expect(late).toEqual(["a"]);
  clock.advance(1000);
  expect(late).toEqual(["a", "c"]);
  expect(clock.timers()).toBe(0);
});

test("what is called may begin and end waits", () => {
  const clock = manualClock();
  const deadlines = createDeadlines(clock, 10);
  let runs = 0;
  const again = { late: () => void (++runs < 5 && deadlines.begin(again)) };
  deadlines.begin(again);
  clock.advance(49);
  expect(runs).toBe(4);
  clock.advance(1);
  expect(runs).toBe(5);
});

test("close forgets all", () => {
  const clock = manualClock();
  const deadlines = createDeadlines(clock, 10);
  deadlines.begin({ late: () => expect.unreachable() });
  deadlines.close();
  expect(clock.timers()).toBe(0);
  clock.advance(100);
});

test("every wait runs out on time unless it was ended before", () => {
  const step = fc.record({ advance: fc.nat(30), end: fc.option(fc.nat(50)) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clock = manualClock();
      const deadlines = createDeadlines(clock, 100);
      const waits = steps.map(({ advance, end }, index) => {
        const wait = {
          from: clock.now(),
          endedAt: Infinity,
          lateAt: Infinity,
          handle: deadlines.begin({ late: () => (wait.lateAt = clock.now()) }),
        };
        void index;
        clock.advance(advance);
        return { wait, end };
      });
      for (const { wait, end } of waits) {
        if (end === null || wait.lateAt !== Infinity) continue;
        wait.handle.end();
        wait.handle.end();
        wait.endedAt = clock.now();
      }
      clock.advance(1000);
      for (const { wait } of waits)
        expect(wait.lateAt).toBe(wait.endedAt === Infinity ? wait.from + 100 : Infinity);
    }),
  );
});

test("a wait that is begun anew runs out as long after that as any other, with one timer for all", () => {
  const step = fc.record({
    what: fc.constantFrom("begin", "restart", "restart", "end"),
    which: fc.nat(20),
    advance: fc.nat(60),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const clock = manualClock();
      const deadlines = createDeadlines(clock, 100);
      const waits: { due: number; lateAt: number[]; expected: number[]; handle: Wait }[] = [];
      const pass = (ms: number): void => {
        clock.advance(ms);
        for (const wait of waits) {
          if (wait.due > clock.now()) continue;
          wait.expected.push(wait.due);
          wait.due = Infinity;
        }
      };
      for (const { what, which, advance } of steps) {
        if (what === "begin" || waits.length === 0) {
          const lateAt: number[] = [];
          const handle = deadlines.begin({ late: () => lateAt.push(clock.now()) });
          waits.push({ due: clock.now() + 100, lateAt, expected: [], handle });
        } else {
          const wait = waits[which % waits.length]!;
          if (what === "end") wait.handle.end();
          else wait.handle.restart();
          wait.due = what === "end" ? Infinity : clock.now() + 100;
        }
        expect(clock.timers()).toBeLessThanOrEqual(1);
        pass(advance);
      }
      pass(1_000);
      for (const { lateAt, expected } of waits) expect(lateAt).toEqual(expected);
      expect(clock.timers()).toBe(0);
    }),
    { numRuns: 500 },
  );
});
