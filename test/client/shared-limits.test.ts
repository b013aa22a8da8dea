import { afterAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { ClientTaken, LimitedClient } from "../../src/client/limiter.ts";
import type { ClientLimitsConfig } from "../../src/client/plan.ts";
import type { ClientRefusal } from "../../src/client/refusal.ts";
import { SharedClientLimits } from "../../src/client/shared-limits.ts";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { RedisServer } from "../../src/ledger/redis-store.ts";
import type { OnFailure } from "../../src/ledger/redis.ts";
import { RedisLedger } from "../../src/ledger/redis.ts";
import { FakeClock } from "../clock.ts";
import { ModelStore } from "../ledger/model-store.ts";
import { RedisModel } from "../ledger/redis-model.ts";
import { hasRedis, startRedis } from "../ledger/redis-server.ts";

const base: ClientLimitsConfig = {
  rate_limit: 60,
  burst: null,
  algorithm: "token_bucket",
  idle_ttl: 3_600_000,
  tiers: { small: { rpm: 10, tpm: 1_000 } },
  keys: [{ name: "ci", tier: "small" }],
};
const one = { id: "ip:1.2.3.4", tier: null };
const keyed = { id: "key:ci", tier: { name: "small" } };
const request = { requests: 1, tokens: 0 };

/** Processes that share a Redis, each with a clock of its own. */
function world(given: Partial<ClientLimitsConfig> = {}) {
  const clock = new FakeClock();
  const model = new RedisModel();
  const start = (lateMs = 0) => {
    const own: Clock = {
      now: () => clock.now() + lateMs,
      at: (at, run) => clock.at(at - lateMs, run),
    };
    const store = new ModelStore(model, () => clock.now());
    let sent = 0;
    const exchange = store.exchange.bind(store);
    store.exchange = (...args) => {
      sent++;
      exchange(...args);
    };
    const ledger = new RedisLedger({
      store,
      clock: own,
      onFailure: "closed",
      defer: (run) => void clock.at(clock.now(), run),
    });
    const limits = new SharedClientLimits({ clock: own, config: { ...base, ...given }, ledger });
    const take = async (
      client: LimitedClient = one,
      cost = request,
    ): Promise<ClientTaken | ClientRefusal> => {
      const answer = Promise.resolve(limits.take(client, cost));
      let isHere = false;
      void answer.then(() => (isHere = true));
      for (let n = 0; n < 100; n++) {
        await clock.tick(0);
        if (isHere) break;
        await clock.tick(1);
      }
      return answer;
    };
    return { limits, ledger, take, sent: () => sent };
  };
  return { clock, model, start };
}

function close(...all: ReturnType<ReturnType<typeof world>["start"]>[]): void {
  for (const { limits, ledger } of all) {
    limits.close();
    ledger.close();
  }
}

describe.each(["token_bucket", "leaky_bucket", "sliding_window"] as const)("%s", (algorithm) => {
  test("a client has its limit once, wherever its requests arrive, and all of it", async () => {
    const { start } = world({ algorithm });
    const all = [start(), start(5_000), start(-5_000)];
    const counts = [40, 10, 30];
    let went = 0;
    let last: ClientTaken | ClientRefusal | null = null;
    for (const [i, count] of counts.entries())
      for (let n = 0; n < count; n++) {
        last = (await all[i]?.take()) ?? null;
        if (last?.ok === true) went++;
      }
    expect(went).toBe(60);
    if (last === null || last.ok) throw new Error("It was let through");
    expect(last.requests).toEqual({ limit: 60, remaining: 0 });
    expect(last.retryAfterMs).toBeWithin(1, algorithm === "sliding_window" ? 60_200 : 1_001);
    close(...all);
  });

  test("in no span more than the limit, whoever asks, takes back, or goes away", async () => {
    const step = fc.record({
      gapMs: fc.oneof({ weight: 5, arbitrary: fc.nat(300) }, fc.nat(20_000)),
      who: fc.nat(2),
      count: fc.integer({ min: 1, max: 15 }),
      gives: fc.nat(3),
      ends: fc.integer({ min: 0, max: 20 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 30 }), async (steps) => {
        const { clock, start } = world({ algorithm, rate_limit: 30, burst: 20 });
        const all = [start(), start(3_000), start()];
        const live = [...all];
        let went: number[] = [];
        for (const { gapMs, who, count, gives, ends } of steps) {
          await clock.tick(gapMs);
          const process = live[who % live.length];
          for (let n = 0; n < count; n++) {
            const taken = await process?.take();
            if (taken?.ok !== true) continue;
            if (n < gives) process?.limits.giveBack(one, request, taken.at);
            else went.push(clock.now());
          }
          if (ends === 0 && live.length > 1) close(...live.splice(who % live.length, 1));
        }
        went = went.toSorted((a, b) => a - b);
        for (let from = 0; from < went.length; from++) {
          for (let to = from; to < went.length; to++) {
            const ms = (went[to] ?? 0) - (went[from] ?? 0);
            if (algorithm !== "sliding_window")
              expect(to - from + 1).toBeLessThanOrEqual(20 + (30 * ms) / 60_000 + 1e-6);
            else if (ms < 60_000) expect(to - from + 1).toBeLessThanOrEqual(30);
          }
        }
        close(...live);
      }),
      { numRuns: 25 },
    );
  }, 60_000);
});

test("requests that come together ask once, and are told in order", async () => {
  const { clock, start } = world();
  const here = start();
  await here.take();
  const before = here.sent();
  const answers = Promise.all(
    Array.from({ length: 100 }, async () => here.limits.take(one, request)),
  );
  await clock.tick(50);
  const told = (await answers).map(({ ok }) => ok);
  expect(told.filter(Boolean)).toHaveLength(59);
  expect(told.lastIndexOf(true)).toBe(58);
  expect(here.sent() - before).toBeLessThanOrEqual(3);
  close(here);
});

test("a busy client far from its limit asks seldom, and is answered at once", async () => {
  const { clock, start } = world({ rate_limit: 60_000 });
  const here = start();
  const other = start();
  let atOnce = 0;
  for (let n = 0; n < 2_000; n++) {
    const answer = here.limits.take(one, request);
    if (!(answer instanceof Promise)) atOnce++;
    await clock.tick(2);
    expect((await answer).ok).toBe(true);
  }
  expect(atOnce).toBeGreaterThan(1_900);
  expect(here.sent()).toBeLessThan(60);
  // What it holds is the others' again soon.
  await clock.tick(5_000);
  const shown = await Promise.all([other.limits.get(one.id), clock.tick(10)]);
  expect(shown[0]).toBeNull();
  close(here, other);
});

test("who is told to wait is not asked about again until then", async () => {
  const { clock, start } = world({ burst: 1 });
  const here = start();
  expect((await here.take()).ok).toBe(true);
  expect((await here.take()).ok).toBe(false);
  const before = here.sent();
  for (let n = 0; n < 50; n++) {
    const answer = here.limits.take(one, request);
    expect(answer).not.toBeInstanceOf(Promise);
  }
  expect(here.sent()).toBe(before);
  await clock.tick(1_000);
  expect((await here.take()).ok).toBe(true);
  close(here);
});

test("tokens are corrected when the request has ended, in whichever direction", async () => {
  const { clock, start } = world();
  const [here, there] = [start(), start()];
  const large = { requests: 0, tokens: 900 };
  const first = await here.take(keyed, large);
  if (!first.ok) throw new Error("It was refused");
  expect((await there.take(keyed, large)).ok).toBe(false);
  here.limits.settle(keyed, -850, first.at);
  await clock.tick(2_000);
  const left = async () => (await Promise.all([there.limits.get("key:ci"), clock.tick(10)]))[0];
  // 50 were used, and have drained a little since.
  expect((await left())?.tokens_remaining).toBeWithin(950, 1_000);
  here.limits.settle(keyed, 2_000, first.at);
  await clock.tick(2_000);
  expect((await left())?.tokens_remaining).toBe(0);
  const tooMuch = await there.take(keyed, { requests: 0, tokens: 1_001 });
  expect(tooMuch).toMatchObject({ ok: false, retryAfterMs: Infinity });
  close(here, there);
});

test("a reset is heard by all", async () => {
  const { clock, start } = world({ burst: 1 });
  const [here, there] = [start(), start()];
  await here.take();
  expect((await there.take()).ok).toBe(false);
  const reset = here.limits.reset(one.id);
  await clock.tick(10);
  expect(await reset).toBe(true);
  expect((await there.take()).ok).toBe(true);
  const unknown = [here.limits.reset("ip:9.9.9.9"), here.limits.reset("key:none")];
  await clock.tick(10);
  expect(await Promise.all(unknown)).toEqual([false, false]);
  close(here, there);
});

test("a changed limit is in force for what was used before", async () => {
  const { clock, start } = world({ burst: 30 });
  const here = start();
  for (let n = 0; n < 20; n++) await here.take();
  here.limits.configure({ ...base, burst: 25 });
  await clock.tick(10);
  let went = 0;
  for (let n = 0; n < 20; n++) if ((await here.take()).ok) went++;
  expect(went).toBeWithin(5, 7);
  here.limits.configure({ ...base, rate_limit: 0 });
  expect(here.limits.take(one, request)).toMatchObject({ ok: true, limit: null });
  close(here);
});

// Needs the program `redis-server`.
describe.skipIf(!hasRedis)("on a real Redis", async () => {
  const server = hasRedis ? await startRedis() : null;
  afterAll(async () => server?.stop());

  async function open(onFailure: OnFailure, count: number) {
    const prefix = `${crypto.randomUUID()}:`;
    const clock = systemClock();
    let told: () => void = () => undefined;
    const all = Array.from({ length: count }, () => {
      const waiters: (() => void)[] = [];
      const store = new RedisServer(server?.url ?? "", prefix, clock);
      const ledger = new RedisLedger({
        store,
        clock,
        onFailure,
        onChange: () => waiters.splice(0).forEach((tell) => tell()),
      });
      const { onCount } = store;
      store.onCount = (parts) => {
        onCount(parts);
        told();
      };
      const limits = new SharedClientLimits({
        clock,
        config: { ...base, rate_limit: 10, algorithm: "sliding_window" },
        ledger,
      });
      const changed = () => new Promise<void>((resolve) => void waiters.push(resolve));
      return { store, ledger, limits, changed };
    });
    while (all.some(({ ledger }) => ledger.parts < count))
      await new Promise<void>((resolve) => void (told = resolve));
    const took = async (i: number): Promise<boolean> =>
      (await all[i]?.limits.take(one, request))?.ok === true;
    const end = async (): Promise<void> => {
      for (const { limits, ledger } of all) {
        limits.close();
        ledger.close();
        await ledger.closed;
      }
    };
    return { all, took, end };
  }

  test("a client has its limit once, and its keys go by themselves", async () => {
    const { all, took, end } = await open("closed", 2);
    const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => took(n % 2)));
    expect(answers.filter(Boolean)).toHaveLength(10);
    expect(await all[1]?.limits.get(one.id)).toMatchObject({ limit: 10, remaining: 0 });
    const keys = (await server?.client().send("KEYS", ["*client*"])) as string[];
    expect(keys).toHaveLength(1);
    const ttl = Number(await server?.client().send("PTTL", [keys[0] ?? ""]));
    expect(ttl).toBeWithin(60_000, 150_000);
    await end();
  });

  test.each([
    ["closed", "refused"],
    ["open", 30],
    // Two processes share ten, of which one has used four.
    ["local", 1],
  ] as const)(
    "Redis dies and comes back: %s",
    async (onFailure, expected) => {
      const { all, took, end } = await open(onFailure, 2);
      for (let n = 0; n < 4; n++) expect(await took(0)).toBe(true);
      const lost = Promise.all(all.map(({ changed }) => changed()));
      await server?.kill();
      // Asked while nobody answers: told what the policy says.
      const waiting = Promise.allSettled([took(0)]);
      await lost;
      const [first] = await waiting;
      if (expected === "refused") {
        expect(first).toMatchObject({ reason: { code: "STORE_UNAVAILABLE" } });
        const [next] = await Promise.allSettled([took(0)]);
        expect(next).toMatchObject({ reason: { code: "STORE_UNAVAILABLE" } });
      } else {
        expect(first).toMatchObject({ value: true });
        let went = 1;
        for (let n = 0; n < 29; n++) if (await took(0)) went++;
        expect(went).toBe(expected);
      }
      const back = Promise.all(all.map(({ changed }) => changed()));
      await server?.start();
      await back;
      // This Redis keeps nothing: the limit begins anew, once for both.
      const answers = await Promise.all(Array.from({ length: 30 }, (_, n) => took(n % 2)));
      expect(answers.filter(Boolean)).toHaveLength(10);
      await end();
    },
    20_000,
  );
});
