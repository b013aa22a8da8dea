import { bucketMeter } from "./bucket-meter.ts";
import type { Algorithm, Cost, Limit, Unit } from "./limit.ts";
import type { Meter } from "./meter.ts";
import { windowMeter } from "./window-meter.ts";

/** What an admitted request holds, until the provider knows what it really used. */
export interface Charge {
  /** Replaces what is held in the units of `cost`; other units stay as they are, the request itself too. */
  revise(cost: Cost, now: number): void;
  /** Counts `amount` more, without asking: what is metered as it is produced. */
  add(unit: Unit, amount: number, now: number): void;
}

export interface Refused {
  kind: "refused";
  /** The limit that takes longest to have room. */
  by: LimitState;
  /** How much of that limit's unit was asked for. */
  requested: number;
  /** Milliseconds until the request would fit, Infinity when it exceeds the whole limit. */
  waitMs: number;
}

export type Decision = { kind: "admitted"; charge: Charge } | Refused;

export interface LimitState extends Limit {
  /** More than the limit while it is in debt. */
  used: number;
  remaining: number;
  resetMs: number;
}

export interface Quota {
  /** Charges every limit, or none of them and names the one that takes longest to have room. */
  take(cost: Cost, now: number): Decision;
  state(now: number): LimitState[];
  /** Replaces the limits; what was counted stays where a limit of that unit and window stays. */
  resize(limits: readonly Limit[], now: number): void;
}

export interface QuotaRules {
  /** Capacity of request buckets (token_bucket only), by default the limit. */
  burst?: number | undefined;
  /** Whether a refused request is counted as a request all the same. */
  chargesRefused?: boolean;
}

interface Line {
  limit: Limit;
  meter: Meter;
}

const meters = {
  token_bucket: bucketMeter,
  sliding_window: windowMeter,
} satisfies Record<Algorithm, (limit: Limit, burst?: number) => Meter>;

/** All limits of one account together, as the provider enforces them. Pure: time comes in with each call. */
export function createQuota(
  limits: readonly Limit[],
  algorithm: Algorithm,
  { burst, chargesRefused = false }: QuotaRules = {},
): Quota {
  const open = (limit: Limit): Line => ({
    limit,
    meter: meters[algorithm](limit, limit.unit === "requests" ? burst : undefined),
  });
  let lines = limits.map(open);

  const stateOf = ({ limit, meter }: Line, now: number): LimitState => {
    const used = meter.used(now);
    const remaining = Math.max(0, meter.capacity() - used);
    return { ...limit, used, remaining, resetMs: meter.resetMs(now) };
  };

  const refusal = (cost: Cost, now: number): Refused | null => {
    let slowest: { line: Line; requested: number; waitMs: number } | undefined;
    for (const line of lines) {
      const requested = asked(cost, line.limit.unit);
      const waitMs = line.meter.waitMs(requested, now);
      if (waitMs > (slowest?.waitMs ?? 0)) slowest = { line, requested, waitMs };
    }
    if (!slowest) return null;
    const { line, requested, waitMs } = slowest;
    return { kind: "refused", by: stateOf(line, now), requested, waitMs };
  };

  return {
    take(cost, now) {
      const refused = refusal(cost, now);
      if (refused && chargesRefused) {
        for (const { limit, meter } of lines) {
          // At most a whole limit of them: what is refused must not lock the account for ever.
          if (limit.unit === "requests" && meter.used(now) < 2 * meter.capacity())
            meter.charge(1, now);
        }
        // Asked anew: the refusal itself has made the wait longer.
        return refusal(cost, now) ?? refused;
      }
      if (refused) return refused;

      const charges = lines.map(({ limit, meter }) => ({
        unit: limit.unit,
        meter,
        charge: meter.charge(cost[limit.unit] ?? 0, now),
      }));
      const revise = (actual: Cost, at: number): void => {
        for (const { unit, charge } of charges) {
          const amount = actual[unit];
          if (amount !== undefined) charge.revise(amount, at);
        }
      };
      const add = (unit: Unit, amount: number, at: number): void => {
        for (const line of charges) if (line.unit === unit) line.meter.charge(amount, at);
      };
      return { kind: "admitted", charge: { revise, add } };
    },
    state: (now) => lines.map((line) => stateOf(line, now)),
    resize(wanted, now) {
      lines = wanted.map((limit) => {
        const old = lines.find((line) => isSame(line.limit, limit));
        if (!old) return open(limit);
        old.meter.resize(limit.limit, now);
        return { limit, meter: old.meter };
      });
    },
  };
}

/** Output is metered as it is produced, so nothing of it is held; but there must be room to begin. */
function asked(cost: Cost, unit: Unit): number {
  const amount = cost[unit] ?? 0;
  return unit === "output_tokens" ? Math.max(1, amount) : amount;
}

/** Whether two limits count the same thing over the same window. */
export function isSame(
  one: Pick<Limit, "unit" | "window">,
  other: Pick<Limit, "unit" | "window">,
): boolean {
  return one.unit === other.unit && one.window === other.window;
}
