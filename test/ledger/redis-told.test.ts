import { afterAll, describe, expect, test } from "bun:test";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import type { Account } from "../../src/ledger/account.ts";
import type { Entry } from "../../src/ledger/redis-board.ts";
import { Board } from "../../src/ledger/redis-board.ts";
import { RedisServer } from "../../src/ledger/redis-store.ts";
import { RedisLedger } from "../../src/ledger/redis.ts";
import type { LimitHint } from "../../src/limit/limit.ts";
import { FakeClock } from "../clock.ts";
import { account, rpm, tokens } from "./costs.ts";
import { ModelStore } from "./model-store.ts";
import { RedisModel } from "./redis-model.ts";
import { hasRedis, startRedis } from "./redis-server.ts";

const spec = account("quota", [rpm(100)], { learns: true });

function world() {
  const clock = new FakeClock();
  const model = new RedisModel();
  const start = (lateMs = 0) => {
    // Each process has a clock of its own.
    const own: Clock = {
      now: () => clock.now() + lateMs,
      at: (at, run) => clock.at(at - lateMs, run),
    };
    const store = new ModelStore(model, () => clock.now());
    const ledger = new RedisLedger({
      store,
      clock: own,
      onFailure: "closed",
      defer: (run) => void clock.at(clock.now(), run),
    });
    store.onCount(2);
    const woken: string[] = [];
    ledger.onRoom = (group) => void woken.push(group);
    // A first word with Redis tells what the time is there.
    const asked = ledger.account(spec);
    ledger.reserve(own.now(), [asked], tokens(1), { outlook: null, uploading: false });
    return { ledger, account: asked, own, woken, store };
  };
  return { clock, model, start };
}

type Process = ReturnType<ReturnType<typeof world>["start"]>;

/** Asks, and once more when the answer is here; null where there is no room. */
async function reserve({ ledger, account, own }: Process, clock: FakeClock) {
  for (let tries = 0; tries < 2; tries++) {
    const made = ledger.reserve(own.now(), [account], tokens(1), {
      outlook: null,
      uploading: false,
    });
    if ("id" in made) return made;
    await clock.tick(5);
  }
  return null;
}

/** An answer comes that says so. */
async function answer(one: Process, clock: FakeClock, hints: readonly LimitHint[]): Promise<void> {
  const made = await reserve(one, clock);
  if (made === null) throw new Error("There is no room");
  one.ledger.arrived(made, one.own.now());
  one.ledger.hint(made, one.own.now(), hints);
  one.ledger.settle(made, one.own.now(), tokens(1));
}

const says = (limit: number, unit: LimitHint["unit"] = "tokens"): LimitHint => ({
  unit,
  window: "minute",
  limit,
  remaining: null,
  resetAt: null,
});

/** What is known of limits beyond the file. */
const learned = ({ learned: limits }: Account): unknown =>
  limits.map((limit) => ("unit" in limit ? [limit.unit, limit.limit] : limit.kind));

describe("two processes", () => {
  test("one is told to wait: the other waits as long, by its own clock, and looks again then", async () => {
    const { clock, start } = world();
    const [one, other] = [start(), start(7_000)];
    await clock.tick(10);
    one.account.hold(one.own.now() + 30_000);
    await clock.tick(0);
    expect(other.account.heldUntil - other.own.now()).toBeWithin(29_980, 30_020);
    expect(other.woken).toContain("group");
    // A shorter one changes nothing, a longer one does, whoever is told.
    other.account.hold(other.own.now() + 10_000);
    other.account.hold(other.own.now() + 40_000);
    await clock.tick(0);
    expect(one.account.heldUntil - one.own.now()).toBeWithin(39_980, 40_020);
    one.ledger.close();
    other.ledger.close();
  });

  test("one that starts later knows what is still held, and nothing of what is over", async () => {
    const { clock, start } = world();
    const one = start();
    await clock.tick(10);
    one.account.hold(one.own.now() + 30_000);
    await clock.tick(10_000);
    const later = start();
    expect(later.account.heldUntil - later.own.now()).toBeWithin(19_980, 20_020);
    await clock.tick(25_000);
    const last = start();
    expect(last.account.heldUntil).toBe(0);
    for (const { ledger } of [one, later, last]) ledger.close();
  });

  test("limits that answers tell one are in force in both, and in one that starts later", async () => {
    const { clock, start } = world();
    const [one, other] = [start(), start()];
    await clock.tick(10);
    for (let n = 0; n < 3; n++) await answer(one, clock, [says(5_000), says(60, "requests")]);
    // What a number means is known when the next word of Redis says what others use.
    await clock.tick(3_000);
    await answer(one, clock, [says(5_000)]);
    const third = start();
    for (const { account } of [one, other, third]) {
      expect(learned(account)).toEqual([["tokens", 5_000]]);
      expect(account.limits[0]?.told).toBe(60);
    }
    // All of them together are held to it.
    let went = 4;
    for (let n = 0; n < 60; n++)
      for (const each of [one, other, third]) if ((await reserve(each, clock)) !== null) went++;
    expect(went).toBeWithin(55, 61);
    for (const { ledger } of [one, other, third]) ledger.close();
  });

  test("a Redis that comes back empty is told again", async () => {
    const { clock, model, start } = world();
    const one = start();
    await clock.tick(10);
    one.account.hold(one.own.now() + 30_000);
    model.board.clear();
    one.store.onConnect();
    const later = start();
    expect(later.account.heldUntil).toBeGreaterThan(later.own.now());
    one.ledger.close();
    later.ledger.close();
  });
});

// Needs the program `redis-server`.
describe.skipIf(!hasRedis)("the board in a real Redis", async () => {
  const server = hasRedis ? await startRedis() : null;
  afterAll(async () => server?.stop());

  /** A board, and what it has heard. */
  async function open(prefix: string) {
    const clock = systemClock();
    const store = new RedisServer(server?.url ?? "", prefix, clock);
    const board = new Board(store, () => clock.now());
    const heard: unknown[] = [];
    let tell: () => void = () => undefined;
    board.listen("hold", (name, { rank }: Entry) => {
      heard.push([name, rank]);
      tell();
    });
    const connected = Promise.withResolvers<void>();
    store.onConnect = () => {
      board.connected();
      connected.resolve();
    };
    store.open();
    await connected.promise;
    /** Resolves when it has heard so much. */
    const until = async (count: number): Promise<unknown[]> => {
      while (heard.length < count) await new Promise<void>((resolve) => void (tell = resolve));
      return heard;
    };
    const post = (name: string, rank: number, forMs: number): void =>
      board.post("hold", name, { rank, until: clock.now() + forMs, value: null });
    return { board, store, post, until };
  }

  test("tells all, and those that come later, the entry of the highest rank; the rest goes by itself", async () => {
    const prefix = `${crypto.randomUUID()}:`;
    const one = await open(prefix);
    const other = await open(prefix);
    one.post("some quota", 5, 20_000);
    expect(await other.until(1)).toEqual([["some quota", 5]]);
    other.post("some quota", 4, 60_000);
    other.post("over", 1, -1);
    other.post("next", 2, 10_000);
    expect(await one.until(1)).toEqual([["next", 2]]);
    const later = await open(prefix);
    const known = await later.until(2);
    expect(known).toHaveLength(2);
    expect(known).toContainEqual(["next", 2]);
    expect(known).toContainEqual(["some quota", 5]);
    const ttl = Number(await server?.client().send("PTTL", [`${prefix}board`]));
    expect(ttl).toBeWithin(15_000, 20_001);
    for (const { store } of [one, other, later]) await store.close();
  });
});
