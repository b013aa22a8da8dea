/**
 * What the ledger's script costs a Redis of one core: `bun scripts/bench/redis.ts` starts one and asks it for room from
 * many accounts at once, near the limit (one unit a time) and far from it (a slice a time).
 */
import { RedisClient } from "bun";
import type { Message } from "../../src/ledger/redis-message.ts";
import script from "../../src/ledger/redis.lua" with { type: "text" };
import { startServer } from "../soak/redis.ts";

const accounts = 64;
const seconds = 3;

await using server = await startServer();
const client = new RedisClient(server.url);
await client.connect();
const sha = String(await client.send("SCRIPT", ["LOAD", script]));

const message = (n: number, account: number): Message => ({
  id: "one",
  n,
  hello: n === 1,
  inc: "bench",
  name: `${account}`,
  ttl: 10_000,
  ask: true,
  more: false,
  ch: "news",
  L: (["requests", "tokens"] as const).map((unit) => ({
    k: `sliding_window ${unit}/minute`,
    t: "w",
    lim: 1e9,
    win: 60_000,
    sl: 100,
    sp: 601,
    mar: 1_000,
    min: 1,
    max: 1,
    pre: 0,
    fair: 1e9,
    b: 1,
    n: [[Math.floor(Date.now() / 100), 1]],
  })),
});

async function serial(): Promise<number> {
  const times: number[] = [];
  for (let n = 1; n <= 3_000; n++) {
    const at = performance.now();
    await client.send("EVALSHA", [sha, "1", "{serial}", JSON.stringify(message(n, 0)), ""]);
    times.push(performance.now() - at);
  }
  return times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0;
}

async function parallel(): Promise<number> {
  let count = 0;
  const end = performance.now() + seconds * 1_000;
  await Promise.all(
    Array.from({ length: accounts }, async (_, account) => {
      for (let n = 1; performance.now() < end; n++, count++)
        await client.send("EVALSHA", [
          sha,
          "1",
          `{${account}}`,
          JSON.stringify(message(n, account)),
          "",
        ]);
    }),
  );
  return count / seconds;
}

console.log(`one after another, p50: ${((await serial()) * 1_000).toFixed(0)} µs`);
console.log(`${accounts} accounts at once: ${Math.round(await parallel())} calls a second`);
const stats = String(await client.send("INFO", ["commandstats"]));
console.log(
  `in Redis: ${/cmdstat_evalsha:.*usec_per_call=([\d.]+)/.exec(stats)?.[1] ?? "?"} µs a call`,
);
client.close();
