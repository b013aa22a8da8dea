import type { Database } from "bun:sqlite";
import type { Clock } from "../clock.ts";
import { ProxyError } from "../errors.ts";
import type { Cost, Unit } from "../limit/cost.ts";
import type { LimitHint, LimitSpec, WindowName } from "../limit/limit.ts";
import { windowMs } from "../limit/limit.ts";
import type { Account, AccountSpec, AccountState } from "./account.ts";
import type { MarkRow, OpenRow, Statements, StoredMark } from "./journal.ts";
import { isJournalled, isUnsaved, prepare } from "./journal.ts";
import type { Ledger, Reservation, ReserveOptions } from "./ledger.ts";
import { MemoryLedger } from "./memory.ts";

/** Settlements may wait this long for a transaction; a crash before it counts them as reserved, which errs to fewer. */
const settleDelayMs = 50;
/** A request may leave this long after the commit that its row is dated by: a busy turn, a connection to be made. */
const dispatchMs = 100;
/** How often marks that no longer matter are deleted. */
const pruneEveryMs = 60_000;
/** No reservation matters longer than the longest window and a generous margin. */
const longestMs = 2 * windowMs.day;

/** A reservation read back after a crash: nobody will settle it. At `until` the upstream has surely counted it. */
interface Orphan {
  readonly reservation: Reservation;
  readonly until: number;
}

/**
 * Usage that survives the process. Memory is the truth while running; the journal follows it:
 *
 * - the reservations of one event-loop turn are committed in one transaction, and `committed` resolves after it, so
 *   no request leaves that a restart would forget;
 * - settlements follow in the next transaction, or a little later;
 * - settled charges are kept as marks (a slice's sum, a bucket's level), not as rows of their own;
 * - holds and learned limits are kept, what others were seen to use is not: the first answers tell that anew.
 *
 * After a crash the marks are read back and what was open counts in full until its window ends.
 */
export class SqliteLedger implements Ledger {
  readonly #memory: MemoryLedger;
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #defer: (run: () => void) => void;
  readonly #statements: Statements;

  #reserved: Reservation[] = [];
  /** Those among them that must not be dispatched before they are committed. */
  readonly #waits = new Set<Reservation>();
  /** Reservations whose body is still arriving. */
  readonly #uploading = new Set<Reservation>();
  #left: { reservation: Reservation; at: number }[] = [];
  #closed: Reservation[] = [];
  readonly #dirty = new Set<Account>();
  /** Accounts of which the provider has told something new. */
  readonly #told = new Set<Account>();
  /** Marks that a failed transaction could not write. */
  #unsaved: StoredMark[] = [];
  /** Reservations that a failed transaction could not write: there is no row to delete. */
  readonly #unstored = new Set<Reservation>();
  readonly #orphans: Orphan[] = [];
  #turn: PromiseWithResolvers<void> | null = null;
  #timer: (() => void) | null = null;
  #prunedAt = 0;
  #healthy = true;
  #isOpen = true;

  /**
   * @param database opened with `ledgerMigrations`
   * @param defer runs a function when the present event-loop turn has handled its input
   */
  constructor(database: Database, clock: Clock, defer: (run: () => void) => void = setImmediate) {
    this.#database = database;
    this.#clock = clock;
    this.#defer = defer;
    this.#statements = prepare(database);
    const now = clock.now();
    database.run("DELETE FROM open WHERE at < ?", [now - longestMs]);
    // What was still arriving may have been counted as late as the crash, which was before now.
    database.run("UPDATE open SET at = ? WHERE at IS NULL", [now]);
    const last = database.query<{ id: number | null }, []>("SELECT max(id) AS id FROM open").get();
    this.#memory = new MemoryLedger(last?.id ?? 0);
  }

  /** The latest time that the store has seen, for a clock that must not run backwards across restarts. */
  static latestTime(database: Database): number {
    const sql =
      "SELECT max(coalesce((SELECT max(at) FROM open), 0), coalesce((SELECT max(at) FROM mark), 0)) AS at";
    return database.query<{ at: number }, []>(sql).get()?.at ?? 0;
  }

  account(spec: AccountSpec): Account {
    const account = this.#memory.account(spec);
    if (account.storeId === 0) this.#load(account);
    return account;
  }

  accounts(): Iterable<Account> {
    return this.#memory.accounts();
  }

