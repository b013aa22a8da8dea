import { expect, test } from "bun:test";
import { FakeClock } from "../clock.ts";
import { account, leaky, rpm } from "./costs.ts";
import { crowd, deepest, peak } from "./crowd.ts";

/** Two processes, of which the first has used 40 of 60 a minute, as Redis is emptied. */
async function emptied(clock: FakeClock): Promise<ReturnType<typeof crowd>> {
  const all = crowd(clock, [rpm(60)], 2);
  const [one] = all;
  for (let i = 0; i < 40; i++) one?.ask(1, 10, 1);
  await clock.tick(20_000);
  all.model.states.clear();
  return all;
}

const limits = [
  ["a window", rpm(60)],
  ["a leaky bucket", leaky(10)],
] as const;

test.each(limits)("after a long pause a request goes at once: %s", async (_, limit) => {
  const clock = new FakeClock();
  const all = crowd(clock, [limit], 2);
  all[0]?.ask(1, 10, 1);
  await clock.tick(300_000);
  const at = clock.now();
  all[0]?.ask(1, 10, 1);
  await clock.tick(50);
  expect(all[0]?.went[1]?.at).toBeWithin(at, at + 20);
  for (const { ledger } of all) ledger.close();
});

test("turns far apart are kept for the others, however long nobody asks", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [leaky(0.01)], 2);
  const [one, other] = all;
  one?.ask(1, 10, 1);
  await clock.tick(50_000);
  other?.ask(1, 10, 1);
  await clock.tick(60_000);
  const [first, second] = all.flatMap(({ went }) => went.map(({ at }) => at));
  expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(99_990);
  for (const { ledger } of all) ledger.close();
});

test("a Redis that comes back empty hears what was used before it grants to those who used nothing", async () => {
  const clock = new FakeClock();
  const all = await emptied(clock);
  const [one, other] = all;
  other?.store.onConnect();
  for (let i = 0; i < 60; i++) other?.ask(1, 10, 1);
  await clock.tick(400);
  one?.store.onConnect();
  await clock.tick(5_000);
  const went = all.flatMap((process) => process.went);
  expect(peak(went, 60_000)).toBe(60);
  for (const { ledger } of all) ledger.close();
});

test.each([
  { limit: 30, window: "second", forMs: 20_000 },
  { limit: 600, window: "minute", forMs: 200_000 },
] as const)(
  "a Redis that comes back empty goes on with a bucket at its pace: %j",
  async (shape) => {
    const { limit, window, forMs } = shape;
    const perMs = limit / (window === "second" ? 1_000 : 60_000);
    const clock = new FakeClock();
    const spec = {
      kind: "token_bucket",
      unit: "requests",
      window,
      limit,
      marginMs: 1_000,
    } as const;
    const all = crowd(clock, [spec], 3);
    const saturate = async (ms: number): Promise<void> => {
      for (let at = 0; at < ms; at += 500) {
        for (const one of all)
          for (let n = 0; n < 500 * perMs; n++)
            if (one.asked() - one.went.length < 300) one.ask(1, 10, 1);
        await clock.tick(500);
      }
    };
    await saturate(forMs);
    all.model.states.clear();
    for (const { store } of all) store.onConnect();
    const at = clock.now();
    await saturate(10_000);
    const went = all.flatMap((process) => process.went).map((item) => ({ ...item, amount: 1 }));
    expect(deepest(went, limit, limit / perMs)).toBeLessThan(limit + 0.001);
    // It grants nothing for 1.5 s.
    expect(went.filter((item) => item.at > at).length).toBeGreaterThan((10_000 - 2_000) * perMs);
    for (const { ledger } of all) ledger.close();
  },
);

test("what a dead process held drains from a bucket from its last moment on, whoever looks when", async () => {
  const clock = new FakeClock();
  const limit = { kind: "token_bucket", unit: "requests", window: "minute", limit: 60 } as const;
  const all = crowd(clock, [{ ...limit, marginMs: 1_000 }], 2);
  const [one, other] = all;
  other?.ask(1, 10, 1);
  for (let i = 0; i < 20; i++) one?.ask(1, 5_000, 1);
  await clock.tick(100);
  one?.kill();
  // Its time is up after ten seconds, and what it held is counted a second later at the latest.
  await clock.tick(33_000);
  for (let i = 0; i < 60; i++) other?.ask(1, 10, 1);
  // Beyond its share it takes a part of what is left at a time.
  await clock.tick(2_000);
  expect(other?.went).toHaveLength(61);
  for (const { ledger } of all) ledger.close();
});

test("a Redis that somebody empties is noticed within two seconds", async () => {
  const clock = new FakeClock();
  const all = await emptied(clock);
  const [, other] = all;
  all.model.members.clear();
  await clock.tick(2_100);
  for (let i = 0; i < 60; i++) other?.ask(1, 10, 1);
  await clock.tick(5_000);
  const went = all.flatMap((process) => process.went);
  expect(peak(went, 60_000)).toBe(60);
  for (const { ledger } of all) ledger.close();
});

test("a rate that is changed after everything was forgotten takes the next turn nowhere", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [leaky(10)], 1);
  const [one] = all;
  one?.ask(1, 10, 1);
  await clock.tick(1_000);
  all.model.states.clear();
  one?.store.onConnect();
  await clock.tick(2_000);
  one?.ledger.account(account("quota", [leaky(1)]));
  one?.ask(1, 10, 1);
  await clock.tick(2_000);
  expect(one?.went).toHaveLength(2);
  one?.ledger.close();
});

test("while an emptied Redis listens, those that wait do not wake each other", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [leaky(10)], 2);
  for (const one of all) one.ask(1, 10, 1);
  await clock.tick(5_000);
  all.model.states.clear();
  for (const { store } of all) store.onConnect();
  const before = all.map(({ store }) => store.sent);
  for (const one of all) one.ask(1, 10, 1);
  await clock.tick(1_000);
  for (const [i, { store }] of all.entries())
    expect(store.sent - (before[i] ?? 0)).toBeLessThanOrEqual(4);
  await clock.tick(1_000);
  expect(all.map(({ went }) => went.length)).toEqual([2, 2]);
  for (const { ledger } of all) ledger.close();
});
