import { collectDefaultMetrics, Gauge, Registry } from "prom-client";

import { createCounter, createHistogram } from "./instruments.ts";
import type { Tally } from "./instruments.ts";
import { usedRatio } from "./stats.ts";
import type { CircuitState, ClientStats, QuotaStats } from "./stats.ts";

/** Where the gauges get their values when someone scrapes; each is called once a scrape, if at all. */
export interface MetricSources {
  quotas(): readonly QuotaStats[];
  circuits(): readonly { upstream: string; state: CircuitState }[];
  clients(): ClientStats;
}

export type TokenKind = "input" | "output" | "cached" | "reserved";

/** Everything that is counted (contract, section 7). Durations come in milliseconds and are exported in seconds. */
export interface Metrics {
  /** A request has ended. `outcome` is one of a few words, as in the request's log line. */
  request(upstream: string, outcome: string): void;
  queueWait(quota: string, waitMs: number): void;
  /** From dispatch to the upstream's first byte. */
  upstreamFirstByte(upstream: string, ms: number): void;
  /** Time spent in Cooldown itself, queueing excluded. */
  overhead(ms: number): void;
  tokens(quota: string, model: string, kind: TokenKind, count: number): void;
  /** `(estimated - actual) / actual` of a settled request: above 0 where too much was reserved. */
  estimateError(quota: string, ratio: number): void;
  upstream429(upstream: string): void;
  upstreamRetry(upstream: string, reason: string): void;
  cacheRequest(result: "hit" | "miss" | "bypass"): void;
  clientLimited(): void;
  /** Where gauges read from; before the first call they are absent. */
  setSources(sources: MetricSources): void;
  /** The Prometheus text format, with the process's own figures. */
  text(): Promise<string>;
  /** The `Content-Type` of `text()`. */
  readonly contentType: string;
}

/** Distinct values of a label; the ones that come later are counted as `other`. */
export const maxLabelValues = 200;
/** Distinct pairs of quota and model: 200 times 200 would be too many. */
const maxPairs = 1_000;
/** Outcomes and reasons are words of ours; a bound all the same, for the day one is built from an input. */
const maxWords = 50;

const waitBuckets = [0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];
const upstreamBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];
const overheadBuckets = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5,
];
const errorBuckets = [-0.5, -0.25, -0.1, -0.05, -0.02, 0, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5];

/** Keeps a label to a bounded set of values: clients choose hosts and models. */
export function boundedLabel(max = maxLabelValues): (value: string) => string {
  const known = new Set<string>();
  return (value) => {
    if (known.has(value)) return value;
    if (known.size >= max) return "other";
    known.add(value);
    return value;
  };
}

