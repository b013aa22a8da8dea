import type { Plan } from "./plan.ts";

/** What a request takes, or has taken. */
export interface ClientCost {
  readonly requests: number;
  readonly tokens: number;
}

export type ClientUnit = keyof ClientCost;

/** Usage as it is stored: at a time (ms since the epoch) so many requests and tokens. The oldest first. */
export type Usage = readonly (readonly [at: number, requests: number, tokens: number])[];

/**
 * What is kept of some clients: a row of numbers each, in one array for all of them. An object each would be several
 * times as large, and a row is found in one look into memory.
 */
export interface Rows {
  /** The first number of a row is the time up to which it tells: the client's last request, ms since the epoch. */
  readonly numbers: Float64Array;
  /** Numbers in a row. */
  readonly width: number;
}

/**
 * A way to hold a client to its plan. The state of client `i` is what stands in row `i`; all zeros is a
 * client that has used nothing. Times are milliseconds since the epoch and never go back for one client.
 */
export interface Algorithm<R extends Rows> {
  /** @param tokens whether any plan limits them: else there is no place for them */
  create(clients: number, tokens: boolean): R;
  /**
   * Charges the client if all of `cost` fits.
   * @returns 0 if it did; else the milliseconds until it would, Infinity if it never could
   */
  take(rows: R, i: number, now: number, plan: Plan, cost: ClientCost): number;
  /** Charges whatever there is room for or not. What is over the limit is waited off. */
  charge(rows: R, i: number, now: number, plan: Plan, cost: ClientCost): void;
  /** Takes back what was charged at `takenAt`, as far as it still counts. */
  giveBack(rows: R, i: number, now: number, plan: Plan, cost: ClientCost, takenAt: number): void;
  /** Lets time pass up to `now` under `plan`. */
  advance(rows: R, i: number, now: number, plan: Plan): void;
  /** Units that counted against the client when its row was brought up to date last. */
  used(rows: R, i: number, unit: ClientUnit): number;
  /** When nothing counts any more, if nothing is charged until then. */
  fullAt(rows: R, i: number, plan: Plan): number;
  /** What `charge` at these times would make the same state of. */
  pack(rows: R, i: number, now: number, plan: Plan): Usage;
}
