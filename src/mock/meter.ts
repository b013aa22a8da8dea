/**
 * How a provider counts one limit. Times are milliseconds, amounts requests or tokens; `now` never decreases
 * from call to call.
 */
export interface Meter {
  /** Milliseconds until `amount` fits: 0 when it does now, Infinity when it never can. */
  waitMs(amount: number, now: number): number;
  /** Counts `amount` without asking whether it fits; the answer can be revised. */
  charge(amount: number, now: number): MeterCharge;
  /** How much is used; more than the capacity while the meter is in debt. */
  used(now: number): number;
  /** The most that fits at once. */
  capacity(): number;
  /** Milliseconds until all of the limit is free again if nothing more comes. */
  resetMs(now: number): number;
  /** Sets the limit to `limit` and keeps what was counted. */
  resize(limit: number, now: number): void;
}

export interface MeterCharge {
  /** Replaces what was charged by `amount`, now that the provider knows it. */
  revise(amount: number, now: number): void;
}
