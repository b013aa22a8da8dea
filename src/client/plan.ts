/** A limit on one unit: so much a minute, and how much of it may go back to back. */
export interface Rate {
  readonly perMinute: number;
  readonly perMs: number;
  /** Units that a client that has used nothing may use at once; in a sliding window all of them. */
  readonly burst: number;
}

/** What the clients of one tier are held to. Null is no limit on that unit. */
export interface Plan {
  /** Its place among the plans of its limiter. */
  readonly index: number;
  /** Null for the general one. */
  readonly tier: string | null;
  readonly requests: Rate | null;
  readonly tokens: Rate | null;
}

export type AlgorithmName = "token_bucket" | "sliding_window" | "leaky_bucket";

/** What limits need of the configuration, under the names of the file (`clients`). */
export interface ClientLimitsConfig {
  /** Requests a minute per client, 0 = none. */
  readonly rate_limit: number;
  /** Requests that may go back to back; null: as many as go in a minute. */
  readonly burst: number | null;
  readonly algorithm: AlgorithmName;
  /** Milliseconds. */
  readonly idle_ttl: number;
  readonly tiers: Readonly<
    Record<string, { readonly rpm: number | null; readonly tpm: number | null }>
  >;
  readonly keys: readonly { readonly name: string; readonly tier: string | null }[];
}

/** The plans of a configuration: each tier's, and under null the one of clients without a tier. */
export type Plans = ReadonlyMap<string | null, Plan>;

/** A tier's `rpm` replaces the general limit; `burst` holds for every client's requests. */
export function createPlans(config: ClientLimitsConfig): Plans {
  const { rate_limit: general } = config;
  const burst = config.algorithm === "sliding_window" ? null : config.burst;
  const tiers: [string | null, { rpm: number | null; tpm: number | null }][] = [
    [null, { rpm: null, tpm: null }],
    ...Object.entries(config.tiers),
  ];
  return new Map(
    tiers.map(([tier, { rpm, tpm }], index) => {
      const requests = rate(rpm ?? general, burst);
      return [tier, { index, tier, requests, tokens: rate(tpm ?? 0, null) }];
    }),
  );
}

function rate(perMinute: number, burst: number | null): Rate | null {
  if (perMinute === 0) return null;
  return { perMinute, perMs: perMinute / 60_000, burst: burst ?? perMinute };
}

/** Whether nothing is limited by it. */
export function isFree({ requests, tokens }: Plan): boolean {
  return requests === null && tokens === null;
}

/** The unused part of a burst, in whole units. */
export function roomIn(rate: Rate, used: number): number {
  return Math.max(0, Math.floor(rate.burst - used + 1e-6));
}
