import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { FakeClock } from "../clock.ts";
import { leaky } from "./costs.ts";
import { crowd } from "./crowd.ts";

/** How much sooner than its rate allows any of these came, in requests, over `burst`: as a leaky bucket sees them. */
function excess(times: readonly number[], perSecond: number, burst: number): number {
  let level = 0;
  let last = 0;
  let most = 0;
  for (const at of times.toSorted((a, b) => a - b)) {
    level = Math.max(0, level - ((at - last) * perSecond) / 1_000) + 1;
    last = at;
    most = Math.max(most, level);
  }
  return most - burst;
}

test.each([
  { perSecond: 400, burst: 1, size: 4 },
  { perSecond: 400, burst: 1, size: 1 },
  { perSecond: 100, burst: 20, size: 4 },
])("far from the limit few requests ask, and none waits long: %o", async (row) => {
  const { perSecond, burst, size } = row;
  const clock = new FakeClock();
  const all = crowd(clock, [leaky(perSecond, burst)], size);
  const asked: number[] = [];
  for (let n = 0; n < 400; n++) {
    const one = all[n % size];
    asked.push(clock.now());
    one?.ask(1, 0, 1);
    await clock.tick(23);
  }
  await clock.tick(100);
  const went = all.flatMap((one) => one.went.map(({ at }) => at)).toSorted((a, b) => a - b);
  expect(went).toHaveLength(400);
  const waits = went.map((at, i) => at - (asked[i] ?? 0));
  expect(all.reduce((sum, { store }) => sum + store.sent, 0) / 400).toBeLessThan(0.3);
  expect(Math.max(...waits)).toBeLessThanOrEqual(5.1);
  for (const { ledger } of all) ledger.close();
});

const step = fc.record({
  gapMs: fc.oneof({ weight: 8, arbitrary: fc.nat(40) }, fc.nat(3_000)),
  who: fc.nat(3),
  count: fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 30 })),
  dies: fc.integer({ min: 0, max: 60 }),
  forgets: fc.integer({ min: 0, max: 80 }),
  rate: fc.integer({ min: 0, max: 40 }),
});

test.each([
  { perSecond: 400, burst: 1 },
  { perSecond: 150, burst: 6 },
])(
  "no span has more than a leaky bucket lets through, whoever asks, whoever dies: %o",
  async (row) => {
    const { perSecond, burst } = row;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 20, maxLength: 120, size: "max" }),
        async (steps) => {
          const clock = new FakeClock();
          const all = crowd(clock, [leaky(perSecond, burst)], 4);
          let wanted = 0;
          for (const { gapMs, who, count, dies, forgets } of steps) {
            const one = all[who];
            for (let i = 0; i < count; i++) one?.ask(1, 0, 1);
            wanted += one?.store.isDead === true ? 0 : count;
            await clock.tick(gapMs);
            if (dies === 0) one?.kill();
            if (forgets === 0) {
              all.model.states.clear();
              for (const { store } of all) if (!store.isDead) store.onConnect();
            }
          }
          await clock.tick(15_000);
          const times = all.flatMap(({ went }) => went.map(({ at }) => at));
          // A turn may be used up to 5 ms late.
          expect(excess(times, perSecond, burst)).toBeLessThanOrEqual(perSecond * 0.005 + 0.01);
          const alive = all.filter(({ store }) => !store.isDead);
          expect(alive.every(({ asked, went }) => went.length === asked())).toBe(true);
          expect(times.length).toBeLessThanOrEqual(wanted);
          for (const { ledger } of all) ledger.close();
        },
      ),
      { numRuns: 100 },
    );
  },
  60_000,
);

test("who needs more than its comb has it within moments, and the others lose nothing", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [leaky(400)], 4);
  for (let n = 0; n < 200; n++) {
    all[n % 4]?.ask(1, 0, 1);
    await clock.tick(23);
  }
  const before = all[0]?.went.length ?? 0;
  const at = clock.now();
  for (let n = 0; n < 40; n++) all[0]?.ask(1, 0, 1);
  for (let n = 0; n < 12; n++) {
    for (const one of all.slice(1)) one.ask(1, 0, 1);
    await clock.tick(20);
  }
  const last = (all[0]?.went ?? []).slice(before).at(-1);
  expect(all.map(({ asked, went }) => asked() - went.length)).toEqual([0, 0, 0, 0]);
  // 76 requests at 400 a second take 190 ms.
  expect((last?.at ?? 0) - at).toBeLessThan(230);
  for (const { ledger } of all) ledger.close();
});

test.each([1, 4])(
  "one client that asks again at once is not held to a comb, of %d processes",
  async (size) => {
    const clock = new FakeClock();
    const all = crowd(clock, [leaky(400)], size);
    const [one] = all;
    one?.ask(1, 0, 1);
    await clock.tick(10);
    const at = clock.now();
    const gone = one?.went.length ?? 0;
    for (let n = 0; n < 4_000; n++) {
      if (one?.asked() === one?.went.length) one?.ask(1, 0, 1);
      await clock.tick(0.5);
    }
    const perSecond = ((one?.went.length ?? 0) - gone) / ((clock.now() - at) / 1_000);
    expect(perSecond).toBeGreaterThan(320);
    for (const { ledger } of all) ledger.close();
  },
);
