/**
 * What clients' own limits cost where four processes share them: `bun scripts/bench/redis-clients.ts` starts a Redis and
 * asks for requests of few and many clients, within their limits and beyond.
 */
import { SharedClientLimits } from "../../src/client/shared-limits.ts";
import { systemClock } from "../../src/clock.ts";
import { RedisServer } from "../../src/ledger/redis-store.ts";
import { RedisLedger } from "../../src/ledger/redis.ts";
import { startServer } from "../soak/redis.ts";

const processes = 4;
const seconds = 6;

interface Case {
  readonly name: string;
  readonly clients: number;
  /** Requests a minute that each may make. */
  readonly limit: number;
  /** Requests a second, of all clients. */
  readonly rate: number;
}

const cases: readonly Case[] = [
  { name: "one busy client far from its limit", clients: 1, limit: 240_000, rate: 400 },
  {
    name: "400 clients, once a second each, of twice",
    clients: 400,
    limit: 120,
    rate: 400,
  },
  { name: "one client that asks for ten times what it may", clients: 1, limit: 2_400, rate: 400 },
];

await using server = await startServer();

for (const { name, clients, limit, rate } of cases) {
  const clock = systemClock();
  const prefix = `${crypto.randomUUID()}:`;
  const all = Array.from({ length: processes }, () => {
    const store = new RedisServer(server.url, prefix, clock);
    const ledger = new RedisLedger({ store, clock, onFailure: "closed" });
    const config = {
      rate_limit: limit,
      burst: Math.ceil(limit / 60),
      algorithm: "token_bucket" as const,
      idle_ttl: 3_600_000,
      tiers: {},
      keys: [],
    };
    return { store, ledger, limits: new SharedClientLimits({ clock, config, ledger }) };
  });
  await all[0]?.limits.get("ip:none");

  const waits: number[] = [];
  let passed = 0;
  let asked = 0;
  const take = async (): Promise<void> => {
    const at = performance.now();
    const one = all[Math.floor(Math.random() * processes)];
    const client = { id: `ip:${Math.floor(Math.random() * clients)}`, tier: null };
    const answer = await one?.limits.take(client, { requests: 1, tokens: 0 });
    waits.push(performance.now() - at);
    if (answer?.ok === true) passed++;
  };
  const before = all.reduce((sum, { store }) => sum + store.commands, 0);
  const start = performance.now();
  const end = start + seconds * 1_000;
  while (performance.now() < end) {
    for (const due = ((performance.now() - start) * rate) / 1_000; asked < due; asked++) {
      void take();
    }
    await Bun.sleep(1);
  }
  const commands = all.reduce((sum, { store }) => sum + store.commands, 0) - before;
  waits.sort((a, b) => a - b);
  const at = (share: number): string => (waits[Math.floor(waits.length * share)] ?? 0).toFixed(2);
  console.log(
    `${name}: ${passed} of ${asked} let through, ${(commands / asked).toFixed(3)} commands a request, ` +
      `${at(0.5)} ms p50, ${at(0.99)} ms p99`,
  );
  for (const { limits, ledger } of all) {
    limits.close();
    ledger.close();
    await ledger.closed;
  }
}
