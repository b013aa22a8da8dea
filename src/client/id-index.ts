/** Tables that ids are spread over: one that grows is rebuilt as a whole, and these are small. */
const tables = 64;
const smallest = 8;

/**
 * Where each id stands, in a fraction of the memory of a `Map` and without its pauses: 64 hash tables with linear
 * probing (Knuth, TAOCP 6.4, algorithms L and R), of pairs of a hash and a slot. The ids themselves stand elsewhere.
 *
 * Invariant: from where a pair's hash puts it to where it is, no place is empty.
 */
export class IdIndex {
  readonly #tables: Table[] = Array.from({ length: tables }, emptyTable);
  readonly #stands: (slot: number, id: string) => boolean;
  /** Clients choose their ids: they must not know which ones share a place. */
  readonly #seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  #size = 0;

  /** @param stands whether a slot was added with an id */
  constructor(stands: (slot: number, id: string) => boolean) {
    this.#stands = stands;
  }

  get size(): number {
    return this.#size;
  }

  /** The slot of `id`, -1 if it has none. */
  find(id: string): number {
    const hash = this.#hash(id);
    const { pairs, mask } = this.#table(hash);
    for (let place = home(hash, mask); ; place = (place + 1) & mask) {
      const slot = pairs[2 * place + 1] ?? 0;
      if (slot === 0) return -1;
      if (pairs[2 * place] === (hash | 0) && this.#stands(slot - 1, id)) return slot - 1;
    }
  }

  /** @param id one that is not there */
  add(id: string, slot: number): void {
    const hash = this.#hash(id);
    const table = this.#table(hash);
    if (2 * (table.count + 1) > table.mask + 1) resize(table, 2 * (table.mask + 1));
    insert(table, hash | 0, slot + 1);
    this.#size++;
  }

  /** @returns whether it was there */
  remove(id: string): boolean {
    const hash = this.#hash(id);
    const table = this.#table(hash);
    const { pairs, mask } = table;
    let place = home(hash, mask);
    for (; ; place = (place + 1) & mask) {
      const slot = pairs[2 * place + 1] ?? 0;
      if (slot === 0) return false;
      if (pairs[2 * place] === (hash | 0) && this.#stands(slot - 1, id)) break;
    }
    closeGap(table, place);
    this.#size--;
    if (mask + 1 > smallest && 8 * table.count < mask + 1) resize(table, (mask + 1) / 2);
    return true;
  }

  #hash(id: string): number {
    return Bun.hash.xxHash32(id, this.#seed);
  }

  #table(hash: number): Table {
    const table = this.#tables[hash & (tables - 1)];
    if (table === undefined) throw new Error("The number of tables is no power of two.");
    return table;
  }
}

interface Table {
  /** A hash and, one higher so that 0 is empty, a slot, for each place. */
  pairs: Int32Array;
  /** Places less one: a power of two less one. */
  mask: number;
  count: number;
}

function emptyTable(): Table {
  return { pairs: new Int32Array(2 * smallest), mask: smallest - 1, count: 0 };
}

/** The place that a hash belongs to; its lowest bits are the same all over a table. */
function home(hash: number, mask: number): number {
  return (hash >>> 6) & mask;
}

function insert(table: Table, hash: number, entry: number): void {
  const { pairs, mask } = table;
  let place = home(hash, mask);
  while (pairs[2 * place + 1] !== 0) place = (place + 1) & mask;
  pairs[2 * place] = hash;
  pairs[2 * place + 1] = entry;
  table.count++;
}

function resize(table: Table, places: number): void {
  const old = table.pairs;
  table.pairs = new Int32Array(2 * places);
  table.mask = places - 1;
  table.count = 0;
  for (let at = 0; at < old.length; at += 2) {
    const entry = old[at + 1] ?? 0;
    if (entry !== 0) insert(table, old[at] ?? 0, entry);
  }
}

/** Empties a place, moving up those that stood behind it only because it was taken. */
function closeGap(table: Table, place: number): void {
  const { pairs, mask } = table;
  let gap = place;
  for (let at = (place + 1) & mask; pairs[2 * at + 1] !== 0; at = (at + 1) & mask) {
    const wanted = home(pairs[2 * at] ?? 0, mask);
    // What belongs behind the gap stays where it is.
    if (((at - wanted) & mask) < ((at - gap) & mask)) continue;
    pairs[2 * gap] = pairs[2 * at] ?? 0;
    pairs[2 * gap + 1] = pairs[2 * at + 1] ?? 0;
    gap = at;
  }
  pairs[2 * gap + 1] = 0;
  table.count--;
}
