import type { Limit } from "./limit.ts";
import type { Meter, MeterCharge } from "./meter.ts";

/** Room that floating point may lose over a refill: far below one token. */
const roundingError = 1e-6;

/**
 * A continuous token bucket: starts full, refills at `limit` per window at every instant and never holds more
 * than its capacity. A provider that counts so lets up to capacity + limit through in one window.
 *
 * Cerebras documents it (https://inference-docs.cerebras.ai/support/rate-limits, "Quota Replenishment") and so
 * does Anthropic; OpenAI's and Groq's "try again in" times and reset headers follow it to the millisecond.
 *
 * @param burst the capacity, by default the limit itself; 1 makes it a strict rate.
 */
export function bucketMeter(limit: Limit, burst?: number): Meter {
  let capacity = burst ?? limit.limit;
  let perMs = limit.limit / limit.windowMs;
  let level = capacity;
  let levelAt = -Infinity;

  const refill = (now: number): void => {
    if (now <= levelAt) return;
    if (levelAt !== -Infinity) level = Math.min(capacity, level + (now - levelAt) * perMs);
    levelAt = now;
  };

  return {
    waitMs(amount, now) {
      refill(now);
      if (amount > capacity) return Infinity;
      return level + roundingError >= amount ? 0 : (amount - level) / perMs;
    },
    charge(amount, now): MeterCharge {
      refill(now);
      level -= amount;
      let charged = amount;
      return {
        revise(actual, at) {
          refill(at);
          level = Math.min(capacity, level + charged - actual);
          charged = actual;
        },
      };
    },
    used(now) {
      refill(now);
      return capacity - level;
    },
    capacity: () => capacity,
    resetMs(now) {
      refill(now);
      return (capacity - level) / perMs;
    },
    resize(size, now) {
      refill(now);
      perMs = size / limit.windowMs;
      if (burst !== undefined) return;
      // A smaller bucket is found empty at worst: lowering a limit must not make a debt.
      level = Math.max(Math.min(level, 0), level + size - capacity);
      capacity = size;
    },
  };
}
