import { expect, test } from "bun:test";
import * as fc from "fast-check";
import { Granted } from "../../src/ledger/redis-granted.ts";
import { Lead } from "../../src/ledger/redis-lead.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";
import { FakeClock } from "../clock.ts";
import { bucket } from "./costs.ts";
import { crowd, deepest } from "./crowd.ts";

const requests = (limit: number, window: "second" | "minute" = "second"): LimitSpec => ({
  kind: "token_bucket",
  unit: "requests",
  window,
  limit,
  marginMs: 1_000,
});

const step = fc.record({
  gapMs: fc.oneof({ weight: 6, arbitrary: fc.nat(60) }, fc.nat(3_000)),
  who: fc.nat(2),
  count: fc.integer({ min: 1, max: 12 }),
  amount: fc.integer({ min: 1, max: 20 }),
  actual: fc.nat(20),
  latencyMs: fc.nat(300),
  dies: fc.integer({ min: 0, max: 30 }),
});

test("no bucket ever has less than nothing in it, whoever asks, whoever dies, however long a trip takes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 40, size: "max" }),
      fc.array(fc.constantFrom(0, 3, 20, 45), { minLength: 3, maxLength: 3 }),
      async (steps, trips) => {
        const clock = new FakeClock();
        const all = crowd(clock, [requests(30), bucket(12_000)], 3);
        for (const [i, { store }] of all.entries()) store.lateMs = trips[i] ?? 0;
        await clock.tick(100);
        for (const { gapMs, who, count, amount, actual, latencyMs, dies } of steps) {
          const one = all[who];
          for (let i = 0; i < count; i++) one?.ask(amount, latencyMs, Math.min(actual, amount));
          await clock.tick(gapMs);
          if (dies === 0) one?.kill();
        }
        await clock.tick(30_000);
        const went = all.flatMap((one) => one.went);
        const each = went.map(({ at }) => ({ at, amount: 1 }));
        expect(deepest(each, 30, 1_000)).toBeLessThan(30.001);
        for (const one of all) if (!one.store.isDead) expect(one.went).toHaveLength(one.asked());
        for (const { ledger } of all) ledger.close();
      },
    ),
    { numRuns: 40 },
  );
}, 60_000);

test.each([0, 4, 12])(
  "a queue at a bucket's limit starts when there is room, not when an answer is there: trips of twice %d ms",
  async (lateMs) => {
    const clock = new FakeClock();
    const all = crowd(clock, [requests(100)], 1);
    const [one] = all;
    if (one === undefined) throw new Error("Nobody");
    one.store.lateMs = lateMs;
    for (let i = 0; i < 90; i++) one.ask(1, 0, 1);
    await clock.tick(100);
    for (let i = 0; i < 120; i++) one.ask(1, 0, 1);
    await clock.tick(500);
    const before = { sent: one.store.sent, went: one.went.length };
    await clock.tick(500);
    const times = one.went.slice(before.went).map(({ at }) => at);
    expect(times).toHaveLength(50);
    for (const [i, at] of times.entries())
      expect(at - (times[0] ?? 0)).toBeWithin(10 * i - 1, 10 * i + 1);
    // Room is promised for more than one at a time.
    expect(one.store.sent - before.sent).toBeLessThan(40);
    for (const { ledger } of all) ledger.close();
  },
);

test("who waits behind a burst that took all starts when the first of it has drained", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [requests(100)], 1);
  const [one] = all;
  if (one === undefined) throw new Error("Nobody");
  one.store.lateMs = 4;
  for (let i = 0; i < 120; i++) one.ask(1, 60, 1);
  await clock.tick(2_000);
  const times = one.went.map(({ at }) => at);
  expect(times).toHaveLength(120);
  // The first waits until the last of the burst has been reported, the others for one more to drain each.
  expect((times[100] ?? 0) - (times[99] ?? 0)).toBeLessThan(60 + 10 + 8 + 1);
  for (let i = 101; i < 120; i++) expect((times[i] ?? 0) - (times[i - 1] ?? 0)).toBeWithin(9, 12);
  for (const { ledger } of all) ledger.close();
});

