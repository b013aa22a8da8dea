import type { Cost, Unit } from "../limit/cost.ts";
import { amountOf } from "../limit/cost.ts";
import type { Entry, Limit, LimitHint, Outlook, WindowName } from "../limit/limit.ts";
import type { AccountSpec } from "./account.ts";
import { Account } from "./account.ts";
import { tell, tellRefused } from "./hints.ts";
import type { CostOutlook, Ledger, Reservation, ReserveOptions } from "./ledger.ts";

/** Usage in memory: gone with the process. Also the working state of ledgers that store it. */
export class MemoryLedger implements Ledger {
  readonly #accounts = new Map<string, Account>();
  #lastId: number;

  readonly #make: (spec: AccountSpec) => Account;

  /**
   * @param lastId reservations are numbered from the one after it
   * @param make makes accounts
   */
  constructor(lastId = 0, make = (spec: AccountSpec): Account => new Account(spec)) {
    this.#lastId = lastId;
    this.#make = make;
  }

  account(spec: AccountSpec): Account {
    const known = this.#accounts.get(spec.name);
    if (known !== undefined) {
      if (known.spec !== spec) known.respec(spec);
      return known;
    }
    const account = this.#make(spec);
    this.#accounts.set(spec.name, account);
    return account;
  }

  accounts(): Iterable<Account> {
    return this.#accounts.values();
  }

  forget(account: Account): void {
    this.#accounts.delete(account.name);
  }

  reserve(
    now: number,
    accounts: readonly Account[],
    cost: Readonly<Cost>,
    options: ReserveOptions,
  ): Reservation | { retryAt: number } {
    for (const account of accounts) if (account.heldUntil !== 0) account.forgetHold(now);
    const limits = limitsOf(accounts);
    if (fit(limits, now, cost)) {
      return this.charge(now, accounts, limits, cost, options.outlook);
    }
    return {
      retryAt: Math.max(...limits.map((limit) => limit.fitsAt(now, amountOf(cost, limit.unit)))),
    };
  }

  /** Charges without asking whether it fits: what was asked before, or what a store remembers. */
  charge(
    now: number,
    accounts: readonly Account[],
    limits: readonly Limit[],
    cost: Readonly<Cost>,
    outlook: CostOutlook | null,
  ): Reservation {
    const entries: Entry[] = [];
    for (const limit of limits) {
      const expected: Outlook | null =
        outlook === null
          ? null
          : { endAt: outlook.endAt, amount: amountOf(outlook.cost, limit.unit) };
      entries.push(limit.charge(now, amountOf(cost, limit.unit), expected));
    }
    return { id: ++this.#lastId, accounts, limits, entries, cost, open: true };
  }

  committed(): null {
    return null;
  }

  sent(reservation: Reservation, now: number): void {
    const { limits, entries } = reservation;
    for (let i = 0; i < limits.length; i++) limits[i]?.sent(entries[i] as Entry, now);
  }

  arrived(reservation: Reservation, now: number): void {
    const { limits, entries } = reservation;
    for (let i = 0; i < limits.length; i++) limits[i]?.arrived(entries[i] as Entry, now);
  }

  hint(reservation: Reservation, now: number, hints: readonly LimitHint[]): void {
    tell(reservation, now, hints);
  }

  refused(
    account: Account,
    reservation: Reservation | null,
    now: number,
    unit: Unit | null,
    window: WindowName | null,
  ): void {
    tellRefused(account, reservation, now, unit, window);
  }

  settle(
    reservation: Reservation,
    now: number,
    actual: Readonly<Cost>,
    counted: Readonly<Cost> = actual,
  ): void {
    if (!reservation.open) return;
    reservation.open = false;
    const { limits, entries } = reservation;
    for (let i = 0; i < limits.length; i++) {
      const limit = limits[i] as Limit;
      const amount = amountOf(counted, limit.unit);
      limit.settle(entries[i] as Entry, now, amount);
      const unreported = amount - amountOf(actual, limit.unit);
      if (unreported > 0) limit.withhold?.(now, unreported);
    }
  }

  release(reservation: Reservation, now: number): void {
    if (!reservation.open) return;
    reservation.open = false;
    const { limits, entries } = reservation;
    for (let i = 0; i < limits.length; i++) limits[i]?.release(entries[i] as Entry, now);
  }

  healthy(): boolean {
    return true;
  }

  close(): void {}
}

/** The limits of all `accounts`, in order. */
function limitsOf(accounts: readonly Account[]): readonly Limit[] {
  const [first] = accounts;
  if (accounts.length === 1 && first !== undefined) return first.limits;
  return accounts.flatMap((account) => account.limits);
}

/** Written out, like all that goes through limits here: a closure for each look costs more than the look. */
function fit(limits: readonly Limit[], now: number, cost: Readonly<Cost>): boolean {
  for (const limit of limits) if (!limit.fits(now, amountOf(cost, limit.unit))) return false;
  return true;
}
