import { afterAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { Path } from "../../src/admission/path.ts";
import { Scheduler } from "../../src/admission/scheduler.ts";
import { systemClock } from "../../src/clock.ts";
import type { ProxyError } from "../../src/errors.ts";
import type { OnFailure } from "../../src/ledger/redis.ts";
import { RedisLedger } from "../../src/ledger/redis.ts";
import { RedisServer } from "../../src/ledger/redis-store.ts";
import { FakeClock } from "../clock.ts";
import { account, bucket, leaky, rpm, slots, tokens, tpm } from "./costs.ts";
import { crowd, patient, peak } from "./crowd.ts";
import { ModelStore } from "./model-store.ts";
import { RedisModel } from "./redis-model.ts";
import { hasRedis, startRedis } from "./redis-server.ts";

const step = fc.record({
  gapMs: fc.oneof({ weight: 6, arbitrary: fc.nat(2_000) }, fc.nat(30_000)),
  who: fc.nat(2),
  count: fc.integer({ min: 1, max: 12 }),
  amount: fc.integer({ min: 1, max: 20 }),
  latencyMs: fc.nat(3_000),
  dies: fc.integer({ min: 0, max: 30 }),
});

test("no window ever has more than the limit in it, whoever asks, whoever dies", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 40, size: "max" }),
      async (steps) => {
        const clock = new FakeClock();
        const all = crowd(clock, [rpm(30), tpm(200)], 3);
        for (const { gapMs, who, count, amount, latencyMs, dies } of steps) {
          const one = all[who];
          for (let i = 0; i < count; i++) one?.ask(amount, latencyMs, amount);
          await clock.tick(gapMs);
          if (dies === 0) one?.kill();
        }
        await clock.tick(130_000);
        const went = all.flatMap((one) => one.went);
        expect(peak(went, 60_000)).toBeLessThanOrEqual(200);
        expect(
          peak(
            went.map(({ at }) => ({ at, amount: 1 })),
            60_000,
          ),
        ).toBeLessThanOrEqual(30);
        for (const { ledger } of all) ledger.close();
      },
    ),
    { numRuns: 40 },
  );
}, 60_000);

/** A store that does not reach the nodes of some accounts: at once it says so, or it never answers. */
class Torn extends ModelStore {
  readonly gone = new Map<string, "refused" | "silent">();
  givenUp = 0;

  override exchange(account: string, message: string, done: (reply: string | null) => void): void {
    const how = this.gone.get(account);
    if (how === "refused") done(null);
    if (how === undefined) super.exchange(account, message, done);
  }

  override giveUp(): void {
    this.givenUp++;
  }
}

test.each(["refused", "silent"] as const)(
  "where one node of a cluster is gone (%s), its accounts alone go by the policy until it is back",
  async (how) => {
    const clock = new FakeClock();
    const store = new Torn(new RedisModel(), () => clock.now());
    const changes: boolean[] = [];
    const ledger = new RedisLedger({
      store,
      clock,
      onFailure: "closed",
      defer: (run) => void clock.at(clock.now(), run),
      onChange: (isUp) => void changes.push(isUp),
    });
    const scheduler = new Scheduler(clock, ledger);
    const ask = (name: string): string[] => {
      const path = new Path([ledger.account({ ...account("q", [rpm(100)]), name, group: name })]);
      const ends: string[] = [];
      const go = async (): Promise<void> => {
        const lease = await scheduler.admit({ ...patient, path, cost: tokens(1) });
        if ("refused" in lease) return void ends.push(lease.refused);
        await Promise.resolve(lease.committed).then(
          () => ends.push("went"),
          (error: ProxyError) => ends.push(error.code),
        );
        lease.commit(tokens(1));
      };
      void go();
      return ends;
    };
    store.gone.set("one", how);
    const [lost, kept] = [ask("one"), ask("two")];
    await clock.tick(500);
    expect([lost, kept]).toEqual([[], ["went"]]);
    await clock.tick(1_000);
    expect(lost).toEqual(["STORE_UNAVAILABLE"]);
    const [again, other] = [ask("one"), ask("two")];
    await clock.tick(2_000);
    expect([again, other]).toEqual([["STORE_UNAVAILABLE"], ["went"]]);
    expect(store.givenUp > 0).toBe(how === "silent");
    expect(ledger.healthy()).toBe(true);

    store.gone.clear();
    await clock.tick(2_500);
    const after = ask("one");
    await clock.tick(500);
    expect(after).toEqual(["went"]);
    expect(changes).toEqual([false, true]);
    ledger.close();
  },
);

test("all that wait go in the end, and two share fairly", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [rpm(100)], 2);
  for (const one of all) for (let i = 0; i < 300; i++) one.ask(1, 100, 1);
  await clock.tick(30_000);
  for (const { went } of all) expect(went.length).toBeGreaterThanOrEqual(45);
  await clock.tick(200_000);
  const counts = all.map(({ went }) => went.length);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(390);
  for (const count of counts) expect(count).toBeGreaterThanOrEqual(160);
  for (const { ledger } of all) ledger.close();
});

