import { createUsageLog } from "./usage-log.ts";
import type { LogEntry, Watch, WindowUsage } from "./usage-log.ts";

/** What `GET /__mock/stats` answers. Counts since the start or the last reset; tokens are prompt plus output. */
export interface MockStats {
  /** Calls that arrived, refused ones included; `/__mock/*` is not counted. */
  requests: number;
  /** Counted by the quota and let through. */
  admitted: number;
  rejected_429: number;
  /** Answered with the injected error. */
  errors_injected: number;
  /** The client went away before the end of its answer. */
  aborted: number;
  in_flight: number;
  peak_in_flight: number;
  by_status: Record<string, number>;
  /** Really used by calls that have ended. */
  tokens_used: number;
  /** Held by calls that are still running, and the most that was ever held so. */
  tokens_reserved: number;
  tokens_reserved_peak: number;
  windows: WindowUsage[];
  /** Admitted calls by whole seconds since the first; seconds with none are left out; the last 600 s. */
  timeline: { second: number; admitted: number }[];
}

/** One call from its arrival to its end. */
export interface CallTally {
  /** Position of the call among all that arrived, from 0. */
  index: number;
  admit(reservedTokens: number, now: number): void;
  refuse(): void;
  injectError(): void;
  status(status: number): void;
  /**
   * The call's end, by whatever way. Only the first takes effect and answers true. `usedTokens` counts only if
   * the call was admitted.
   */
  end(how: "done" | "aborted", usedTokens: number, now: number): boolean;
}

export interface Tally {
  arrive(): CallTally;
  stats(now: number): MockStats;
  log(count: number): LogEntry[];
}

const timelineSeconds = 600;

/** Counts what happens to calls. Calls that straddle a reset stay in the tally that they began in. */
export function createTally(watches: readonly Watch[]): Tally {
  const usage = createUsageLog(watches);
  const byStatus = new Map<number, number>();
  const perSecond = new Map<number, number>();
  let firstAdmittedAt: number | null = null;
  let requests = 0;
  let admitted = 0;
  let rejected = 0;
  let injected = 0;
  let aborted = 0;
  let inFlight = 0;
  let peakInFlight = 0;
  let tokensUsed = 0;
  let tokensReserved = 0;
  let tokensReservedPeak = 0;

  const countSecond = (now: number): void => {
    firstAdmittedAt ??= now;
    const second = Math.floor((now - firstAdmittedAt) / 1000);
    const count = perSecond.get(second);
    perSecond.set(second, (count ?? 0) + 1);
    if (count !== undefined) return;
    // Keys were added in order, so the oldest come first.
    for (const old of perSecond.keys()) {
      if (old > second - timelineSeconds) break;
      perSecond.delete(old);
    }
  };

  const arrive = (): CallTally => {
    const index = requests++;
    peakInFlight = Math.max(peakInFlight, ++inFlight);
    let held: { id: number; tokens: number } | null = null;
    let ended = false;
    return {
      index,
      admit(reservedTokens, now) {
        admitted++;
        countSecond(now);
        held = { id: usage.append(now, reservedTokens), tokens: reservedTokens };
        tokensReserved += reservedTokens;
        tokensReservedPeak = Math.max(tokensReservedPeak, tokensReserved);
      },
      refuse: () => void rejected++,
      injectError: () => void injected++,
      status: (status) => void byStatus.set(status, (byStatus.get(status) ?? 0) + 1),
      end(how, usedTokens, now) {
        if (ended) return false;
        ended = true;
        inFlight--;
        if (how === "aborted") aborted++;
        if (!held) return true;
        tokensReserved -= held.tokens;
        tokensUsed += usedTokens;
        usage.revise(held.id, usedTokens, now);
        return true;
      },
    };
  };

  return {
    arrive,
    stats: (now) => ({
      requests,
      admitted,
      rejected_429: rejected,
      errors_injected: injected,
      aborted,
      in_flight: inFlight,
      peak_in_flight: peakInFlight,
      by_status: Object.fromEntries(byStatus),
      tokens_used: tokensUsed,
      tokens_reserved: tokensReserved,
      tokens_reserved_peak: tokensReservedPeak,
      windows: usage.usage(now),
      timeline: Array.from(perSecond, ([second, count]) => ({ second, admitted: count })),
    }),
    log: (count) => usage.entries(count),
  };
}
