import type { Unit, WindowName } from "./limit.ts";
import { isSame } from "./quota.ts";

/** A window that is watched, whether or not a limit is set on it. */
export interface Watch {
  unit: Unit;
  window: WindowName;
  windowMs: number;
  limit: number | null;
}

export interface WindowUsage {
  unit: Unit;
  window: WindowName;
  /** null where the provider sets none. */
  limit: number | null;
  /** In the window that ends now. */
  used: number;
  /** The most in any window, each request at what it really used: what a client could complain about. */
  peak: number;
  /** The most in any window, with open reservations in full: what a provider that reserves would have seen. */
  peak_reserved: number;
}

/** One counted request: when, in milliseconds since the Unix epoch, and at how many tokens by now. */
export interface LogEntry {
  at: number;
  tokens: number;
  /** Someone else's request on the same key. */
  external?: true;
}

export interface UsageLog {
  /** Counts one request; the number names it in `revise`. Times must not decrease. */
  append(at: number, tokens: number, isExternal?: boolean): number;
  revise(id: number, tokens: number, at: number): void;
  usage(now: number): WindowUsage[];
  /** Watches these windows from now on; what is known of one that was watched before is kept. */
  watch(watches: readonly Watch[], now: number): void;
  /** The newest `count` entries, oldest first. */
  entries(count: number): LogEntry[];
}

interface Tracker extends Watch {
  /** Id of the oldest entry in the window that ends at the latest event. */
  tail: number;
  sum: number;
  peakReserved: number;
  /** Peak among the entries that were dropped. */
  peakDropped: number;
}

/**
 * The judge: what was counted and when, kept apart from the meters that enforce, so that it can show a
 * window over the limit whatever the algorithm. Exact while the window's entries fit in `capacity`; the older
 * half is dropped when it is full, its peaks kept.
 */
export function createUsageLog(watches: readonly Watch[], capacity = 1_000_000): UsageLog {
  // Entry `id` stands at index id - dropped.
  let at = new Float64Array(Math.min(1024, capacity));
  let tokens = new Float64Array(at.length);
  let external = new Uint8Array(at.length);
  let length = 0;
  let dropped = 0;
  const track = (watch: Watch): Tracker => ({
    ...watch,
    tail: 0,
    sum: 0,
    peakReserved: 0,
    peakDropped: 0,
  });
  let trackers: Tracker[] = watches.map(track);

  const amount = (unit: Unit, index: number): number =>
    unit === "requests" ? 1 : (tokens[index] ?? 0);

  // (T - window, T]: an entry leaves at the very moment when it is one window old.
  const isOut = (index: number, windowMs: number, now: number): boolean =>
    (at[index] ?? 0) + windowMs <= now;

  const advance = (tracker: Tracker, now: number): void => {
    const end = dropped + length;
    while (tracker.tail < end && isOut(tracker.tail - dropped, tracker.windowMs, now)) {
      tracker.sum -= amount(tracker.unit, tracker.tail++ - dropped);
    }
  };

  // The fullest window ends at some entry: sweep both ends over the log once.
  const sweep = ({ unit, windowMs, peakDropped }: Tracker): number => {
    let peak = peakDropped;
    let sum = 0;
    let oldest = 0;
    for (let index = 0; index < length; index++) {
      sum += amount(unit, index);
      while (isOut(oldest, windowMs, at[index] ?? 0)) sum -= amount(unit, oldest++);
      if (sum > peak) peak = sum;
    }
    return peak;
  };

  const makeRoom = (): void => {
    if (length < at.length) return;
    if (length < capacity) {
      const size = Math.min(capacity, length * 2);
      const [oldAt, oldTokens, oldExternal] = [at, tokens, external];
      at = new Float64Array(size);
      tokens = new Float64Array(size);
      external = new Uint8Array(size);
      at.set(oldAt);
      tokens.set(oldTokens);
      external.set(oldExternal);
      return;
    }
    const gone = Math.ceil(length / 2);
    for (const tracker of trackers) {
      tracker.peakDropped = sweep(tracker);
      while (tracker.tail < dropped + gone) {
        tracker.sum -= amount(tracker.unit, tracker.tail++ - dropped);
      }
    }
    at.copyWithin(0, gone);
    tokens.copyWithin(0, gone);
    external.copyWithin(0, gone);
    length -= gone;
    dropped += gone;
  };

  return {
    append(now, count, isExternal = false) {
      makeRoom();
      at[length] = now;
      tokens[length] = count;
      external[length] = isExternal ? 1 : 0;
      const id = dropped + length++;
      for (const tracker of trackers) {
        advance(tracker, now);
        tracker.sum += tracker.unit === "requests" ? 1 : count;
        tracker.peakReserved = Math.max(tracker.peakReserved, tracker.sum);
      }
      return id;
    },
    revise(id, count, now) {
      const index = id - dropped;
      if (index < 0) return;
      const difference = count - (tokens[index] ?? 0);
      for (const tracker of trackers) {
        advance(tracker, now);
        if (tracker.unit === "requests" || id < tracker.tail) continue;
        tracker.sum += difference;
        tracker.peakReserved = Math.max(tracker.peakReserved, tracker.sum);
      }
      tokens[index] = count;
    },
    usage(now) {
      return trackers.map((tracker) => {
        advance(tracker, now);
        const { unit, window, limit, sum, peakReserved } = tracker;
        return {
          unit,
          window,
          limit,
          used: sum,
          peak: sweep(tracker),
          peak_reserved: peakReserved,
        };
      });
    },
    watch(wanted, now) {
      trackers = wanted.map((watch) => {
        const old = trackers.find((tracker) => isSame(tracker, watch));
        if (old) return { ...old, limit: watch.limit };
        // A window that nobody watched before: what is left in the log is all that is known of it.
        const tracker = { ...track(watch), tail: dropped };
        for (let index = 0; index < length; index++) tracker.sum += amount(watch.unit, index);
        advance(tracker, now);
        return { ...tracker, peakReserved: sweep(tracker) };
      });
    },
    entries(count) {
      const start = Math.max(0, length - count);
      return Array.from(at.subarray(start, length), (time, index) => ({
        at: time,
        tokens: tokens[start + index] ?? 0,
        ...(external[start + index] === 1 ? { external: true as const } : {}),
      }));
    },
  };
}
