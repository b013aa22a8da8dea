import type { Breaker } from "../breaker.ts";
import { redactUrl } from "../config/redact.ts";
import type { Account } from "../ledger/account.ts";
import { Gcra } from "../limit/gcra.ts";
import type { Limit } from "../limit/limit.ts";
import type { Core, Runtime } from "../runtime.ts";
import type { QuotaStats, Stats, WindowStats } from "../observe/stats.ts";

/** What `/stats` says of the running program. */
export function statsOf({ config, cache }: Pick<Runtime, "config" | "cache">, core: Core): Stats {
  const noCache = {
    item_count: 0,
    size_bytes: 0,
    ttl: config.cache.ttl / 1_000,
    hits: 0,
    misses: 0,
  };
  return {
    cache: cache?.stats() ?? noCache,
    rate_limit: config.clients.rate_limit,
    proxy_url: config.upstream_proxy === null ? null : redactUrl(config.upstream_proxy),
    openai_url: redactUrl(config.default_upstream),
    quotas: quotaStats(core),
    clients: { tracked: core.clients.tracked(), limited: core.clients.limited() },
  };
}

/** All accounts that limit anything. */
export function quotaStats({ ledger, breaker, clock }: Core): QuotaStats[] {
  const now = clock.now();
  return [...ledger.accounts()]
    .filter(({ limits, waiting }) => limits.length > 0 || waiting > 0)
    .map((account) => statsOfAccount(account, breaker, now));
}

function statsOfAccount(account: Account, breaker: Breaker, now: number): QuotaStats {
  const windows = account.limits.flatMap((limit) => windowOf(limit, now) ?? []);
  return {
    name: account.spec.label,
    windows,
    queue_depth: account.waiting,
    circuit: breaker.stateOf(account.spec.label),
    learned: learnedOf(account),
  };
}

/** The limits that the provider's answers have set, as the file would have them: `{"requests_minute": 500}`. */
function learnedOf({ learned }: Account): Record<string, number> | null {
  const limits = learned.flatMap((spec) =>
    "unit" in spec ? [[`${spec.unit}_${spec.window}`, spec.limit] as const] : [],
  );
  return limits.length === 0 ? null : Object.fromEntries(limits);
}

function windowOf(limit: Limit, now: number): WindowStats | null {
  const usage = limit.usage(now);
  if (limit instanceof Gcra) {
    return { unit: "requests", window: "second", ...usage, limit: limit.requestsPerSecond };
  }
  const { unit, window } = limit;
  if (window === null || unit === "slots" || unit === "total_tokens") return null;
  return { unit, window, ...usage };
}
