/**
 * Several running Cooldowns on one Redis, judged by what the upstream counted: `bun scripts/soak/fleet.ts [NAME …]`, or
 * with the others as `bun scripts/soak.ts fleet`.
 */
import { chat } from "./chat.ts";
import { Calls, commandsOf, startFleet } from "./fleet-parts.ts";
import { outage, without } from "./fleet-outage.ts";
import { latency } from "./fleet-latency.ts";
import { far, pace } from "./fleet-pace.ts";
import { peak, startProvider } from "./provider.ts";
import { startServer } from "./redis.ts";
import { runInTurn } from "./report.ts";
import type { Report } from "./report.ts";

const limit = 100;
const window = 60_000;
/** A process that is not heard of for so long is taken for dead (docs/scaling.md), and a margin. */
const deadMs = 12_000;

/** A quota of 100 a minute between two processes that both want all of it. */
async function start() {
  const stack = new AsyncDisposableStack();
  const server = stack.use(await startServer());
  const flags = `--rpm ${limit} --rpd 0 --tpm 0 --algorithm sliding_window`;
  const provider = stack.use(await startProvider(flags));
  const yaml = `cerebras_limits: { rpm_limit: ${limit}, tpm_limit: 100000000, max_queue_depth: 1000, upstream: "${provider.url}" }\n`;
  const fleet = stack.use(await startFleet(2, server.url, yaml));
  const calls = new Calls(fleet, chat(5, 50, { timeoutMs: 300_000 }));
  return { server, provider, fleet, calls, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

/** Two processes, saturated for 65 s. */
async function two(report: Report): Promise<void> {
  await using all = await start();
  const { provider, calls, server } = all;
  await calls.saturate(60, 65_000);
  const log = await provider.log();
  const stats = await provider.stats();
  const parts = [0, 1].map((n) => calls.with(200).filter(({ proxy }) => proxy === n).length);
  const commands = await commandsOf(server);
  report.note(`answered by each: ${parts.join(" and ")}; ${log.length} counted upstream`);
  report.atMost("429 from the upstream", stats.rejected_429, 0);
  report.atMost("most in any 60 s", peak(log, window), limit);
  report.atLeast("used of a window", peak(log, window), 97);
  report.atLeast("the smaller part", Math.min(...parts) / calls.with(200).length, 0.3);
  report.note(`${commands.sent} commands, ${commands.inScripts} calls in scripts`);
}

/** One of the two is killed after 20 s. */
async function killed(report: Report): Promise<void> {
  await using all = await start();
  const { provider, calls, fleet } = all;
  const run = calls.saturate(60, 170_000);
  await Bun.sleep(20_000);
  const diedAt = Date.now();
  fleet.proxies[0]?.kill("SIGKILL");
  await run;
  const log = await provider.log();
  const stats = await provider.stats();
  report.atMost("429 from the upstream", stats.rejected_429, 0);
  report.atMost("most in any 60 s", peak(log, window), limit);
  for (const windows of [0, 1]) {
    const from = diedAt + deadMs + window * windows;
    const used = log.filter(({ at }) => at >= from && at < from + window).length;
    report.note(`used from ${(from - diedAt) / 1_000} s after it on, in 60 s: ${used}`);
    if (windows === 1) report.atLeast("used of a window, one window later", used, 97);
  }
}

const scenarios = { two, killed, outage, without, pace, far, latency };

/** All of it: what hardly needs a processor side by side, then what measures. About five minutes. */
export async function fleet(report: Report): Promise<void> {
  await Promise.all([two(report), killed(report), outage(report), without(report)]);
  for (const run of [pace, far, latency]) await run(report);
}

if (import.meta.main) await runInTurn(scenarios);
