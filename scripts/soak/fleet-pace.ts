import { Calls, commandsOf, quantile, startFleet } from "./fleet-parts.ts";
import { startProvider } from "./provider.ts";
import { startServer } from "./redis.ts";
import type { Report } from "./report.ts";

const perSecond = 400;
const host = "api.example.com";
/** Counted at once: what is judged is when requests leave. */
const near = "--profile plain --latency 20ms --jitter 0ms --count-at arrival";

/** Four processes that hold 400 a second in a leaky bucket, with a provider that refuses 2 % more. */
export async function pace(report: Report): Promise<void> {
  await using server = await startServer();
  await using provider = await startProvider(
    `${near} --rps ${perSecond * 1.02} --algorithm token_bucket --burst 12`,
  );
  const yaml = `rate_limits: [{ domain: ${host}, requests_per_second: ${perSecond}, max_queue_depth: 1000, upstream: "${provider.url}" }]\n`;
  await using fleet = await startFleet(4, server.url, yaml);
  const calls = new Calls(fleet, { host, path: "/" });
  const before = await commandsOf(server);
  await calls.saturate(30, 13_000);
  const after = await commandsOf(server);
  const log = await provider.log();
  const first = log[0]?.at ?? 0;
  const seconds = 10;
  const middle = log.filter(
    ({ at }) => at >= first + 1_500 && at < first + 1_500 + seconds * 1_000,
  );
  report.note(
    `answered by each: ${fleet.proxies.map((_, n) => calls.with(200).filter(({ proxy }) => proxy === n).length).join(", ")}`,
  );
  report.atMost("429 from the upstream", (await provider.stats()).rejected_429, 0);
  report.atLeast("requests a second", middle.length / seconds, perSecond * 0.98);
  report.atMost("requests a second", middle.length / seconds, perSecond * 1.02);
  const sent = after.sent - before.sent;
  report.atMost("commands a request at the limit", sent / log.length, 3);
  report.note(
    `calls in scripts for each: ${((after.inScripts - before.inScripts) / log.length).toFixed(1)}`,
  );
}

/** The same four at a tenth of their limits. */
export async function far(report: Report): Promise<void> {
  const up = "max_queue_depth: 1000, UP";
  const quota = `quotas: [{ name: q, domain: ${host}, provider: generic, ${up},`;
  const kinds = [
    ["a window", `${quota} rpm: ${perSecond * 60}, tpm: 100000000 }]`, 0.3],
    ["a token bucket", `${quota} algorithm: token_bucket, rpm: ${perSecond * 60} }]`, 0.3],
    ["concurrency", `${quota} max_concurrency: ${perSecond} }]`, 0.3],
    [
      "a leaky bucket",
      `rate_limits: [{ domain: ${host}, requests_per_second: ${perSecond}, ${up} }]`,
      0.3,
    ],
  ] as const;
  for (const [name, yaml, most] of kinds) {
    await using server = await startServer();
    await using provider = await startProvider(near);
    const text = `${yaml.replace("UP", `upstream: "${provider.url}"`)}\n`;
    await using fleet = await startFleet(4, server.url, text);
    const calls = new Calls(fleet, { host, path: "/" });
    const before = await commandsOf(server);
    await calls.pour(perSecond / 10 / 4, 15_000);
    const after = await commandsOf(server);
    const answered = calls.with(200);
    const times = answered.map(({ answer }) => (answer?.headAt ?? 0) - (answer?.startedAt ?? 0));
    const waits = answered.map(({ answer }) => Number(answer?.header("x-cooldown-wait")) * 1_000);
    report.note(
      `${name}: ${answered.length} of ${calls.started}, p50 ${quantile(times, 0.5).toFixed(2)} ms, waited p50 ${quantile(waits, 0.5)} and p99 ${quantile(waits, 0.99)} ms`,
    );
    const sent = after.sent - before.sent;
    report.atMost(`${name}: commands a request far from it`, sent / answered.length, most);
    const inScripts = after.inScripts - before.inScripts;
    report.note(`${name}: calls in scripts for each: ${(inScripts / answered.length).toFixed(2)}`);
  }
}
