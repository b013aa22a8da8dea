import type { OnFailure } from "../../src/ledger/redis.ts";
import type { Outcome } from "./fleet-parts.ts";
import { Calls, startFleet } from "./fleet-parts.ts";
import type { Provider } from "./provider.ts";
import { peak, startProvider } from "./provider.ts";
import { startServer } from "./redis.ts";
import type { Report } from "./report.ts";

const policies: readonly OnFailure[] = ["closed", "open", "local"];
const limit = 600;
const host = "api.example.com";
/** Far more than the limit: within ten seconds each process could use its part of a minute. */
const perSecondEach = 40;
/** Silence is an outage after one second (docs/scaling.md), and is looked at each quarter of one. */
const noticedMs = 1_500;
const backMs = 5_000;

/** Redis is killed under load, comes back empty after a while, under each policy. */
export async function outage(report: Report): Promise<void> {
  await Promise.all(policies.map((policy) => outageOf(report, policy)));
}

async function outageOf(report: Report, policy: OnFailure): Promise<void> {
  await using server = await startServer();
  await using provider = await startProvider(flags(policy));
  await using fleet = await startFleet(2, server.url, config(provider, policy));
  const calls = new Calls(fleet, { host, path: "/", headers: { "X-Cooldown-Timeout": "3s" } });
  const run = calls.pour(perSecondEach, 85_000);
  await Bun.sleep(4_000);
  const killedAt = Date.now();
  await server.kill();
  await Bun.sleep(6_000);
  const backAt = Date.now();
  await server.start();
  await run;
  const during = calls.ended.filter(
    ({ startedAt, endedAt }) => startedAt > killedAt + noticedMs && endedAt < backAt,
  );
  judgeWithout(report, policy, during);
  if (policy === "local") {
    const until = calls.with(200).filter(({ endedAt }) => endedAt < backAt);
    for (const n of [0, 1]) {
      const part = until.filter(({ proxy }) => proxy === n).length;
      report.atMost("local: one process's part of a window", part, limit / 2);
      report.atLeast("local: one process's part of a window", part, (limit / 2) * 0.97);
    }
  }
  const later = calls.ended.filter(({ startedAt }) => startedAt > backAt + backMs);
  const unavailable = later.filter(({ answer }) => answer?.status === 503).length;
  report.atMost(`${policy}: 503 later than 5 s after its return`, unavailable, 0);
  // Locally each has used its part by then: what there is to see is the next window.
  if (policy !== "local") {
    const soon = calls.with(200).filter(({ endedAt }) => endedAt > backAt);
    const firstAfterMs = Math.min(...soon.map(({ endedAt }) => endedAt)) - backAt;
    report.atMost(`${policy}: ms until requests go again`, firstAfterMs, backMs);
  }
  report.atLeast(`${policy}: went, of two windows`, calls.with(200).length, 2 * limit * 0.97);
  await judgeCounts(report, policy, calls, provider);
  for (const { err } of fleet.proxies) {
    const lost = err.match(/Redis cannot be reached/g)?.length ?? 0;
    report.check(`${policy}: says once that Redis is lost`, lost === 1, lost);
  }
}

/** Both start while there is no Redis; it comes later. */
export async function without(report: Report): Promise<void> {
  for (const policy of policies) {
    await using server = await startServer();
    await server.kill();
    await using provider = await startProvider(flags(policy));
    await using fleet = await startFleet(2, server.url, config(provider, policy));
    const calls = new Calls(fleet, { host, path: "/", headers: { "X-Cooldown-Timeout": "3s" } });
    // Less than the limit, before and after.
    await calls.pour(20, 4_000);
    const backAt = Date.now();
    judgeWithout(
      report,
      `${policy}, started without`,
      calls.ended.filter(({ startedAt }) => startedAt > backAt - 2_500),
    );
    const run = calls.pour(20, 8_000);
    await server.start();
    await run;
    const later = calls.ended.filter(({ startedAt }) => startedAt > backAt + backMs);
    const unavailable = later.filter(({ answer }) => answer?.status !== 200).length;
    report.atMost(`${policy}, started without: not 200 5 s after it came`, unavailable, 0);
    await judgeCounts(report, `${policy}, started without`, calls, provider);
  }
}

function config(provider: Provider, policy: OnFailure): string {
  return `redis: { on_failure: ${policy} }
quotas: [{ name: q, domain: ${host}, provider: generic, rpm: ${limit}, max_queue_depth: 1000, upstream: "${provider.url}" }]
`;
}

/** Where everything goes without Redis, the provider must not be what holds it. */
function flags(policy: string): string {
  const rpm = policy === "open" ? "" : `--rpm ${limit} --algorithm sliding_window`;
  return `--profile plain ${rpm}`.trim();
}

function judgeWithout(report: Report, policy: string, during: readonly Outcome[]): void {
  const went = during.filter(({ answer }) => answer?.status === 200).length;
  const refused = during.filter(
    ({ answer }) => answer?.header("x-cooldown-error") === "STORE_UNAVAILABLE",
  );
  report.note(`${policy}: ${went} of ${during.length} went while there was no Redis`);
  if (policy.startsWith("closed")) {
    report.atMost(`${policy}: went without Redis`, went, 0);
    report.atLeast(`${policy}: share told STORE_UNAVAILABLE`, refused.length / during.length, 1);
    const slowest = Math.max(...refused.map(({ startedAt, endedAt }) => endedAt - startedAt));
    report.atMost(`${policy}: the slowest 503, ms`, slowest, noticedMs);
  } else if (policy !== "local") {
    report.atLeast(`${policy}: share that went`, went / during.length, 0.99);
  }
}

/** Each call is answered once, and each that was answered by the upstream went there once. */
async function judgeCounts(
  report: Report,
  policy: string,
  calls: Calls,
  provider: Provider,
): Promise<void> {
  const stats = await provider.stats();
  const seen = await provider.tags();
  const twice = seen.length - new Set(seen).size;
  const answered = new Set(calls.with(200).map(({ tag }) => tag));
  const statuses = Map.groupBy(calls.ended, ({ answer }) =>
    `${answer?.status ?? "none"} ${answer?.header("x-cooldown-error") ?? ""}`.trim(),
  );
  report.note(
    `${policy}: ${JSON.stringify(Object.fromEntries([...statuses].map(([k, v]) => [k, v.length])))}`,
  );
  report.atMost(`${policy}: calls without an answer`, statuses.get("none")?.length ?? 0, 0);
  report.check(`${policy}: each is answered`, calls.ended.length === calls.started, calls.started);
  report.atMost(`${policy}: sent upstream twice`, twice, 0);
  const alike = seen.length === answered.size && seen.every((tag) => answered.has(tag));
  report.check(`${policy}: answered are those that went upstream`, alike, seen.length);
  report.atMost(`${policy}: 429 from the upstream`, stats.rejected_429, 0);
  if (policy.startsWith("open")) return;
  report.atMost(`${policy}: most in any 60 s`, peak(await provider.log(), 60_000), limit);
}
