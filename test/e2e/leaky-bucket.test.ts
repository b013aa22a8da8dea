import { expect, setDefaultTimeout, test } from "bun:test";
import { ask } from "./client.ts";
import { folder, startProxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";
import type { Upstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

function burst(port: number, host: string, count: number): Promise<unknown> {
  return Promise.all(Array.from({ length: count }, () => ask(port, { host })));
}

/** Arrivals at the upstream: how long they took in all, and the gap that 95 % of gaps exceed, ms. */
function pace({ seen }: Upstream): { spanMs: number; p5GapMs: number } {
  const times = seen.map(({ at }) => at);
  const gaps = times.slice(1).map((at, n) => at - (times[n] ?? at));
  const sorted = gaps.toSorted((a, b) => a - b);
  return {
    spanMs: (times.at(-1) ?? 0) - (times[0] ?? 0),
    p5GapMs: sorted[Math.floor(0.05 * (sorted.length - 1))] ?? 0,
  };
}

test("60 at once at 20/s take 2.95 s ± 5 % and leave evenly", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = `rate_limits: [{ domain: api.test, requests_per_second: 20, upstream: "${upstream.url}" }]\n`;
  await using proxy = await startProxy(yaml, { at });
  await burst(proxy.port, "api.test", 60);
  const { spanMs, p5GapMs } = pace(upstream);
  expect(spanMs).toBeWithin(2_950 * 0.95, 2_950 * 1.05);
  expect(p5GapMs).toBeGreaterThanOrEqual(42);
});

test("two domains and a wildcard keep their own pace at the same time; a burst goes back to back", async () => {
  using at = folder();
  await using first = startUpstream();
  await using second = startUpstream();
  await using wild = startUpstream();
  await using bursting = startUpstream();
  await using proxy = await startProxy(
    `rate_limits:
  - { domain: first.test, requests_per_second: 20, upstream: "${first.url}" }
  - { domain: a.second.test, requests_per_second: 8, upstream: "${second.url}" }
  - { domain: "*.second.test", requests_per_second: 12, upstream: "${wild.url}" }
  - { domain: burst.test, requests_per_second: 10, burst: 5, upstream: "${bursting.url}" }
`,
    { at },
  );
  await Promise.all([
    burst(proxy.port, "first.test", 41),
    burst(proxy.port, "a.second.test", 17),
    // One bucket for all that the wildcard covers.
    burst(proxy.port, "b.second.test", 13),
    burst(proxy.port, "c.d.second.test", 12),
    burst(proxy.port, "burst.test", 20),
  ]);
  for (const upstream of [first, second, wild]) {
    expect(pace(upstream).spanMs).toBeWithin(2_000 * 0.95, 2_000 * 1.05);
  }
  const times = bursting.seen.map(({ at }) => at);
  expect((times[4] ?? Infinity) - (times[0] ?? 0)).toBeLessThan(50);
  expect((times[19] ?? 0) - (times[0] ?? 0)).toBeWithin(1_500 * 0.95, 1_500 * 1.05);
});

test("400/s, faster than timers fire, is met and not exceeded", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = `rate_limits: [{ domain: api.test, requests_per_second: 400, max_queue_depth: 1000, upstream: "${upstream.url}" }]\n`;
  await using proxy = await startProxy(yaml, { at });
  await burst(proxy.port, "api.test", 801);
  expect(pace(upstream).spanMs).toBeWithin(2_000 * 0.97, 2_000 * 1.05);
});
