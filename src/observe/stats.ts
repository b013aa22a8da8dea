/** What `/stats`, `/metrics` and the dashboard show of a quota, a breaker and the clients (contract, section 6). */

export type CircuitState = "closed" | "open" | "half_open";

/** One limit of a quota over one span of time. */
export interface WindowStats {
  unit: "requests" | "tokens" | "input_tokens" | "output_tokens";
  window: "second" | "minute" | "hour" | "day";
  limit: number;
  /** Settled. */
  used: number;
  /** In flight. */
  reserved: number;
  remaining: number;
}

export interface QuotaStats {
  name: string;
  windows: readonly WindowStats[];
  /** Waiting requests. */
  queue_depth: number;
  circuit: CircuitState;
  /** What the provider's answers have taught about this quota: its shape is the learner's. */
  learned: unknown;
}

export interface ClientStats {
  tracked: number;
  /** Requests refused by their client's own limit since start. */
  limited: number;
}

/** The answer of `/stats`. */
export interface Stats {
  cache: { item_count: number; size_bytes: number; ttl: number; hits: number; misses: number };
  /** Requests a minute per client, 0 = none. */
  rate_limit: number;
  /** The outgoing proxy, its password hidden. */
  proxy_url: string | null;
  openai_url: string;
  quotas: readonly QuotaStats[];
  clients: ClientStats;
}

/** Share of a window that is taken, settled and in flight; over 1 while overage is carried as debt. */
export function usedRatio(window: WindowStats): number {
  return window.limit > 0 ? (window.used + window.reserved) / window.limit : 0;
}

/**
 * The flat JSON of `/metrics`: `<quota>_queue_depth`, `<quota>_rpm_usage`, `<quota>_tpm_usage` (0–1) and
 * `<quota>_circuit_breaker_open` for each quota. `cerebras_…` is always there, idle where no such quota is.
 * A quota with limits over other spans than a minute shows its fullest one as `rpm` and `tpm`.
 */
export function flatMetrics(quotas: readonly QuotaStats[]): Record<string, number | boolean> {
  const idle: QuotaStats = {
    name: "cerebras",
    windows: [],
    queue_depth: 0,
    circuit: "closed",
    learned: null,
  };
  const flat: Record<string, number | boolean> = {};
  for (const quota of [idle, ...quotas]) {
    flat[`${quota.name}_queue_depth`] = quota.queue_depth;
    flat[`${quota.name}_rpm_usage`] = fullest(
      quota.windows.filter((window) => window.unit === "requests"),
    );
    flat[`${quota.name}_tpm_usage`] = fullest(
      quota.windows.filter((window) => window.unit !== "requests"),
    );
    flat[`${quota.name}_circuit_breaker_open`] = quota.circuit === "open";
  }
  return flat;
}

function fullest(windows: readonly WindowStats[]): number {
  const minutes = windows.filter((window) => window.window === "minute");
  const ratios = (minutes.length > 0 ? minutes : windows).map(usedRatio);
  return Math.min(1, Math.max(0, ...ratios));
}
