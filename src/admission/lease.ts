import type { Clock } from "../clock.ts";
import type { Account } from "../ledger/account.ts";
import type { Ledger, Reservation } from "../ledger/ledger.ts";
import type { Cost, Unit } from "../limit/cost.ts";
import type { LimitHint, WindowName } from "../limit/limit.ts";
import type { Path } from "./path.ts";

/** Who gave the lease. */
export interface LeaseOwner {
  readonly clock: Clock;
  /** The upstream has counted a request, perhaps sooner than it had to: its window ends that much sooner too. */
  counted(path: Path): void;
  /** Room may have come back on `path`. */
  settled(path: Path): void;
}

/**
 * The right to send one request upstream, now. Exactly one of `commit` and `cancel` takes effect, once; forgetting
 * both leaves the reservation charged until its window ends.
 */
export class Lease {
  readonly waitedMs: number;
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #reservation: Reservation;
  readonly #owner: LeaseOwner;
  /** What it was given on: of several alternatives the one that was chosen. */
  readonly path: Path;
  #open = true;
  #cancelled = false;

  constructor(
    owner: LeaseOwner,
    ledger: Ledger,
    path: Path,
    reservation: Reservation,
    waitedMs: number,
  ) {
    this.#owner = owner;
    this.#ledger = ledger;
    this.#clock = owner.clock;
    this.path = path;
    this.#reservation = reservation;
    this.waitedMs = waitedMs;
    this.committed = ledger.committed(reservation);
  }

  /** Resolves when the reservation is safe in the store, null where it is already: do not dispatch before. */
  readonly committed: Promise<void> | null;

  /** What is charged for now. */
  get reserved(): Readonly<Cost> {
    return this.#reservation.cost;
  }

  get open(): boolean {
    return this.#open;
  }

  /** Whether the request never left. */
  get cancelled(): boolean {
    return this.#cancelled;
  }

  /** The request has left in full; the upstream counts it within the arrival margin. */
  sent(): void {
    this.#ledger.sent(this.#reservation, this.#clock.now());
  }

  /** The upstream's headers are here: it has counted the request. */
  arrived(): void {
    this.#ledger.arrived(this.#reservation, this.#clock.now());
    this.#owner.counted(this.path);
  }

  /** What the answer's headers say of the provider's own count. After `arrived`. */
  hint(hints: readonly LimitHint[]): void {
    if (hints.length === 0) return;
    this.#ledger.hint(this.#reservation, this.#clock.now(), hints);
    this.#owner.settled(this.path);
  }

  /**
   * The upstream has turned the request away for want of room in `account`, in `unit` and `window` if it said so.
   * `hints` are what the answer's headers say that is to be believed. After `arrived`.
   */
  turnedAway(
    account: Account,
    hints: readonly LimitHint[],
    unit: Unit | null,
    window: WindowName | null,
  ): void {
    const now = this.#clock.now();
    if (hints.length > 0) this.#ledger.hint(this.#reservation, now, hints);
    this.#ledger.refused(account, this.#reservation, now, unit, window);
  }

  /** Something else than a settlement may have made room: a hold has ended. */
  roomMayHaveCome(): void {
    this.#owner.settled(this.path);
  }

  /** Settles with what the request really cost, and what the provider goes on counting for it where that is more. */
  commit(actual: Readonly<Cost>, counted: Readonly<Cost> = actual): void {
    if (!this.#open) return;
    this.#open = false;
    this.#ledger.settle(this.#reservation, this.#clock.now(), actual, counted);
    this.#owner.settled(this.path);
  }

  /** The request never left: everything is given back. */
  cancel(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#cancelled = true;
    this.#ledger.release(this.#reservation, this.#clock.now());
    this.#owner.settled(this.path);
  }
}
