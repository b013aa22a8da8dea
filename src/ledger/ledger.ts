import type { Cost, Unit } from "../limit/cost.ts";
import type { Entry, Limit, LimitHint, WindowName } from "../limit/limit.ts";
import type { Account, AccountSpec } from "./account.ts";

/** What was charged for one request, over every limit on its way. Opaque to everyone but the ledger. */
export interface Reservation {
  /** Grows with every reservation of a process. */
  readonly id: number;
  readonly accounts: readonly Account[];
  readonly limits: readonly Limit[];
  readonly entries: readonly Entry[];
  readonly cost: Readonly<Cost>;
  open: boolean;
}

/** How a request is expected to end; see `Outlook` for one limit. */
export interface CostOutlook {
  endAt: number;
  cost: Readonly<Cost>;
}

export interface ReserveOptions {
  outlook: CostOutlook | null;
  /** The body is still arriving: when the request will have left is not known yet. */
  uploading: boolean;
}

/**
 * Where usage is recorded. One request reserves over all its accounts or none; each reservation is settled or
 * released once, later calls change nothing. Times are ms since the epoch, never running backwards.
 */
export interface Ledger {
  /** The account of that name, made on first use and given `spec`. */
  account(spec: AccountSpec): Account;
  /** All accounts there are. */
  accounts(): Iterable<Account>;
  /** Forgets an account that is not configured any more once nothing is charged to it. */
  forget(account: Account): void;

  /** Charges `cost` to all accounts, or to none: then when it fits by time alone (Infinity: never by that). */
  reserve(
    now: number,
    accounts: readonly Account[],
    cost: Readonly<Cost>,
    options: ReserveOptions,
  ): Reservation | { retryAt: number };
  /** Resolves when the reservation survives this process; null if that is so already. Rejects if the store failed. */
  committed(reservation: Reservation): Promise<void> | null;
  /** The request has left in full. */
  sent(reservation: Reservation, now: number): void;
  /** The upstream's answer has begun. */
  arrived(reservation: Reservation, now: number): void;
  /**
   * What the answer's headers say of the provider's own count, once `arrived` was told. It may only lower what fits,
   * or set limits that an account's spec leaves open (see `AccountSpec.learns`).
   */
  hint(reservation: Reservation, now: number, hints: readonly LimitHint[]): void;
  /**
   * The provider refused `reservation` for want of room in `account`, in `unit` and `window` if it said so: others
   * have used what should have been free. After `hint`, where the refusal had numbers, and before or after `settle`.
   */
  refused(
    account: Account,
    reservation: Reservation | null,
    now: number,
    unit: Unit | null,
    window: WindowName | null,
  ): void;
  /**
   * The final cost is `actual`; `counted` is what the provider goes on counting for it, where that is more (it counts
   * on arrival, and takes nothing back). That is what is charged, and `actual` what is called used.
   */
  settle(
    reservation: Reservation,
    now: number,
    actual: Readonly<Cost>,
    counted?: Readonly<Cost>,
  ): void;
  /** The request never left: nothing is charged. */
  release(reservation: Reservation, now: number): void;

  /**
   * The best of those that wait for `accounts` needs `cost`; all that wait for one of them, `ahead`. Only where room
   * has to be fetched from elsewhere: then `onRoom` is called when some may have come.
   */
  seek?(
    now: number,
    accounts: readonly Account[],
    cost: Readonly<Cost>,
    ahead: (account: Account) => Readonly<Cost>,
  ): void;
  /** Set by admission; called with the group of the accounts that may have room. */
  onRoom?: ((group: string) => void) | null;

  /** False while reservations cannot be stored. */
  healthy(): boolean;
  /** Writes what is not written yet and lets the store go. */
  close(): void;
}
