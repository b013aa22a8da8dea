import type { Cost } from "./limit.ts";
import { createRequestLog } from "./request-log.ts";
import type { RequestEntry, RequestKind } from "./request-log.ts";
import { createUsageBooks } from "./usage-books.ts";
import type { BookEntry } from "./usage-books.ts";
import type { LogEntry, Watch, WindowUsage } from "./usage-log.ts";

/** What `GET /__mock/stats` answers. Counts since the start or the last reset; tokens are prompt plus output. */
export interface MockStats {
  /** Calls that arrived, refused ones included; `/__mock/*` is not counted. */
  requests: number;
  /** Counted by the quota and let through. */
  admitted: number;
  /** Refused by the quota, whatever the status; scripted 429s are in `scripted`. */
  rejected_429: number;
  /** Admitted and answered with the injected error. */
  errors_injected: number;
  /** Answered, closed or left hanging by a script or an outage; the quota never saw them. */
  scripted: number;
  /** Admitted, and the connection closed before the answer. */
  resets_injected: number;
  /** Admitted and never answered. */
  stalls_injected: number;
  /** Admitted, and the stream cut in the middle. */
  cuts_injected: number;
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
  /** Someone else on the same key; in `windows`, and in none of the other counts. */
  external: { admitted: number; refused: number; tokens: number };
  windows: WindowUsage[];
  /** Admitted calls by whole seconds since the first; seconds with none are left out; the last 600 s. */
  timeline: { second: number; admitted: number }[];
}

/** One call from its arrival to its end. */
export interface CallTally {
  /** Position of the call among all that arrived, from 0. */
  index: number;
  admit(cost: Cost, now: number): void;
  /** What became of the call; counted in the field of that name. */
  outcome(kind: RequestKind): void;
  status(status: number): void;
  /** Output that the client has been sent, or that was made for it. */
  produced(tokens: number, now: number): void;
  /**
   * The call's end, by whatever way. Only the first takes effect and answers true. `usedTokens` counts only if
   * the call was admitted; `cost` is what it stays counted at.
   */
  end(how: "done" | "aborted", usedTokens: number, cost: Cost, now: number): boolean;
}

export interface Tally {
  arrive(now: number, tag: string | null): CallTally;
  externalAdmitted(cost: Cost, now: number): BookEntry;
  externalRefused(): void;
  externalUsed(tokens: number): void;
  watch(watches: readonly Watch[], now: number): void;
  stats(now: number): MockStats;
  log(count: number): LogEntry[];
  requests(): RequestEntry[];
}

const timelineSeconds = 600;

/** Counts what happens to calls. Calls that straddle a reset stay in the tally that they began in. */
export function createTally(watches: readonly Watch[]): Tally {
  const usage = createUsageBooks(watches);
  const requestLog = createRequestLog();
  const byStatus = new Map<number, number>();
  const byKind = new Map<RequestKind, number>();
  const perSecond = new Map<number, number>();
  const external = { admitted: 0, refused: 0, tokens: 0 };
  let firstAdmittedAt: number | null = null;
  let requests = 0;
  let admitted = 0;
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

  const arrive = (now: number, tag: string | null): CallTally => {
    const index = requests++;
    const logged = requestLog.open(now, tag);
    peakInFlight = Math.max(peakInFlight, ++inFlight);
    let held: { entry: BookEntry; tokens: number } | null = null;
    let ended = false;
    return {
      index,
      admit(cost, at) {
        admitted++;
        logged.kind = "admitted";
        countSecond(at);
        const tokens = cost.tokens ?? 0;
        held = { entry: usage.admit(cost, at, false), tokens };
        tokensReserved += tokens;
        tokensReservedPeak = Math.max(tokensReservedPeak, tokensReserved);
      },
      outcome(kind) {
        logged.kind = kind;
        byKind.set(kind, (byKind.get(kind) ?? 0) + 1);
      },
      status(status) {
        logged.status = status;
        byStatus.set(status, (byStatus.get(status) ?? 0) + 1);
      },
      produced: (tokens, at) => held?.entry.produced(tokens, at),
      end(how, usedTokens, cost, at) {
        if (ended) return false;
        ended = true;
        inFlight--;
        if (how === "aborted") aborted++;
        if (!held) return true;
        tokensReserved -= held.tokens;
        tokensUsed += usedTokens;
        held.entry.revise(cost, at);
        return true;
      },
    };
  };

  return {
    arrive,
    externalAdmitted(cost, now) {
      external.admitted++;
      return usage.admit(cost, now, true);
    },
    externalRefused: () => void external.refused++,
    externalUsed: (tokens) => void (external.tokens += tokens),
    watch: (wanted, now) => usage.watch(wanted, now),
    stats: (now) => ({
      requests,
      admitted,
      rejected_429: byKind.get("refused") ?? 0,
      errors_injected: byKind.get("failed") ?? 0,
      scripted: byKind.get("scripted") ?? 0,
      resets_injected: byKind.get("reset") ?? 0,
      stalls_injected: byKind.get("stalled") ?? 0,
      cuts_injected: byKind.get("cut") ?? 0,
      aborted,
      in_flight: inFlight,
      peak_in_flight: peakInFlight,
      by_status: Object.fromEntries(byStatus),
      tokens_used: tokensUsed,
      tokens_reserved: tokensReserved,
      tokens_reserved_peak: tokensReservedPeak,
      external: { ...external },
      windows: usage.windows(now),
      timeline: Array.from(perSecond, ([second, count]) => ({ second, admitted: count })),
    }),
    log: (size) => usage.entries(size),
    requests: () => requestLog.entries(),
  };
}
