import type { AccountSpec } from "../../src/ledger/account.ts";
import type { Cost } from "../../src/limit/cost.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";

/** One request of that many tokens in every unit. */
export function tokens(amount: number): Cost {
  return {
    requests: 1,
    tokens: amount,
    input_tokens: amount,
    output_tokens: amount,
    total_tokens: amount,
  };
}

/** Requests a minute in a sliding window. */
export function rpm(limit: number, marginMs = 1_000): LimitSpec {
  return { kind: "sliding_window", unit: "requests", window: "minute", limit, marginMs };
}

/** Tokens a minute in a sliding window. */
export function tpm(limit: number, marginMs = 1_000): LimitSpec {
  return { kind: "sliding_window", unit: "tokens", window: "minute", limit, marginMs };
}

/** Tokens a minute in a bucket. */
export function bucket(limit: number, marginMs = 1_000): LimitSpec {
  return { kind: "token_bucket", unit: "tokens", window: "minute", limit, marginMs };
}

/** A leaky bucket. */
export function leaky(requestsPerSecond: number, burst = 1): LimitSpec {
  return { kind: "leaky_bucket", requestsPerSecond, burst };
}

/** Requests in flight. */
export function slots(max: number): LimitSpec {
  return { kind: "concurrency", max };
}

/** An account with these limits and room for a queue. */
export function account(
  name: string,
  limits: readonly LimitSpec[],
  more: Partial<AccountSpec> = {},
): AccountSpec {
  return {
    name,
    label: name,
    group: "group",
    limits,
    maxQueueDepth: 1_000,
    requestTimeoutMs: 600_000,
    priorityThreshold: null,
    ...more,
  };
}
