import { RedisClient } from "bun";
import { ask } from "../../test/e2e/client.ts";
import type { Answer, Ask } from "../../test/e2e/client.ts";
import type { Proxy } from "../../test/e2e/program.ts";
import { folder, startProxy } from "../../test/e2e/program.ts";
import type { Server } from "./redis.ts";

/** Several Cooldowns on one Redis. */
export interface Fleet extends AsyncDisposable {
  readonly proxies: readonly Proxy[];
}

/** Starts `size` of them with the same configuration. They need not reach the Redis at `url` for that. */
export async function startFleet(size: number, url: string, yaml: string): Promise<Fleet> {
  const stack = new AsyncDisposableStack();
  const args = ["--limiter", "redis", "--redis-addr", url, "--log-level", "warn"];
  const start = async (): Promise<Proxy> => {
    const at = stack.use(folder());
    return stack.use(await startProxy(yaml, { at, args }));
  };
  const proxies = await Promise.all(Array.from({ length: size }, start));
  return { proxies, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** What became of one call: null where the connection ended without an answer. */
export interface Outcome {
  readonly proxy: number;
  readonly tag: string;
  readonly answer: Answer | null;
  /** `Date.now()` at its start and its end. */
  readonly startedAt: number;
  readonly endedAt: number;
}

/** Calls through a fleet, each with a tag of its own in the provider's log. */
export class Calls {
  readonly ended: Outcome[] = [];
  started = 0;
  readonly #fleet: Fleet;
  readonly #what: Ask;

  constructor(fleet: Fleet, what: Ask) {
    this.#fleet = fleet;
    this.#what = what;
  }

  /** Sends one; it never rejects. */
  async send(proxy: number): Promise<Outcome> {
    const tag = `${proxy}-${++this.started}`;
    const startedAt = Date.now();
    const { headers: given = {} } = this.#what;
    const pairs = Array.isArray(given) ? given : Object.entries(given);
    const headers = [...pairs, ["X-Mock-Tag", tag] as const];
    const port = this.#fleet.proxies[proxy]?.port ?? 0;
    const answer = await ask(port, { ...this.#what, headers }).catch(() => null);
    const outcome = { proxy, tag, answer, startedAt, endedAt: Date.now() };
    this.ended.push(outcome);
    return outcome;
  }

  /** Keeps so many under way at every process for so long; what is under way then goes on. */
  async saturate(each: number, ms: number): Promise<void> {
    const end = Date.now() + ms;
    const one = async (proxy: number): Promise<void> => {
      while (Date.now() < end) {
        const { answer } = await this.send(proxy);
        if (answer === null) return;
        if (answer.status !== 200) await Bun.sleep(50);
      }
    };
    const all = this.#fleet.proxies.flatMap((_, proxy) =>
      Array.from({ length: each }, () => one(proxy)),
    );
    await Promise.race([Promise.all(all), Bun.sleep(ms)]);
  }

  /**
   * Sends so many a second to every process for so long, whatever comes back, each at any moment of its slot: in step
   * with nothing. Resolves when all are answered.
   */
  async pour(perSecond: number, ms: number): Promise<void> {
    const start = performance.now();
    const size = this.#fleet.proxies.length;
    const all: Promise<Outcome>[] = [];
    for (let n = 0; n * 1_000 < perSecond * size * ms; n++) {
      const slot = n + Math.random();
      const wait = start + (slot * 1_000) / (perSecond * size) - performance.now();
      if (wait > 0) await Bun.sleep(wait);
      all.push(this.send(n % size));
    }
    await Promise.all(all);
  }

  /** Those that were answered so. */
  with(status: number): Outcome[] {
    return this.ended.filter(({ answer }) => answer?.status === status);
  }
}

/** What a Redis was sent, and what the scripts there called. */
export interface Commands {
  readonly sent: number;
  readonly inScripts: number;
}

const sentByClients = ["evalsha", "eval", "ping", "hello", "auth", "client", "subscribe", "select"];

/** Counts since its start, from `INFO commandstats`. */
export async function commandsOf({ url }: Server): Promise<Commands> {
  const client = new RedisClient(url);
  const stats = String(await client.send("INFO", ["commandstats"]));
  client.close();
  let sent = 0;
  let inScripts = 0;
  for (const [, name = "", calls] of stats.matchAll(/cmdstat_(\w+)[^:]*:calls=(\d+)/g)) {
    if (sentByClients.includes(name)) sent += Number(calls);
    else if (name !== "info") inScripts += Number(calls);
  }
  return { sent, inScripts };
}

/** The value that a share `q` of `values` does not pass. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}
