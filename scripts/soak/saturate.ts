import type { Ask } from "../../test/e2e/client.ts";
import { ask } from "../../test/e2e/client.ts";
import { folder, startProxy } from "../../test/e2e/program.ts";
import { startProvider } from "./provider.ts";
import type { Report } from "./report.ts";

const runMs = 120_000;
/** How long those that wait at the end of the run may still take. */
const drainMs = 300_000;

/** One provider's quota, and the calls that fill it. */
export interface Saturation {
  /** Of `cooldown mock`. */
  readonly flags: string;
  /** The quota in the proxy's configuration: an entry of `quotas` in YAML's flow form, without upstream. */
  readonly quota: string;
  /** The `n`-th request. */
  call(n: number): Ask;
  /** The limit that fills first, a minute, and what one call and one of someone else's count in it in the mean. */
  readonly limit: number;
  readonly perCall: number;
  readonly perExternal: number;
  /** What of it one entry of the provider's log has counted: 0 input tokens where only output is limited. */
  readonly notCounted: number;
  readonly notCountedOfExternal: number;
}

/**
 * Twice the quota for two minutes, evenly spread, with or without someone else who uses a fifth of it; then what
 * waits is let finish. No client gets a 429, the provider hardly sends any, and what the bucket gave is used.
 */
export async function saturate(
  report: Report,
  saturation: Saturation,
  externalLoad: string | null,
): Promise<void> {
  const { flags, quota, limit, perCall, perExternal } = saturation;
  using at = folder();
  const external = externalLoad === null ? "" : ` --external-load ${externalLoad}`;
  await using provider = await startProvider(flags + external);
  const yaml = `quotas: [{ ${quota}, max_queue_depth: 100000, upstream: "${provider.url}" }]\n`;
  await using proxy = await startProxy(yaml, { at, args: ["--log-level", "warn"] });

  const start = performance.now();
  const everyMs = 60_000 / ((2 * limit) / perCall);
  const statuses = new Map<string, number>();
  const answers: Promise<void>[] = [];
  let failed = 0;
  const send = async (n: number): Promise<void> => {
    try {
      const answer = await ask(proxy.port, saturation.call(n));
      const key = `${answer.status} ${answer.header("x-cooldown-error") ?? ""}`.trim();
      statuses.set(key, (statuses.get(key) ?? 0) + 1);
    } catch {
      failed++;
    }
  };
  for (let n = 0; performance.now() - start < runMs; n++) {
    await Bun.sleep(start + n * everyMs - performance.now());
    answers.push(send(n));
  }
  const untilMs = performance.now() - start;
  const early = await provider.log();
  await Promise.race([Promise.all(answers), Bun.sleep(drainMs)]);

  const stats = await provider.stats();
  report.note(`${answers.length} requests, ${JSON.stringify(Object.fromEntries(statuses))}`);
  report.note(`external: ${JSON.stringify(stats.external)}`);
  report.check(
    "all are answered with 200",
    statuses.get("200") === answers.length,
    statuses.get("200") ?? 0,
  );
  report.atMost("connections that failed", failed, 0);
  const most = externalLoad === null ? 0 : stats.requests / 1_000;
  report.atMost(`429 from the upstream of ${stats.requests}`, stats.rejected_429, most);
  const sums = { ours: 0, others: 0 };
  for (const entry of early) {
    if (entry.external) sums.others += entry.tokens - saturation.notCountedOfExternal;
    else sums.ours += entry.tokens - saturation.notCounted;
  }
  // A bucket starts full, and gives what fills it up meanwhile.
  const given = limit * (1 + untilMs / 60_000);
  report.note(`others used ${(sums.others / given).toFixed(3)}, expected ${perExternal} each`);
  report.atLeast(
    "share of what others left that was used",
    sums.ours / (given - sums.others),
    0.95,
  );
}

/** About `tokens` tokens of text: one common word is one, to the simulator and to us. */
export function words(tokens: number): string {
  return Array.from({ length: tokens }, () => "the").join(" ");
}