/** Makes the program's metrics, in a registry of their own. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  let sources: MetricSources | null = null;

  const counter = (name: string, help: string, labelNames: readonly string[] = []) =>
    createCounter(registry, { name, help, labelNames });
  const histogram = (
    name: string,
    help: string,
    labelNames: readonly string[],
    buckets: readonly number[],
  ) => createHistogram(registry, { name, help, labelNames }, buckets);
  const upstreamOf = boundedLabel();
  const quotaOf = boundedLabel();
  const modelOf = boundedLabel();
  const outcomeOf = boundedLabel(maxWords);
  const reasonOf = boundedLabel(maxWords);

  /** A gauge that `fill` writes at each scrape, from nothing: what has gone away must not stay. */
  const gauge = (
    name: string,
    help: string,
    labelNames: readonly string[],
    fill: (
      from: MetricSources,
      set: (labels: Record<string, string>, value: number) => void,
    ) => void,
  ): void => {
    const metric = new Gauge({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        if (sources !== null) fill(sources, (labels, value) => this.set(labels, value));
      },
    });
    void metric;
  };
  const eachWindow = (
    from: MetricSources,
    visit: (labels: Record<string, string>, window: QuotaStats["windows"][number]) => void,
  ): void => {
    for (const quota of from.quotas()) {
      for (const window of quota.windows) {
        visit({ quota: quotaOf(quota.name), unit: window.unit, window: window.window }, window);
      }
    }
  };

  const requests = counter("cooldown_requests_total", "Requests answered.", [
    "upstream",
    "outcome",
  ]);
  gauge("cooldown_queue_depth", "Requests waiting for a quota.", ["quota"], (from, set) => {
    for (const quota of from.quotas()) set({ quota: quotaOf(quota.name) }, quota.queue_depth);
  });
  const queueWait = histogram(
    "cooldown_queue_wait_seconds",
    "Time a request waited for its quota.",
    ["quota"],
    waitBuckets,
  );
  const upstreamSeconds = histogram(
    "cooldown_upstream_seconds",
    "Time from dispatch to the first byte of the upstream's answer.",
    ["upstream"],
    upstreamBuckets,
  );
  const overhead = histogram(
    "cooldown_overhead_seconds",
    "Time spent in Cooldown itself for a request, queueing excluded.",
    [],
    overheadBuckets,
  )();
  const windowLabels = ["quota", "unit", "window"];
  gauge(
    "cooldown_quota_used_ratio",
    "Share of a quota that is taken, settled and in flight; over 1 while overage is owed.",
    windowLabels,
    (from, set) => eachWindow(from, (labels, window) => set(labels, usedRatio(window))),
  );
  gauge("cooldown_quota_limit", "Size of a quota.", windowLabels, (from, set) =>
    eachWindow(from, (labels, window) => set(labels, window.limit)),
  );
  const tokens = counter("cooldown_tokens_total", "Tokens by what they were.", [
    "quota",
    "model",
    "kind",
  ]);
  /** By quota and model; models beyond the bound are `other`. */
  const models = new Map<string, Map<string, Partial<Record<TokenKind, Tally>>>>();
  let pairs = 0;
  const tokensOf = (quota: string, model: string, kind: TokenKind): Tally => {
    let known = models.get(quota);
    if (known === undefined) models.set(quota, (known = new Map()));
    let kinds = known.get(model);
    if (kinds === undefined) {
      pairs += 1;
      known.set(model, (kinds = {}));
    }
    return (kinds[kind] ??= tokens(quota, pairs > maxPairs ? "other" : model, kind));
  };
  const estimateError = histogram(
    "cooldown_token_estimate_error_ratio",
    "(estimated - actual) / actual tokens of a settled request: above 0 where too much was reserved.",
    ["quota"],
    errorBuckets,
  );
  const upstream429 = counter("cooldown_upstream_429_total", "Rate-limit answers of an upstream.", [
    "upstream",
  ]);
  const retries = counter("cooldown_upstream_retries_total", "Tries after the first.", [
    "upstream",
    "reason",
  ]);
  gauge("cooldown_circuit_state", "0 closed, 1 half open, 2 open.", ["upstream"], (from, set) => {
    for (const { upstream, state } of from.circuits()) {
      set({ upstream: upstreamOf(upstream) }, { closed: 0, half_open: 1, open: 2 }[state]);
    }
  });
  const cacheRequests = counter(
    "cooldown_cache_requests_total",
    "Look-ups in the response cache.",
    ["result"],
  );
  gauge("cooldown_clients_tracked", "Clients whose allowance is not full.", [], (from, set) =>
    set({}, from.clients().tracked),
  );
  const clientLimited = counter(
    "cooldown_client_limited_total",
    "Requests refused by their client's own limit.",
  )();

  let processFigures = false;
  return {
    request: (upstream, outcome) => void requests(upstreamOf(upstream), outcomeOf(outcome)).value++,
    queueWait: (quota, waitMs) => queueWait(quotaOf(quota)).observe(waitMs / 1000),
    upstreamFirstByte: (upstream, ms) => upstreamSeconds(upstreamOf(upstream)).observe(ms / 1000),
    overhead: (ms) => overhead.observe(ms / 1000),
    tokens: (quota, model, kind, count) =>
      void (tokensOf(quotaOf(quota), modelOf(model), kind).value += count),
    estimateError: (quota, ratio) => estimateError(quotaOf(quota)).observe(ratio),
    upstream429: (upstream) => void upstream429(upstreamOf(upstream)).value++,
    upstreamRetry: (upstream, reason) =>
      void retries(upstreamOf(upstream), reasonOf(reason)).value++,
    cacheRequest: (result) => void cacheRequests(result).value++,
    clientLimited: () => void clientLimited.value++,
    setSources(from) {
      sources = from;
    },
    async text() {
      // At the first scrape: they start watching the event loop, which nobody pays for before.
      if (!processFigures) collectDefaultMetrics({ register: registry });
      processFigures = true;
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}
