import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

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

/** Remembers the child of each label combination: `labels()` validates and builds an object each time. */
function children<Child>(make: (...labels: string[]) => Child): (...labels: string[]) => Child {
  const known = new Map<string, Child>();
  return (...labels) => {
    // Labels are bounded before they get here, so a line feed in one could at worst merge two series.
    const key = labels.length === 1 ? (labels[0] ?? "") : labels.join("\n");
    let child = known.get(key);
    if (child === undefined) known.set(key, (child = make(...labels)));
    return child;
  };
}

/** Makes the program's metrics, in a registry of their own. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  let sources: MetricSources | null = null;

  const counter = (name: string, help: string, labelNames: readonly string[]) => {
    const metric = new Counter({ name, help, labelNames, registers });
    return children((...labels) => metric.labels(...labels));
  };
  const histogram = (
    name: string,
    help: string,
    labelNames: readonly string[],
    buckets: number[],
  ) => {
    const metric = new Histogram({ name, help, labelNames, buckets, registers });
    return children((...labels) => metric.labels(...labels));
  };
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
  const overhead = new Histogram({
    name: "cooldown_overhead_seconds",
    help: "Time spent in Cooldown itself for a request, queueing excluded.",
    buckets: overheadBuckets,
    registers,
  });
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
  const tokens = new Counter({
    name: "cooldown_tokens_total",
    help: "Tokens by what they were.",
    labelNames: ["quota", "model", "kind"],
    registers,
  });
  let pairs = 0;
  const tokensOf = children((quota, model) => {
    pairs += 1;
    const shown = pairs > maxPairs ? "other" : model;
    const of = (kind: TokenKind) => tokens.labels(quota, shown, kind);
    return {
      input: of("input"),
      output: of("output"),
      cached: of("cached"),
      reserved: of("reserved"),
    };
  });
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
  const clientLimited = new Counter({
    name: "cooldown_client_limited_total",
    help: "Requests refused by their client's own limit.",
    registers,
  });

  let processFigures = false;
  return {
    request: (upstream, outcome) => requests(upstreamOf(upstream), outcomeOf(outcome)).inc(),
    queueWait: (quota, waitMs) => queueWait(quotaOf(quota)).observe(waitMs / 1000),
    upstreamFirstByte: (upstream, ms) => upstreamSeconds(upstreamOf(upstream)).observe(ms / 1000),
    overhead: (ms) => overhead.observe(ms / 1000),
    tokens: (quota, model, kind, count) =>
      tokensOf(quotaOf(quota), modelOf(model))[kind].inc(count),
    estimateError: (quota, ratio) => estimateError(quotaOf(quota)).observe(ratio),
    upstream429: (upstream) => upstream429(upstreamOf(upstream)).inc(),
    upstreamRetry: (upstream, reason) => retries(upstreamOf(upstream), reasonOf(reason)).inc(),
    cacheRequest: (result) => cacheRequests(result).inc(),
    clientLimited: () => clientLimited.inc(),
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
