import { afterAll, describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import type { LimitMessage, Message, Reply } from "../../src/ledger/redis-message.ts";
import script from "../../src/ledger/redis.lua" with { type: "text" };
import { RedisModel } from "./redis-model.ts";
import { hasRedis, startRedis } from "./redis-server.ts";

const start = 1_700_000_000_000;
const window: LimitMessage = {
  k: "window",
  t: "w",
  lim: 20,
  win: 60_000,
  sl: 100,
  sp: 601,
  mar: 1_000,
  min: 0,
  max: 0,
  pre: 0,
  fair: 10,
};
const limits: LimitMessage[] = [
  window,
  { ...window, k: "bucket", t: "b", lim: 30, hz: 5_000 },
  { k: "slots", t: "c", lim: 12, min: 0, max: 0, pre: 0, fair: 4, one: true, have: 0 },
  { k: "pace", t: "l", min: 0, max: 0, pre: 0, fair: 0, iv: 400_000, tol: 800_000, hz: 50 },
];

const step = fc.record({
  gapMs: fc.oneof({ weight: 6, arbitrary: fc.nat(900) }, fc.nat(70_000)),
  who: fc.nat(2),
  ask: fc.boolean(),
  more: fc.boolean(),
  again: fc.integer({ min: 0, max: 9 }),
  used: fc.array(fc.tuple(fc.nat(30), fc.integer({ min: -4, max: 6 })), { maxLength: 3 }),
  back: fc.nat(4),
  min: fc.integer({ min: 0, max: 3 }),
  max: fc.nat(10),
  pre: fc.nat(40),
  soon: fc.option(fc.nat(5), { nil: null }),
  use: fc.boolean(),
  // A lost time of the next turn is told again, and the rate may change.
  aheadMs: fc.option(fc.integer({ min: -50, max: 5_000 }), { nil: null, freq: 5 }),
  iv: fc.constantFrom(400_000, 400_000, 100_000),
  comb: fc.option(fc.constantFrom(2, 2, 2, 3), { nil: null }),
  home: fc.option(fc.nat(8), { nil: null, freq: 4 }),
});

// Needs the program `redis-server`: without it there is nothing to compare with.
describe.skipIf(!hasRedis)("the script in a real Redis", async () => {
  const server = hasRedis ? await startRedis() : null;
  afterAll(async () => server?.stop());

  test("does what its model does, whatever happens", async () => {
    const client = server?.client();
    if (client === undefined) throw new Error("No Redis");
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 40, size: "max" }),
        async (steps) => {
          const key = `{${++runs}}`;
          const model = new RedisModel();
          const sent = new Map<number, Message>();
          let now = start;
          for (const {
            gapMs,
            who,
            ask,
            more,
            again,
            used,
            back,
            min,
            max,
            pre,
            ...rest
          } of steps) {
            const { soon, use, aheadMs, iv, comb, home } = rest;
            now += gapMs;
            const last = sent.get(who) ?? null;
            const repeated = again === 0 && last !== null;
            const L = limits.map((limit): LimitMessage => {
              const slice = Math.floor(now / 100);
              const n = used.map(([age, amount]) => [slice - age, amount, now - age * 10] as const);
              const turns = {
                iv,
                ...(aheadMs !== null && { tat: (now + aheadMs) * 1_000 }),
                ...(comb !== null && { comb }),
                ...(home !== null && { home: home === 0 ? 0 : now * 1_000 - home * 100_000 }),
              };
              const asked = ask ? { min, max: Math.max(min, max), pre } : {};
              const counted = limit.win === undefined ? {} : { n, ...(use && ask && { use: min }) };
              const promised = limit.t === "b" && soon !== null ? { soon } : {};
              const own = limit.t === "l" ? turns : { b: back, ...promised };
              return { ...limit, ...counted, ...asked, ...own };
            });
            const hello = last === null || again === 1;
            const message: Message = repeated
              ? last
              : {
                  id: `p${who}`,
                  n: hello ? 1 : last.n + 1,
                  hello,
                  inc: "one",
                  name: "a",
                  ttl: 10_000,
                  ask,
                  more,
                  ch: "news",
                  L,
                };
            sent.set(who, message);
            const text = await client.send("EVAL", [
              script,
              "1",
              key,
              JSON.stringify(message),
              String(now),
            ]);
            const found = JSON.parse(String(text)) as Reply;
            const expected = model.run(key, message, now);
            expectAlike(found, expected);
            if (found.status === "unknown") sent.delete(who);
          }
        },
      ),
      { numRuns: 60 },
    );
  }, 60_000);

  test("what a dead process held is counted once, though it is found where an answer is said again", async () => {
    const client = server?.client();
    const say = async (id: string, n: number, at: number, part: Partial<LimitMessage>) => {
      const message: Message = {
        id,
        n,
        hello: n === 1,
        inc: "one",
        name: "a",
        ttl: 10_000,
        ask: part.min !== undefined,
        more: false,
        ch: "news",
        L: [{ ...window, ...part }],
      };
      const args = [script, "1", "{again}", JSON.stringify(message), String(start + at)];
      return JSON.parse(String(await client?.send("EVAL", args))) as Reply;
    };
    await say("dead", 1, 0, { min: 5, max: 5 });
    await say("alive", 1, 9_000, {});
    await say("alive", 1, 10_000, {});
    const before = await say("alive", 2, 15_000, { n: [[(start + 15_000) / 100, 4]] });
    expect(Number(before.L[0]?.[1])).toBe(9);
    await say("alive", 3, 24_000, {});
    const after = await say("alive", 1, 72_000, {});
    expect(Number(after.L[0]?.[1])).toBe(4);
  });

  test("its state goes by itself", async () => {
    const client = server?.client();
    const message: Message = {
      id: "p",
      n: 1,
      hello: true,
      inc: "one",
      name: "a",
      ttl: 10_000,
      ask: true,
      more: false,
      ch: "news",
      L: [{ ...window, min: 1, max: 1 }],
    };
    await client?.send("EVAL", [script, "1", "{gone}", JSON.stringify(message), ""]);
    const ttl = Number(await client?.send("PTTL", ["{gone}"]));
    expect(ttl).toBeGreaterThan(60_000);
    expect(ttl).toBeLessThan(120_000);
  });
});

/** Both the same but for the last digits: what drains is a fraction, and a time rounded up from it may be the next. */
function expectAlike(found: Reply, expected: Reply): void {
  expect(found.status).toBe(expected.status);
  expect(found.inc).toBe(expected.inc);
  if (found.status === "unknown") return;
  const said = ({ ok, others, claim }: Reply) => [ok, others, claim];
  expect(said(found)).toEqual(said(expected));
  expect(Math.abs(Number(found.wait) - Number(expected.wait))).toBeLessThan(1.01);
  expect(Math.abs(found.keep - expected.keep)).toBeLessThanOrEqual(1);
  const times = ({ L }: Reply): number[] => L.map(([, , , at]) => Number(at));
  for (const [i, at] of times(found).entries())
    if (limits[i]?.t === "b") expect(Math.abs(at - (times(expected)[i] ?? NaN))).toBeLessThan(1.01);
  const numbers = ({ L }: Reply): number[] =>
    L.flatMap((part, i) =>
      part.map((value, j) => (limits[i]?.t === "b" && j === 3 ? 0 : Number(value))),
    );
  const apart = numbers(found).map((value, i) => Math.abs(value - (numbers(expected)[i] ?? NaN)));
  // Redis says numbers with three decimals: what lies between two may be rounded to either.
  expect(Math.max(...apart)).toBeLessThan(0.0011);
}
