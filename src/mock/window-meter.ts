import type { Limit } from "./limit.ts";
import type { Meter, MeterCharge } from "./meter.ts";

interface Entry {
  at: number;
  amount: number;
}

/**
 * An exact sliding window: remembers the moment of every charge, and at time T counts those in
 * (T - window, T]. Nothing is rounded, so no window whatever holds more than the limit.
 */
export function windowMeter(limit: Limit): Meter {
  // entries[first..] are in the window, oldest first; sum is the sum of their amounts.
  let entries: Entry[] = [];
  let first = 0;
  let sum = 0;
  let size = limit.limit;

  const expire = (now: number): void => {
    for (let entry = entries[first]; entry && entry.at + limit.windowMs <= now;) {
      sum -= entry.amount;
      entry = entries[++first];
    }
    if (first > 1024 && first * 2 > entries.length) {
      entries = entries.slice(first);
      first = 0;
    }
  };

  const add = (amount: number, now: number): Entry => {
    expire(now);
    const entry = { at: now, amount };
    entries.push(entry);
    sum += amount;
    return entry;
  };

  return {
    waitMs(amount, now) {
      expire(now);
      if (amount > size) return Infinity;
      let excess = sum + amount - size;
      if (excess <= 0) return 0;
      for (let index = first; index < entries.length; index++) {
        const entry = entries[index];
        excess -= entry?.amount ?? 0;
        if (entry && excess <= 0) return entry.at + limit.windowMs - now;
      }
      return limit.windowMs;
    },
    charge(amount, now): MeterCharge {
      const entry = add(amount, now);
      return {
        revise(actual, at) {
          expire(at);
          const difference = actual - entry.amount;
          entry.amount = actual;
          if (entry.at + limit.windowMs > at) sum += difference;
          // Too late for the window it was charged in: an overage still counts, from now.
          else if (difference > 0) add(difference, at);
        },
      };
    },
    used(now) {
      expire(now);
      return sum;
    },
    capacity: () => size,
    resetMs(now) {
      expire(now);
      const last = entries.at(-1);
      return last && first < entries.length ? last.at + limit.windowMs - now : 0;
    },
    resize: (limit) => void (size = limit),
  };
}
