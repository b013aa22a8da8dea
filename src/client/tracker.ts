import type { Clock } from "../clock.ts";
import type { Rows } from "./algorithm.ts";
import type { Page } from "./slots.ts";
import { Slots } from "./slots.ts";
import { Wheel } from "./wheel.ts";

/** Clients that are looked at in one slice of forgetting: a small part of a millisecond. */
const sliceClients = 256;
/** How often it is looked whether anybody can be forgotten. */
const everyMs = 1_000;
/** Each new client looks at so many old ones, so that forgetting keeps up with any number of them. */
const perArrival = 2;
/** How many clients that should stay are passed over to find one that can go. */
const mostPassed = 64;

/** What the tracker needs to know of the clients. */
export interface Tracking<R extends Rows> {
  /** Makes the rows of a page. */
  create(): R;
  /** When the client at a place may be forgotten, ms since the epoch. */
  forgetAt(page: Page<R>, place: number): number;
  /** Clients that must not make room for others. */
  stays(id: string): boolean;
  /** Called after a client was forgotten. */
  forgot(id: string): void;
  /** How many there may be; those that stay come on top when there are no others. */
  readonly most: number;
}

/**
 * The clients that there is something to remember of. They are forgotten in slices: some hundred by a timer, and
 * then others have their turn, so that no number of them holds a request up.
 */
export class Tracker<R extends Rows> {
  readonly slots: Slots<R>;
  readonly #clock: Clock;
  readonly #tracking: Tracking<R>;
  readonly #wheel: Wheel;
  #timer: (() => void) | null = null;
  #closed = false;

  constructor(clock: Clock, tracking: Tracking<R>) {
    this.#clock = clock;
    this.#tracking = tracking;
    this.slots = new Slots(() => tracking.create());
    this.#wheel = new Wheel(this.slots, clock.now());
  }

  /** A slot for a client that has none, its row all zeros. */
  begin(id: string, plan: number, now: number): number {
    this.#look(perArrival, now);
    if (this.slots.size >= this.#tracking.most) this.#evict();
    const slot = this.slots.add(id);
    const page = this.slots.page(slot);
    const place = this.slots.place(slot);
    page.rows.numbers.fill(0, place * page.rows.width, (place + 1) * page.rows.width);
    page.plan[place] = plan;
    this.#wheel.add(slot, now + everyMs);
    this.#arm(now + everyMs);
    return slot;
  }

  /** Forgets a client now; its slot is free when the wheel comes to it. */
  drop(slot: number): void {
    const id = this.slots.idOf(slot);
    this.slots.letGo(slot);
    this.#tracking.forgot(id);
  }

  /** Ends the timer. */
  close(): void {
    this.#closed = true;
    this.#timer?.();
    this.#timer = null;
  }

  #arm(at: number): void {
    if (this.#closed) return;
    this.#timer ??= this.#clock.at(at, () => {
      this.#timer = null;
      const now = this.#clock.now();
      const more = this.#look(sliceClients, now);
      if (this.#wheel.count > 0) this.#arm(more ? now : now + everyMs);
    });
  }

  /** Looks at up to `most` clients whose time has come. @returns whether there may be more */
  #look(most: number, now: number): boolean {
    for (let looked = 0; looked < most; looked++) {
      const slot = this.#wheel.due(now);
      if (slot === -1) return false;
      const isGone = this.slots.idOf(slot) === "";
      const at = isGone
        ? 0
        : this.#tracking.forgetAt(this.slots.page(slot), this.slots.place(slot));
      if (at > now) {
        this.#wheel.add(slot, at);
        continue;
      }
      if (!isGone) this.drop(slot);
      this.slots.free(slot);
    }
    return true;
  }

  /** Forgets one of those that would be forgotten soonest anyway. */
  #evict(): void {
    for (let passed = 0; passed < mostPassed; passed++) {
      const slot = this.#wheel.soonest();
      if (slot === -1) return;
      const id = this.slots.idOf(slot);
      if (id !== "" && this.#tracking.stays(id)) {
        this.#wheel.addLast(slot);
        continue;
      }
      if (id !== "") this.drop(slot);
      this.slots.free(slot);
      if (id !== "") return;
    }
  }
}
