/**
 * How a provider counts one limit. Times are milliseconds, amounts requests or tokens; `now` never decreases
 * from call to call.
 */
export interface Meter {
  /** Milliseconds until `amount` fits: 0 when it does now, Infinity when it never can. */
  waitMs(amount: number, now: number): number;
  /** Counts `amount` without asking whether it fits; the answer can be revised. */
  charge(amount: number, now: number): MeterCharge;
  /** How much is left; never below 0, though the meter itself may be in debt. */
  remaining(now: number): number;
  /** Milliseconds until all of the limit is free again if nothing more comes. */
  resetMs(now: number): number;
}

export interface MeterCharge {
  /** Replaces what was charged by `amount`, now that the provider knows it. */
  revise(amount: number, now: number): void;
}
