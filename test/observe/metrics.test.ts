import { describe, expect, test } from "bun:test";

import { createMetrics, maxLabelValues } from "../../src/observe/metrics.ts";
import type { Metrics } from "../../src/observe/metrics.ts";
import { flatMetrics, usedRatio } from "../../src/observe/stats.ts";
import type { QuotaStats, WindowStats } from "../../src/observe/stats.ts";

const requests: WindowStats = {
  unit: "requests",
  window: "minute",
  limit: 100,
  used: 20,
  reserved: 5,
  remaining: 75,
};
const tokens: WindowStats = {
  unit: "tokens",
  window: "minute",
  limit: 1000,
  used: 1200,
  reserved: 0,
  remaining: 0,
};
const quota: QuotaStats = {
  name: "cerebras",
  windows: [requests, tokens],
  queue_depth: 3,
  circuit: "open",
  learned: null,
};

/** The text format as a map from `name{labels}` to value. */
async function scrape(metrics: Metrics): Promise<Map<string, number>> {
  const lines = (await metrics.text())
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(" ")),
      Number(line.slice(line.lastIndexOf(" ") + 1)),
    ]),
  );
}

test("what is observed is exported under the contract's names", async () => {
  const metrics = createMetrics();
  metrics.request("api.cerebras.ai", "ok");
  metrics.request("api.cerebras.ai", "ok");
  metrics.queueWait("cerebras", 1500);
  metrics.upstreamFirstByte("api.cerebras.ai", 250);
  metrics.overhead(0.2);
  metrics.tokens("cerebras", "llama", "reserved", 1200);
  metrics.estimateError("cerebras", -0.1);
  metrics.upstream429("api.cerebras.ai");
  metrics.upstreamRetry("api.cerebras.ai", "overloaded");
  metrics.cacheRequest("hit");
  metrics.clientLimited();
  metrics.setSources({
    quotas: () => [quota],
    circuits: () => [{ upstream: "api.cerebras.ai", state: "open" }],
    clients: () => ({ tracked: 4, limited: 9 }),
  });
  expect(Object.fromEntries(await scrape(metrics))).toMatchObject({
    'cooldown_requests_total{upstream="api.cerebras.ai",outcome="ok"}': 2,
    'cooldown_queue_depth{quota="cerebras"}': 3,
    'cooldown_queue_wait_seconds_sum{quota="cerebras"}': 1.5,
    'cooldown_queue_wait_seconds_bucket{le="1",quota="cerebras"}': 0,
    'cooldown_queue_wait_seconds_bucket{le="2.5",quota="cerebras"}': 1,
    'cooldown_upstream_seconds_sum{upstream="api.cerebras.ai"}': 0.25,
    cooldown_overhead_seconds_count: 1,
    'cooldown_quota_used_ratio{quota="cerebras",unit="requests",window="minute"}': 0.25,
    'cooldown_quota_used_ratio{quota="cerebras",unit="tokens",window="minute"}': 1.2,
    'cooldown_quota_limit{quota="cerebras",unit="requests",window="minute"}': 100,
    'cooldown_tokens_total{quota="cerebras",model="llama",kind="reserved"}': 1200,
    'cooldown_token_estimate_error_ratio_sum{quota="cerebras"}': -0.1,
    'cooldown_upstream_429_total{upstream="api.cerebras.ai"}': 1,
    'cooldown_upstream_retries_total{upstream="api.cerebras.ai",reason="overloaded"}': 1,
    'cooldown_circuit_state{upstream="api.cerebras.ai"}': 2,
    'cooldown_cache_requests_total{result="hit"}': 1,
    cooldown_clients_tracked: 4,
    cooldown_client_limited_total: 1,
  });
});

test("the process's own figures are there", async () => {
  const names = [...(await scrape(createMetrics())).keys()];
  expect(names).toContain("process_resident_memory_bytes");
  expect(names).toContain("process_cpu_seconds_total");
});

test("a gauge forgets what is gone", async () => {
  const metrics = createMetrics();
  let quotas = [quota, { ...quota, name: "other quota" }];
  metrics.setSources({
    quotas: () => quotas,
    circuits: () => [],
    clients: () => ({ tracked: 0, limited: 0 }),
  });
  expect([...(await scrape(metrics)).keys()]).toContain(
    'cooldown_queue_depth{quota="other quota"}',
  );
  quotas = [quota];
  expect(
    [...(await scrape(metrics)).keys()].filter((name) => name.includes("other quota")),
  ).toEqual([]);
});

describe("labels are bounded", () => {
  test("hosts beyond the bound are counted as other", async () => {
    const metrics = createMetrics();
    for (let host = 0; host < maxLabelValues + 50; host += 1) metrics.request(`host${host}`, "ok");
    metrics.request("host0", "ok");
    const seen = await scrape(metrics);
    expect(seen.get('cooldown_requests_total{upstream="other",outcome="ok"}')).toBe(50);
    expect(seen.get('cooldown_requests_total{upstream="host0",outcome="ok"}')).toBe(2);
    expect(
      [...seen.keys()].filter((name) => name.startsWith("cooldown_requests_total")),
    ).toHaveLength(maxLabelValues + 1);
  });

  test("and so are models, for one quota and over all quotas", async () => {
    const metrics = createMetrics();
    for (let model = 0; model < 300; model += 1) {
      for (let name = 0; name < 20; name += 1)
        metrics.tokens(`quota${name}`, `model${model}`, "input", 1);
    }
    const series = [...(await scrape(metrics))].filter(([name]) =>
      name.startsWith("cooldown_tokens_total"),
    );
    expect(series.length).toBeLessThanOrEqual(1_020);
    expect(series.reduce((sum, [, value]) => sum + value, 0)).toBe(6_000);
  });
});

test("the ratio counts what is in flight, and a limit of nothing as free", () => {
  expect(usedRatio(requests)).toBe(0.25);
  expect(usedRatio({ ...requests, limit: 0 })).toBe(0);
});

describe("flat metrics", () => {
  test("have cerebras even without such a quota", () => {
    expect(flatMetrics([])).toEqual({
      cerebras_queue_depth: 0,
      cerebras_rpm_usage: 0,
      cerebras_tpm_usage: 0,
      cerebras_circuit_breaker_open: false,
    });
  });

  test("have each quota, usage within 0 and 1, the fullest where there is no minute", () => {
    const hour: WindowStats = { ...requests, window: "hour", used: 90 };
    const day: WindowStats = { ...requests, window: "day", used: 10 };
    const second: QuotaStats = {
      ...quota,
      name: "second",
      windows: [hour, day],
      queue_depth: 0,
      circuit: "half_open",
    };
    expect(flatMetrics([quota, second])).toEqual({
      cerebras_queue_depth: 3,
      cerebras_rpm_usage: 0.25,
      cerebras_tpm_usage: 1,
      cerebras_circuit_breaker_open: true,
      second_queue_depth: 0,
      second_rpm_usage: 0.95,
      second_tpm_usage: 0,
      second_circuit_breaker_open: false,
    });
  });
});
