/** A turn of the wheel is 128 s; what is due later comes round again. */
const tickMs = 500;
const ticks = 256;

/** Where the wheel keeps which slot follows which. */
export interface Links {
  next(slot: number): number;
  setNext(slot: number, next: number): void;
}

/**
 * Timer wheel (Varghese and Lauck 1987): slots by the half second in which they are to be looked at. Adding and taking
 * one out are a few steps, however many there are. A slot is in it once; one whose time has moved is looked at early
 * and added again.
 *
 * Invariant: what is in it stands at ticks `#tick` to `#tick + 255`, and `#count` says how much that is.
 */
export class Wheel {
  readonly #heads = new Int32Array(ticks).fill(-1);
  readonly #links: Links;
  #tick: number;
  #count = 0;

  /** @param now ms since the epoch */
  constructor(links: Links, now: number) {
    this.#links = links;
    this.#tick = Math.floor(now / tickMs);
  }

  get count(): number {
    return this.#count;
  }

  /** Has `slot` looked at when time `at` has passed, or at the end of a turn if that is later. */
  add(slot: number, at: number): void {
    const tick = Math.min(Math.max(Math.ceil(at / tickMs), this.#tick), this.#tick + ticks - 1);
    this.#push(slot, tick);
  }

  /** Takes out a slot whose time has passed, -1 if there is none. */
  due(now: number): number {
    const present = Math.floor(now / tickMs);
    while (this.#count > 0 && this.#tick <= present) {
      const slot = this.#pop(this.#tick % ticks);
      if (slot !== -1) return slot;
      this.#tick++;
    }
    if (this.#count === 0) this.#tick = Math.max(this.#tick, present);
    return -1;
  }

  /** Takes out one of those that are due next, -1 if the wheel is empty. */
  soonest(): number {
    if (this.#count === 0) return -1;
    for (let tick = this.#tick; ; tick++) {
      const slot = this.#pop(tick % ticks);
      if (slot !== -1) return slot;
    }
  }

  /** Adds at the end of a turn. */
  addLast(slot: number): void {
    this.#push(slot, this.#tick + ticks - 1);
  }

  #push(slot: number, tick: number): void {
    const place = tick % ticks;
    this.#links.setNext(slot, this.#heads[place] ?? -1);
    this.#heads[place] = slot;
    this.#count++;
  }

  #pop(place: number): number {
    const slot = this.#heads[place] ?? -1;
    if (slot === -1) return -1;
    this.#heads[place] = this.#links.next(slot);
    this.#count--;
    return slot;
  }
}