test("what one gives back another takes at once", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [slots(10), bucket(1_000)], 2);
  const [one, other] = all;
  for (let i = 0; i < 40; i++) one?.ask(10, 5_000, 10);
  await clock.tick(1_000);
  expect(one?.went.length).toBe(10);
  for (let i = 0; i < 5; i++) other?.ask(10, 5_000, 10);
  await clock.tick(4_500);
  expect(other?.went.length).toBeGreaterThanOrEqual(4);
  for (const { ledger } of all) ledger.close();
});

test("a large request is not starved by the small ones of another process", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [tpm(100)], 2);
  const [one, other] = all;
  for (let i = 0; i < 400; i++) other?.ask(5, 100, 5);
  await clock.tick(1_000);
  one?.ask(90, 100, 90);
  await clock.tick(65_000);
  expect(one?.went.length).toBe(1);
  for (const { ledger } of all) ledger.close();
});

test("who waits for others asks so that its question is there when there is room: half a trip is lost", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [bucket(60)], 2);
  const [one, other] = all;
  for (const { store } of all) store.lateMs = 40;
  one?.ask(60, 0, 60);
  await clock.tick(5_000);
  other?.ask(30, 0, 30);
  await clock.tick(60_000);
  // What was used is in the bucket from when it was told on: one trip late.
  expect((other?.went[0]?.at ?? 0) - (one?.went[0]?.at ?? 0)).toBeWithin(30_000, 30_000 + 100);
  for (const { ledger } of all) ledger.close();
});

test("turns of a leaky bucket are one interval apart, over all processes", async () => {
  const clock = new FakeClock();
  const all = crowd(clock, [leaky(100)], 3);
  for (const one of all) for (let i = 0; i < 100; i++) one.ask(1, 10, 1);
  await clock.tick(3_500);
  const times = all.flatMap(({ went }) => went.map(({ at }) => at)).sort((a, b) => a - b);
  expect(times).toHaveLength(300);
  for (let i = 1; i < times.length; i++)
    expect((times[i] ?? 0) - (times[i - 1] ?? 0)).toBeGreaterThanOrEqual(9.9);
  expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeLessThan(3_100);
  for (const { ledger } of all) ledger.close();
});

// Needs the program `redis-server`.
describe.skipIf(!hasRedis)("on a real Redis", async () => {
  const server = hasRedis ? await startRedis() : null;
  afterAll(async () => server?.stop());

  function open(onFailure: OnFailure) {
    const clock = systemClock();
    const store = new RedisServer(server?.url ?? "", `${crypto.randomUUID()}:`, clock);
    const changes: { isUp: boolean; tell: () => void }[] = [];
    const waiters: (() => void)[] = [];
    const ledger = new RedisLedger({
      store,
      clock,
      onFailure,
      onChange: (isUp) => {
        changes.push({ isUp, tell: () => undefined });
        for (const tell of waiters.splice(0)) tell();
      },
    });
    const scheduler = new Scheduler(clock, ledger);
    const path = new Path([ledger.account(account("quota", [rpm(100)]))]);
    const ask = async () => scheduler.admit({ ...patient, path, cost: tokens(1) });
    const changed = () => new Promise<void>((resolve) => void waiters.push(resolve));
    return { ledger, store, ask, changed, changes };
  }

  test("requests go before and after its scripts were flushed", async () => {
    const { ledger, ask } = open("closed");
    const first = await ask();
    expect("commit" in first && first.committed).toBeNull();
    await server?.client().send("SCRIPT", ["FLUSH"]);
    const rest = await Promise.all(Array.from({ length: 99 }, ask));
    expect(rest.every((lease) => "commit" in lease)).toBe(true);
    ledger.close();
    await ledger.closed;
  });

  test.each(["closed", "open", "local"] as const)(
    "Redis dies and comes back: %s",
    async (onFailure) => {
      const { ledger, ask, changed, changes } = open(onFailure);
      await ask();
      const lost = changed();
      await server?.kill();
      await lost;
      expect(ledger.healthy()).toBe(onFailure !== "closed");
      const lease = await ask();
      if (!("commit" in lease)) throw new Error("It was refused");
      if (onFailure === "closed") {
        const error: unknown = await lease.committed?.catch((reason: unknown) => reason);
        expect(error).toMatchObject({ code: "STORE_UNAVAILABLE" });
        lease.cancel();
      } else {
        await lease.committed;
        lease.commit(tokens(1));
      }
      const back = changed();
      await server?.start();
      await back;
      expect(ledger.healthy()).toBe(true);
      expect("commit" in (await ask())).toBe(true);
      expect(changes.map(({ isUp }) => isUp)).toEqual([false, true]);
      expect(ledger.failures).toBe(1);
      ledger.close();
      await ledger.closed;
    },
    20_000,
  );

  test("what is said of a failure has no password in it", async () => {
    const clock = systemClock();
    const store = new RedisServer("redis://me:hunter2@127.0.0.1:1", "x:", clock);
    const down = Promise.withResolvers<string>();
    const ledger = new RedisLedger({
      store,
      clock,
      onFailure: "open",
      onChange: (_, reason) => down.resolve(reason),
    });
    expect(await down.promise).not.toContain("hunter2");
    ledger.close();
    await ledger.closed;
  });
});
