import type { Rows } from "./algorithm.ts";
import { IdIndex } from "./id-index.ts";
import { Ids } from "./ids.ts";

/** Clients of one page: few enough that making one is not felt. */
const pageBits = 12;
export const pageClients = 1 << pageBits;
const mask = pageClients - 1;

/** Room for some clients. */
export interface Page<R extends Rows> {
  /** The algorithm's state of them. */
  rows: R;
  /** Index of each one's plan. */
  readonly plan: Uint16Array;
  readonly ids: Ids;
  /** The next place in whatever list a place is in, -1 at the end. */
  readonly next: Int32Array;
}

interface FreePage<R extends Rows> extends Page<R> {
  /** First of its free places, -1 if there is none. */
  free: number;
  taken: number;
}

/**
 * Which client stands where: numbered places ("slots") in pages. Nothing here takes longer with more clients: there is
 * no table that is copied when it grows, and a page is dropped when its last client is.
 *
 * Invariant: a slot is in the index, or let go and still taken, or in its page's list of free ones.
 */
export class Slots<R extends Rows> {
  readonly #create: () => R;
  readonly #index = new IdIndex((slot, id) => this.page(slot).ids.stands(slot & mask, id));
  readonly #pages: (FreePage<R> | null)[] = [];
  /** Pages that have a free place; some may be there twice, or have been filled since. */
  readonly #roomy: number[] = [];

  /** @param create makes the rows of a page */
  constructor(create: () => R) {
    this.#create = create;
  }

  /** Clients in the index. */
  get size(): number {
    return this.#index.size;
  }

  /** The slot of a client, -1 if it has none. */
  find(id: string): number {
    return this.#index.find(id);
  }

  /** A slot for a client that has none. What stands in its rows is left from another. */
  add(id: string): number {
    const number = this.#pageWithRoom();
    const page = this.#pages[number];
    if (page === undefined || page === null) throw new Error("A page that was made is gone.");
    const place = page.free;
    page.free = page.next[place] ?? -1;
    page.taken++;
    page.ids.put(place, id);
    const slot = number * pageClients + place;
    this.#index.add(id, slot);
    return slot;
  }

  /** Takes a client out of the index. Its slot stays taken until `free`. */
  letGo(slot: number): void {
    const page = this.page(slot);
    const place = slot & mask;
    this.#index.remove(page.ids.at(place));
    page.ids.put(place, "");
  }

  /** Gives the slot of a client that was let go to others. */
  free(slot: number): void {
    const number = slot >> pageBits;
    const page = this.#pages[number];
    if (page === undefined || page === null) return;
    const place = slot & mask;
    if (page.free === -1) this.#roomy.push(number);
    page.next[place] = page.free;
    page.free = place;
    page.taken--;
    // The first stays: one client that comes and goes should not cost a page each time.
    if (page.taken === 0 && number > 0) this.#pages[number] = null;
  }

  /** The page that a slot is in. @throws Error for a slot that was never taken */
  page(slot: number): Page<R> {
    const page = this.#pages[slot >> pageBits];
    if (page === undefined || page === null) throw new Error(`There is no slot ${slot}.`);
    return page;
  }

  /** Whose slot it is; empty after `letGo`. */
  idOf(slot: number): string {
    return this.page(slot).ids.at(slot & mask);
  }

  /** The slot's place in its page. */
  place(slot: number): number {
    return slot & mask;
  }

  next(slot: number): number {
    return this.page(slot).next[slot & mask] ?? -1;
  }

  setNext(slot: number, next: number): void {
    this.page(slot).next[slot & mask] = next;
  }

  /** All pages there are, with the slot that each begins with. */
  *pages(): Generator<{ page: Page<R>; first: number }> {
    for (const [number, page] of this.#pages.entries())
      if (page !== null) yield { page, first: number * pageClients };
  }

  #pageWithRoom(): number {
    for (let number = this.#roomy.at(-1); number !== undefined; number = this.#roomy.at(-1)) {
      if ((this.#pages[number]?.free ?? -1) !== -1) return number;
      this.#roomy.pop();
    }
    const hole = this.#pages.indexOf(null);
    const number = hole === -1 ? this.#pages.length : hole;
    const next = new Int32Array(pageClients);
    for (let place = 0; place < pageClients; place++)
      next[place] = place === pageClients - 1 ? -1 : place + 1;
    this.#pages[number] = {
      rows: this.#create(),
      plan: new Uint16Array(pageClients),
      ids: new Ids(pageClients),
      next,
      free: 0,
      taken: 0,
    };
    this.#roomy.push(number);
    return number;
  }
}
