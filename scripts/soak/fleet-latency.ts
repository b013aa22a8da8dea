import { RedisClient } from "bun";
import { folder, startProxy } from "../../test/e2e/program.ts";
import { startServer as startUpstream } from "../bench/program.ts";
import { quantile } from "./fleet-parts.ts";
import { startServer } from "./redis.ts";
import type { Report } from "./report.ts";

const rounds = 20;
const eachRound = 100;
const names = ["memory", "sqlite", "redis"] as const;
const quota = "quotas: [{ name: q, domain: api.example.com, provider: generic, UP, ";

/** Nobody waits for them, and each is asked for: what that costs is said, and depends on nothing but Redis. */
const freeTurns = "free turns of a leaky bucket";

/** How many clients ask at once, the limits they meet, and whether those of the three run side by side. */
const cases = {
  far: { clients: 1, yaml: `${quota} rpm: 1000000 }]`, together: false },
  // With two clients and one slot, each answer lets the next request go.
  "at the limit, slots": {
    clients: 2,
    yaml: `${quota} rpm: 1000000, max_concurrency: 1 }]`,
    together: false,
  },
  // What is not used meanwhile would come together again.
  "at the limit, bucket": {
    clients: 2,
    yaml: `${quota} algorithm: token_bucket, rps: 100 }]`,
    together: true,
  },
  "at the limit, leaky bucket": {
    clients: 2,
    yaml: "rate_limits: [{ domain: api.example.com, requests_per_second: 100, UP }]",
    together: true,
  },
  [freeTurns]: {
    clients: 1,
    yaml: "rate_limits: [{ domain: api.example.com, requests_per_second: 20000, UP }]",
    together: false,
  },
};

/**
 * The time of a request through a Cooldown that keeps its usage in SQLite and through one that keeps it in Redis, in
 * turns, and one round trip of the same kind of connection to the same Redis.
 */
export async function latency(report: Report): Promise<void> {
  await using server = await startServer();
  const upstream = await startUpstream("upstream");
  try {
    for (const [name, { clients, yaml, together }] of Object.entries(cases)) {
      await using stack = new AsyncDisposableStack();
      const start = async (...args: string[]): Promise<number> => {
        const at = stack.use(folder());
        const text = `${yaml.replace("UP", `upstream: "${upstream.url}"`)}\n`;
        return stack.use(await startProxy(text, { at, args })).port;
      };
      const ports = {
        memory: await start("--limiter", "memory"),
        sqlite: await start(),
        redis: await start("--limiter", "redis", "--redis-addr", server.url),
      };
      const client = new RedisClient(server.url);
      const times = { memory: [] as number[], sqlite: [] as number[], redis: [] as number[] };
      const trips: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const measure = async (kind: (typeof names)[number]): Promise<void> => {
          const took = await each(clients, () => get(ports[kind]));
          // The first rounds are for the compiler, and use up what a bucket lets through at once.
          if (round >= rounds / 4) times[kind].push(...took);
        };
        const trip = (): Promise<unknown> => client.send("EVAL", ["return 1", "0"]);
        if (together) {
          // A round trip now and then, as theirs are, takes longer than one after another: processors doze off.
          const pings = each(1, trip, 5);
          await Promise.all(names.map(measure));
          trips.push(...(await pings));
        } else {
          for (const kind of names) await measure(kind);
          trips.push(...(await each(1, trip)));
        }
      }
      client.close();
      const p50 = (kind: (typeof names)[number]): number => quantile(times[kind], 0.5);
      const all = names.map((kind) => `${p50(kind).toFixed(3)} ms over ${kind}`).join(", ");
      const trip = quantile(trips, 0.5);
      report.note(`${name}, p50: ${all}; a round trip ${trip.toFixed(3)} ms`);
      if (name === freeTurns) continue;
      const most = name === "far" ? 0.05 : trip;
      report.atMost(`${name}: added over SQLite at p50, ms`, p50("redis") - p50("sqlite"), most);
    }
  } finally {
    await upstream.stop();
  }
}

/** How long each of so many calls took, ms; each client pauses so long after one. */
async function each(clients: number, run: () => Promise<unknown>, pauseMs = 0): Promise<number[]> {
  const times: number[] = [];
  const client = async (): Promise<void> => {
    while (times.length < eachRound) {
      const at = performance.now();
      await run();
      times.push(performance.now() - at);
      if (pauseMs > 0) await Bun.sleep(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return times;
}

async function get(port: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/`, { headers: { Host: "api.example.com" } });
  await answer.text();
  if (answer.status !== 200) throw new Error(`answered ${answer.status}`);
}
