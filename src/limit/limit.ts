import type { Unit } from "./cost.ts";

/** The spans over which providers count, in milliseconds. */
export const windowMs = {
  second: 1_000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
} as const;

export type WindowName = keyof typeof windowMs;

/** One charge against one limit, from reservation to settlement. Owned by the limit that made it. */
export interface Entry {
  /** Units charged: as reserved, later as settled. */
  amount: number;
  /** When it was charged. */
  at: number;
  /** `held`: dispatched, perhaps not yet counted by the upstream; `counted`: surely counted; `closed`: settled. `foreign`: others'. */
  state: "held" | "counted" | "closed" | "foreign";
  /** When it counts as arrived at the upstream even if no headers came; Infinity until the request was sent. */
  dueAt: number;
  /** The slice of time in which it was counted; only where the algorithm has slices. */
  slice: number;
  /** What of it has not drained yet; only where the algorithm drains, in its own units. */
  left: number;
  /** Where the forecast expects its refund, and how much; see `Forecast`. */
  refundSlice: number;
  refund: number;
}

/** How a running request is expected to end: only forecasts use it, never a decision on what may go. */
export interface Outlook {
  /** When the answer should be complete, ms since the epoch. */
  endAt: number;
  /** How many units it should finally be charged. */
  amount: number;
}

/** A limit's state for people and metrics. `used` is settled, `reserved` in flight. */
export interface LimitUsage {
  limit: number;
  used: number;
  reserved: number;
  remaining: number;
  /** What others seem to use of it; only where it is shared. */
  foreign?: number;
}

/** What an answer says of a provider's limit, in its headers. Null where it says nothing. */
export interface LimitHint {
  unit: Unit;
  window: WindowName | null;
  limit: number | null;
  remaining: number | null;
  /** When the provider's count starts anew, or its bucket is full, ms since the epoch. */
  resetAt: number | null;
}

/** A piece of settled state that survives a restart; what `value` means is the algorithm's own affair. */
export interface Mark {
  /** Which piece: a later mark with the same slot takes its place. */
  slot: number;
  /** The time it speaks of, ms since the epoch. */
  at: number;
  value: number;
  /** When it stops to matter. */
  expiresAt: number;
}

/**
 * A limit: how much may be charged when. Pure in the sense that it has no clock and no storage: every call is told
 * the time (ms since the epoch, never running backwards), amounts are whole units of `unit`.
 *
 * A charge goes through `charge` → `sent` → `arrived` → `settle`, or ends early in `release`.
 */
export interface Limit {
  readonly unit: Unit;
  readonly window: WindowName | null;
  /** Names this limit among those of a quota, and in the store. */
  readonly key: string;
  /** The most that one charge may ever be. */
  readonly max: number;

  /** Whether `amount` fits now; the same as `fitsAt(now, amount) <= now`, without looking for when else. */
  fits(now: number, amount: number): boolean;
  /** When `amount` fits if nothing is refunded: `now` if it does now, Infinity if time alone never makes room. */
  fitsAt(now: number, amount: number): number;
  /** When it should fit if running requests settle as predicted; never later than `fitsAt`. */
  expectedAt(now: number, amount: number): number;
  /** When it would fit if every open reservation were refunded now: no wait can be shorter. */
  earliestAt(now: number, amount: number): number;
  /** Units free at time `at` if nothing is refunded. May be negative. */
  roomAt(now: number, at: number): number;
  /** Units free at time `at` if running requests settle as predicted. */
  expectedRoomAt(now: number, at: number): number;

  /** Charges without asking: call only what `fitsAt(now, amount) <= now` allowed, or what already happened. */
  charge(now: number, amount: number, outlook: Outlook | null): Entry;
  /** The request has left in full; from here the upstream may take `arrival margin` to count it. */
  sent(entry: Entry, now: number): void;
  /** The upstream answered: it has surely counted the request. */
  arrived(entry: Entry, now: number): void;
  /** The final charge is `actual` units: less is given back, more is carried as debt. */
  settle(entry: Entry, now: number, actual: number): void;
  /**
   * Of what was settled, `amount` units are in nobody's answer: the provider counted them on arrival and keeps them.
   * They are charged all the same, and left out of what `usage` calls used.
   */
  withhold?(now: number, amount: number): void;
  /** The request never left: nothing of it stays. */
  release(entry: Entry, now: number): void;

  /**
   * The answer to the request of `entry` (null: of one not charged here) says what the provider counts. That only ever
   * lowers what fits; it is for the caller to see that unit and window are this limit's.
   */
  hint(entry: Entry | null, now: number, hint: LimitHint): void;
  /**
   * Whether a hint says, in a way that can be believed, that nothing is left until its `resetAt`, and most of that is
   * none of our doing: then nothing has to be tried before, and it says nothing of what others use afterwards.
   */
  isSpent?(entry: Entry | null, now: number, hint: LimitHint): boolean;
  /**
   * The provider refused the request of `entry` (null: one not charged here) because this limit is full. How much others
   * use it says only where the same answer told what remains, by a `hint` of the same moment.
   */
  refused(entry: Entry | null, now: number): void;

  /** The lower limit that answers have told and that is in force; null for none. Only where limits can be told. */
  readonly told?: number | null;
  /**
   * What was charged up to `until` may never have reached the upstream: it proves nothing about how that counts. Only
   * where answers are read that way.
   */
  distrust?(until: number): void;
  /** Takes over what is `told` elsewhere. */
  believe?(told: number | null): void;

  usage(now: number): LimitUsage;
  /** Takes over a changed limit; what is used stays used. */
  resize(spec: LimitSpec): void;

  /** Whether a charge would be forgotten by a restart unless marks are stored first: it has no row of its own. */
  readonly unsaved: boolean;
  /**
   * Settled state changed since the last call, for the store; empties the list.
   * @param last whether this is the end of the process: then marks are exact, with no allowance for what may come
   */
  takeMarks(last: boolean): Mark[];
  /** Puts a stored mark back. Only before the first charge. */
  restore(mark: Mark): void;
  /** True when nothing is charged any more, so that forgetting the limit changes nothing. */
  idle(now: number): boolean;
}

/** A limit as configured. Limits are whole units; `marginMs` is how late an upstream may count a request. */
export type LimitSpec =
  | { kind: "sliding_window"; unit: Unit; window: WindowName; limit: number; marginMs: number }
  | { kind: "token_bucket"; unit: Unit; window: WindowName; limit: number; marginMs: number }
  | { kind: "leaky_bucket"; requestsPerSecond: number; burst: number }
  | { kind: "concurrency"; max: number };

/** A fresh entry of `amount` units, charged at `at`. */
export function newEntry(amount: number, at: number, state: Entry["state"] = "held"): Entry {
  return {
    amount,
    at,
    state,
    dueAt: Infinity,
    slice: -1,
    left: 0,
    refundSlice: -1,
    refund: 0,
  };
}
