import type { Limit } from "./limit.ts";
import type { Meter, MeterCharge } from "./meter.ts";

/** Room that floating point may lose over a refill: far below one token. */
const roundingError = 1e-6;

/**
 * A continuous token bucket: starts full, refills at `limit` per window at every instant and never holds more
 * than its capacity. A provider that counts so lets up to capacity + limit through in one window.
 *
 * Source: https://inference-docs.cerebras.ai/support/rate-limits ("Quota Replenishment").
 *
 * @param burst the capacity, by default the limit itself; 1 makes it a strict rate.
 */
export function bucketMeter(limit: Limit, burst = limit.limit): Meter {
  const perMs = limit.limit / limit.windowMs;
  let level = burst;
  let levelAt = -Infinity;

  const refill = (now: number): void => {
    if (now <= levelAt) return;
    if (levelAt !== -Infinity) level = Math.min(burst, level + (now - levelAt) * perMs);
    levelAt = now;
  };

  return {
    waitMs(amount, now) {
      refill(now);
      if (amount > burst) return Infinity;
      return level + roundingError >= amount ? 0 : (amount - level) / perMs;
    },
    charge(amount, now): MeterCharge {
      refill(now);
      level -= amount;
      let charged = amount;
      return {
        revise(actual, at) {
          refill(at);
          level = Math.min(burst, level + charged - actual);
          charged = actual;
        },
      };
    },
    remaining(now) {
      refill(now);
      return Math.max(0, level);
    },
    resetMs(now) {
      refill(now);
      return (burst - level) / perMs;
    },
  };
}
