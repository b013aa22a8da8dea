import { ask } from "../../test/e2e/client.ts";
import type { Program } from "../../test/e2e/program.ts";
import { startProgram } from "../../test/e2e/program.ts";
import type { MockStats } from "../../src/mock/tally.ts";
import type { RequestEntry } from "../../src/mock/request-log.ts";
import type { LogEntry } from "../../src/mock/usage-log.ts";

/** A simulated provider in a process of its own. */
export interface Provider extends AsyncDisposable {
  readonly url: string;
  stats(): Promise<MockStats>;
  /** Every request it has counted: when, in ms since the epoch, and at how many tokens in the end. */
  log(): Promise<LogEntry[]>;
  /** The `X-Mock-Tag` of each of the last 10,000 requests that have arrived. */
  tags(): Promise<string[]>;
}

/** Starts one with these flags, beside those of a distant provider that counts at a random moment. */
export async function startProvider(flags: string): Promise<Provider> {
  const distant = "--latency 225ms --jitter 175ms --count-at random";
  const program: Program = startProgram(`mock --port 0 ${distant} ${flags}`.split(" "));
  const [, url = "", port] = await program.said(/listening on (http:\/\/\S+:(\d+)),/);
  const get = async (path: string): Promise<never> =>
    (await ask(Number(port), { path })).json() as never;
  return {
    url,
    stats: () => get("/__mock/stats"),
    log: () => get("/__mock/log?limit=1000000"),
    tags: async () => {
      const { requests_log } = (await get("/__mock/stats?log=1")) as {
        requests_log: RequestEntry[];
      };
      return requests_log.map(([, , , tag = ""]) => tag);
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
  };
}

/** The most that any span of `windowMs` held, by a sum over every span that ends at an entry. */
export function peak(
  entries: readonly LogEntry[],
  windowMs: number,
  amount: (entry: LogEntry) => number = () => 1,
): number {
  let most = 0;
  let sum = 0;
  let oldest = 0;
  for (const entry of entries) {
    sum += amount(entry);
    for (let first = entries[oldest]; first !== undefined; first = entries[oldest]) {
      if (first.at + windowMs > entry.at) break;
      sum -= amount(first);
      oldest++;
    }
    most = Math.max(most, sum);
  }
  return most;
}

/** What the spans [from, from + spanMs), the one after it and so on held. */
export function spans(
  entries: readonly LogEntry[],
  spanMs: number,
  count: number,
  amount: (entry: LogEntry) => number = () => 1,
): number[] {
  const start = entries[0]?.at ?? 0;
  const sums = Array.from({ length: count }, () => 0);
  for (const entry of entries) {
    const n = Math.floor((entry.at - start) / spanMs);
    if (n < count) sums[n] = (sums[n] ?? 0) + amount(entry);
  }
  return sums;
}