test.each([
  { limit: 7, size: 2, latencyMs: 60 },
  { limit: 7, size: 4, latencyMs: 900 },
  { limit: 7, size: 2, latencyMs: 3_000 },
  { limit: 30, size: 2, latencyMs: 3_000 },
])("what others have in flight delays nobody after it is counted: %j", async (shape) => {
  const { limit, size, latencyMs } = shape;
  const clock = new FakeClock();
  const all = crowd(clock, [requests(limit)], size);
  for (const one of all) {
    one.store.lateMs = 1;
    for (let i = 0; i < (20 * limit) / size; i++) one.ask(1, latencyMs, 1);
  }
  await clock.tick(18_000);
  const went = all.flatMap((one) => one.went);
  const each = went.map(({ at }) => ({ at, amount: 1 }));
  expect(deepest(each, limit, 1_000)).toBeLessThan(limit + 0.001);
  const times = went.map(({ at }) => at).toSorted((a, b) => a - b);
  const gaps = times.slice(1).map((at, i) => at - (times[i] ?? 0));
  // All of a bucket is counted no later than a second after it left, reported in a tenth of one, and drains by one.
  expect(Math.max(...gaps)).toBeLessThan(1_000 + 100 + 1_000 / limit + 10);
  expect(went.length).toBeGreaterThan(0.85 * 18 * limit);
  const sent = all.reduce((sum, { store }) => sum + store.sent, 0);
  expect(sent / went.length).toBeLessThan(5);
  for (const { ledger } of all) ledger.close();
});

test("what is in flight is reported when it is due, though something was said before", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [requests(100)], 2);
  for (const { store } of all) store.lateMs = 1;
  await clock.tick(100);
  let sum = 0;
  for (let at = 0; at < 12_000; at += 50) {
    // Half as much again as there is room for.
    for (sum += 7.5; sum >= 1; sum--) all[Math.floor(sum) % 2]?.ask(1, 2_500, 1);
    await clock.tick(50);
  }
  expect(all.flatMap(({ went }) => went).length).toBeGreaterThan(0.85 * 1_200);
  for (const { ledger } of all) ledger.close();
});

test("what is promised comes free unit by unit, the last at its time", () => {
  const granted = new Granted();
  granted.add(2);
  granted.promise(5, 1_000, 0.1);
  const steps = [900, 959, 960, 989, 990, 999.999, 1_000].map((at) => granted.usable(at));
  expect(steps).toEqual([2, 2, 3, 5, 6, 6, 7]);
  const times = [2, 3, 6, 7].map((amount) => granted.usableAt(amount));
  for (const [i, at] of [-Infinity, 960, 990, 1_000].entries()) expect(times[i]).toBeCloseTo(at);
  granted.use(3);
  expect([granted.total, granted.usable(960), granted.usable(970)]).toEqual([4, 0, 1]);
  granted.promise(2, 980, 0.1);
  // Something came back: what was promised before has room by then, too.
  expect([granted.usable(980), granted.clear(), granted.total]).toEqual([6, 6, 0]);
});

test("what is to be usable at a time is usable then, whatever the pace", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5_000 }),
      fc.array(fc.record({ amount: fc.integer({ min: 1, max: 20 }), inMs: fc.nat(50_000) }), {
        minLength: 1,
        maxLength: 4,
      }),
      fc.nat(1_000),
      (perSecond, promises, part) => {
        const granted = new Granted();
        for (const { amount, inMs } of promises)
          granted.promise(amount, 1_700_000_000_000 + inMs / 1_000, perSecond / 1_000);
        const amount = Math.ceil((granted.total * part) / 1_000);
        expect(granted.usable(granted.usableAt(amount))).toBeGreaterThanOrEqual(amount);
      },
    ),
  );
});

test.each([30, 333, 470])(
  "a queue at a bucket of %d a second goes on to its end",
  async (limit) => {
    const clock = new FakeClock();
    const [one] = crowd(clock, [requests(limit)], 1);
    if (one === undefined) throw new Error("Nobody");
    one.store.lateMs = 3;
    for (let i = 0; i < 2 * limit; i++) one.ask(1, 0, 1);
    await clock.tick(1_100);
    expect(one.went).toHaveLength(2 * limit);
    one.ledger.close();
  },
);

test("a promised time never comes before Redis's own, whatever answers take and however clocks drift", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ gap: fc.nat(5_000), there: fc.nat(80), back: fc.nat(80) }), {
        minLength: 1,
      }),
      fc.double({ min: -0.0009, max: 0.0009, noNaN: true }),
      fc.integer({ min: -5_000, max: 5_000 }),
      (answers, drift, apart) => {
        const remote = (at: number): number => at + apart + at * drift;
        const lead = new Lead();
        let now = 0;
        for (const { gap, there, back } of answers) {
          now += gap;
          lead.hear(now, now + there + back, remote(now + there));
          now += there + back;
          const at = remote(now) + 50;
          expect(remote(lead.local(at))).toBeGreaterThan(at - 0.1);
          expect(lead.local(at)).toBeLessThan(now + 50 + 80 + 0.1);
        }
      },
    ),
  );
});