  forget(account: Account): void {
    this.#memory.forget(account);
    this.#dirty.delete(account);
    this.#told.delete(account);
    account.onTold = null;
  }

  reserve(
    now: number,
    accounts: readonly Account[],
    cost: Readonly<Cost>,
    options: ReserveOptions,
  ): Reservation | { retryAt: number } {
    this.#endOrphans(now);
    const made = this.#memory.reserve(now, accounts, cost, options);
    if ("retryAt" in made) return made;
    const needsRow = made.limits.some(isJournalled);
    if (this.#healthy && !needsRow && !made.limits.some(isUnsaved)) return made;
    if (options.uploading && needsRow) this.#uploading.add(made);
    this.#reserved.push(made);
    this.#waits.add(made);
    if (this.#turn === null) {
      this.#turn = Promise.withResolvers<void>();
      // Not every caller waits for the store; the ones that do hear of its failure.
      this.#turn.promise.catch(() => undefined);
      this.#defer(() => this.#flush());
    }
    return made;
  }

  committed(reservation: Reservation): Promise<void> | null {
    if (this.#unstored.has(reservation))
      return Promise.reject(unavailable("its last write failed"));
    return this.#turn !== null && this.#waits.has(reservation) ? this.#turn.promise : null;
  }

  sent(reservation: Reservation, now: number): void {
    this.#memory.sent(reservation, now);
    if (!this.#uploading.delete(reservation)) return;
    this.#left.push({ reservation, at: now });
    this.#flushSoon();
  }

  arrived(reservation: Reservation, now: number): void {
    this.#memory.arrived(reservation, now);
  }

  hint(reservation: Reservation, now: number, hints: readonly LimitHint[]): void {
    this.#memory.hint(reservation, now, hints);
  }

  refused(
    account: Account,
    reservation: Reservation | null,
    now: number,
    unit: Unit | null,
    window: WindowName | null,
  ): void {
    this.#memory.refused(account, reservation, now, unit, window);
  }

  settle(
    reservation: Reservation,
    now: number,
    actual: Readonly<Cost>,
    counted: Readonly<Cost> = actual,
  ): void {
    if (!reservation.open) return;
    this.#memory.settle(reservation, now, actual, counted);
    this.#close(reservation);
  }

  release(reservation: Reservation, now: number): void {
    if (!reservation.open) return;
    this.#memory.release(reservation, now);
    this.#close(reservation);
  }

  healthy(): boolean {
    return this.#healthy;
  }

  close(): void {
    if (!this.#isOpen) return;
    for (const account of this.accounts()) this.#dirty.add(account);
    this.#flush(true);
    this.#isOpen = false;
    this.#timer?.();
    this.#statements.finalize();
    this.#database.close();
  }

  #close(reservation: Reservation): void {
    if (!reservation.limits.some(isJournalled)) return void this.#unstored.delete(reservation);
    this.#uploading.delete(reservation);
    if (this.#unstored.delete(reservation))
      for (const account of reservation.accounts) this.#dirty.add(account);
    else this.#closed.push(reservation);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (!this.#isOpen) return;
    this.#timer ??= this.#clock.at(this.#clock.now() + settleDelayMs, () => {
      this.#timer = null;
      if (this.#turn === null) this.#flush();
    });
  }

  /** One transaction with all that happened since the last. If it fails, the next one tries again. */
  #flush(last = false): void {
    const turn = this.#turn;
    this.#turn = null;
    this.#waits.clear();
    if (!this.#isOpen) return turn?.reject(unavailable("closed"));
    const now = this.#clock.now();
    this.#endOrphans(now);
    const work = { reserved: this.#reserved, left: this.#left, closed: this.#closed };
    this.#reserved = [];
    this.#left = [];
    this.#closed = [];
    for (const { accounts } of work.reserved)
      for (const account of accounts) this.#dirty.add(account);
    for (const { accounts } of work.closed)
      for (const account of accounts) this.#dirty.add(account);
    const marks = this.#unsaved;
    this.#unsaved = [];
    for (const account of this.#dirty) {
      for (const limit of account.limits) {
        for (const mark of limit.takeMarks(last)) marks.push({ account, key: limit.key, mark });
      }
    }
    try {
      this.#statements.transaction(() => {
        for (const reservation of work.reserved)
          if (reservation.open) this.#insert(reservation, now);
        for (const { reservation, at } of work.left) this.#statements.left(reservation, at);
        for (const reservation of work.closed) this.#statements.remove(reservation);
        for (const mark of marks) this.#statements.mark(mark);
        for (const account of this.#told) this.#statements.told(account.storeId, account.state);
        if (now - this.#prunedAt > pruneEveryMs) this.#statements.prune(now);
      });
      if (now - this.#prunedAt > pruneEveryMs) this.#prunedAt = now;
      this.#dirty.clear();
      this.#told.clear();
      this.#healthy = true;
      turn?.resolve();
    } catch (error) {
      this.#healthy = false;
      // Their owners release the reservations of this turn; everything else is tried again.
      this.#left = work.left.concat(this.#left);
      this.#closed = work.closed.concat(this.#closed);
      this.#unsaved = newest(marks);
      for (const reservation of work.reserved)
        if (reservation.open) this.#unstored.add(reservation);
      const reason = error instanceof Error ? error.message : String(error);
      turn?.reject(
        new ProxyError("STORE_UNAVAILABLE", `The usage store cannot be written: ${reason}`, 1_000),
      );
      this.#flushSoon();
    }
  }

  #insert(reservation: Reservation, now: number): void {
    const at = this.#uploading.has(reservation) ? null : now;
    for (const account of reservation.accounts) {
      if (account.limits.some(isJournalled)) this.#statements.open(reservation, account, at);
    }
  }

  /** What nobody will settle has cost what was reserved for it: to wait for its refund would be for nothing. */
  #endOrphans(now: number): void {
    for (
      let first = this.#orphans[0];
      first !== undefined && first.until <= now;
      first = this.#orphans[0]
    ) {
      this.#orphans.shift();
      this.settle(first.reservation, now, first.reservation.cost);
    }
  }

  /**
   * Reads back what the store knows of an account that is new to this process.
   * @throws ProxyError if the store cannot be read or written; the account stays unknown to it then
   */
  #load(account: Account): void {
    const { marks, opens, state } = this.#read(account);
    account.restore(state);
    account.onTold = () => {
      this.#told.add(account);
      this.#flushSoon();
    };
    for (const row of marks) {
      const limit = account.limits.find(({ key }) => key === row.limit_key);
      limit?.restore({ slot: row.slot, at: row.at, value: row.value, expiresAt: Infinity });
    }
    const sentMs = dispatchMs + longestMargin([...account.spec.limits, ...account.learned]);
    for (const { id, at, ...cost } of opens) {
      const charged = this.#memory.charge(
        at,
        [account],
        account.limits.filter(isJournalled),
        cost,
        null,
      );
      const reservation = { ...charged, id };
      this.#memory.sent(reservation, at + dispatchMs);
      this.#orphans.push({ reservation, until: at + sentMs });
    }
    this.#orphans.sort((a, b) => a.until - b.until);
    const until = Math.max(this.#clock.now(), ...opens.map(({ at }) => at + sentMs));
    if (marks.length + opens.length > 0)
      for (const limit of account.limits) limit.distrust?.(until);
  }

  #read(account: Account): { marks: MarkRow[]; opens: OpenRow[]; state: AccountState } {
    try {
      const id = this.#statements.accountId(account.name);
      const rows = {
        marks: this.#statements.marksOf(id),
        opens: this.#statements.openOf(id),
        state: this.#statements.stateOf(id),
      };
      account.storeId = id;
      return rows;
    } catch (error) {
      throw unavailable(error);
    }
  }
}

/** How late an upstream may count a request, ms. */
function longestMargin(limits: readonly LimitSpec[]): number {
  return Math.max(0, ...limits.map((spec) => ("marginMs" in spec ? spec.marginMs : 0)));
}

/** What is said of a store that failed with `error`. */
function unavailable(error: unknown): ProxyError {
  const reason = error instanceof Error ? error.message : String(error);
  return new ProxyError("STORE_UNAVAILABLE", `The usage store cannot be used: ${reason}`, 1_000);
}

/** The last mark of each slot. */
function newest(marks: readonly StoredMark[]): StoredMark[] {
  return [
    ...new Map(
      marks.map((item) => [`${item.account.storeId} ${item.key} ${item.mark.slot}`, item]),
    ).values(),
  ];
}
