import { bucketMeter } from "./bucket-meter.ts";
import type { Algorithm, Cost, Limit } from "./limit.ts";
import type { Meter } from "./meter.ts";
import { windowMeter } from "./window-meter.ts";

/** What an admitted request holds, until the provider knows what it really used. */
interface Charge {
  /** Replaces the reserved tokens by `tokens`. The request itself stays counted. */
  revise(tokens: number, now: number): void;
}

export type Decision =
  | { kind: "admitted"; charge: Charge }
  /** `waitMs` until the request would fit, Infinity when it exceeds the whole limit. */
  | { kind: "refused"; by: Limit; waitMs: number };

export interface LimitState extends Limit {
  remaining: number;
  resetMs: number;
}

export interface Quota {
  /** Charges every limit, or none of them and names the one that takes longest to have room. */
  take(cost: Cost, now: number): Decision;
  state(now: number): LimitState[];
}

const meters = {
  token_bucket: bucketMeter,
  sliding_window: windowMeter,
} satisfies Record<Algorithm, (limit: Limit, burst?: number) => Meter>;

/**
 * All limits of one account together, as the provider enforces them. Pure: time comes in with each call.
 *
 * @param burst capacity of request buckets (token_bucket only), by default the limit.
 */
export function createQuota(limits: readonly Limit[], algorithm: Algorithm, burst?: number): Quota {
  const lines = limits.map((limit) => ({
    limit,
    meter: meters[algorithm](limit, limit.unit === "requests" ? burst : undefined),
  }));

  return {
    take(cost, now) {
      let refusal: Extract<Decision, { kind: "refused" }> | undefined;
      for (const { limit, meter } of lines) {
        const waitMs = meter.waitMs(cost[limit.unit], now);
        if (waitMs > (refusal?.waitMs ?? 0)) refusal = { kind: "refused", by: limit, waitMs };
      }
      if (refusal) return refusal;

      const charges = lines.map(({ limit, meter }) => ({
        unit: limit.unit,
        charge: meter.charge(cost[limit.unit], now),
      }));
      const revise = (tokens: number, at: number): void => {
        for (const { unit, charge } of charges) if (unit === "tokens") charge.revise(tokens, at);
      };
      return { kind: "admitted", charge: { revise } };
    },
    state: (now) =>
      lines.map(({ limit, meter }) => ({
        ...limit,
        remaining: meter.remaining(now),
        resetMs: meter.resetMs(now),
      })),
  };
}
