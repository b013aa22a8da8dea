import type { ClientTaken, LimitedClient } from "../../src/client/limiter.ts";
import { ClientLimits } from "../../src/client/limits.ts";
import type { ClientLimitsConfig } from "../../src/client/plan.ts";
import type { ClientRefusal } from "../../src/client/refusal.ts";
import { FakeClock } from "../clock.ts";

/** A configuration in which nothing is limited, but for what is given. */
export function configOf(config: Partial<ClientLimitsConfig> = {}): ClientLimitsConfig {
  return {
    rate_limit: 0,
    burst: null,
    algorithm: "token_bucket",
    idle_ttl: 3_600_000,
    tiers: {},
    keys: [],
    ...config,
  };
}

/** Limits with a clock that stands until it is moved. */
export function limitsOf(
  config: Partial<ClientLimitsConfig>,
  maxTracked = 1_000_000,
): { clock: FakeClock; limits: ClientLimits } {
  const clock = new FakeClock();
  return { clock, limits: new ClientLimits({ clock, config: configOf(config), maxTracked }) };
}

export function client(id: string, tier: string | null = null): LimitedClient {
  return { id, tier: tier === null ? null : { name: tier } };
}

/** One request of so many tokens. */
export function cost(tokens = 0): { requests: number; tokens: number } {
  return { requests: 1, tokens };
}

/** How many of `tries` requests are let through now. */
export function letThrough(limits: ClientLimits, who: LimitedClient, tries: number): number {
  return Array.from({ length: tries }, () => limits.take(who, cost())).filter(({ ok }) => ok)
    .length;
}

export function refusalOf(outcome: ClientTaken | ClientRefusal): ClientRefusal {
  if (!outcome.ok) return outcome;
  throw new Error("was let through");
}

export function takenOf(outcome: ClientTaken | ClientRefusal): ClientTaken {
  if (outcome.ok) return outcome;
  throw new Error("was refused");
}
