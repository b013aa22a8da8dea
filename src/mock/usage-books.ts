import type { Cost, Unit } from "./limit.ts";
import { isSame } from "./quota.ts";
import { createUsageLog } from "./usage-log.ts";
import type { LogEntry, UsageLog, Watch, WindowUsage } from "./usage-log.ts";

/** One counted request in the books. */
export interface BookEntry {
  /** Replaces what it was counted at, in the units of `cost`. */
  revise(cost: Cost, now: number): void;
  /** Counts output at the moment when it was produced. */
  produced(tokens: number, now: number): void;
}

/** What was counted and when, in every unit that a limit can have. */
export interface UsageBooks {
  admit(cost: Cost, now: number, isExternal: boolean): BookEntry;
  watch(watches: readonly Watch[], now: number): void;
  windows(now: number): WindowUsage[];
  entries(count: number): LogEntry[];
}

/** Requests and ordinary tokens share a log: one entry each a request. */
const held = ["tokens", "total_tokens", "input_tokens"] as const;

const logOf = (unit: Unit): Unit => (unit === "requests" ? "tokens" : unit);

/** Keeps one usage log a unit, since output is counted when it is produced and all else when it is admitted. */
export function createUsageBooks(initial: readonly Watch[]): UsageBooks {
  let watches = initial;
  const logs = new Map<Unit, UsageLog>();
  const log = (unit: Unit): UsageLog => {
    const known = logs.get(unit);
    if (known) return known;
    const created = createUsageLog(watches.filter((watch) => logOf(watch.unit) === unit));
    logs.set(unit, created);
    return created;
  };
  const isWatched = (unit: Unit): boolean =>
    unit === "tokens" || watches.some((watch) => watch.unit === unit);

  return {
    admit(cost, now, isExternal) {
      const ids = new Map<Unit, number>();
      for (const unit of held) {
        if (isWatched(unit)) ids.set(unit, log(unit).append(now, cost[unit] ?? 0, isExternal));
      }
      return {
        revise(actual, at) {
          for (const [unit, id] of ids) {
            const tokens = actual[unit];
            if (tokens !== undefined) log(unit).revise(id, tokens, at);
          }
        },
        produced(tokens, at) {
          if (tokens > 0 && isWatched("output_tokens")) log("output_tokens").append(at, tokens);
        },
      };
    },
    watch(wanted, now) {
      watches = wanted;
      for (const [unit, known] of logs) {
        known.watch(
          wanted.filter((watch) => logOf(watch.unit) === unit),
          now,
        );
      }
    },
    windows(now) {
      const usage = [...new Set(watches.map(({ unit }) => logOf(unit)))].flatMap((unit) =>
        log(unit).usage(now),
      );
      return watches.flatMap((watch) => usage.filter((each) => isSame(each, watch)));
    },
    entries: (count) => log("tokens").entries(count),
  };
}
