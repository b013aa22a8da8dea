/** What a heap holds: it keeps each element's place in the element, -1 where it is in none. */
export interface Heaped {
  place: number;
}

/**
 * Binary heap whose elements know their place, so that removal and re-ordering cost O(log n) too.
 *
 * Invariant: `items[i].place === i`, and no element is before its parent at `(i - 1) >> 1`.
 */
export class Heap<T extends Heaped> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  /** @param before whether `a` must leave before `b`; a strict order */
  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  first(): T | undefined {
    return this.#items[0];
  }

  /** All elements, in no useful order. */
  items(): Iterable<T> {
    return this.#items;
  }

  push(item: T): void {
    item.place = this.#items.length;
    this.#items.push(item);
    this.#rise(item);
  }

  remove(item: T): void {
    const last = this.#items.pop();
    if (last !== undefined && last !== item) {
      this.#put(last, item.place);
      this.update(last);
    }
    item.place = -1;
  }

  /** Puts `item` where it belongs after its order has changed. */
  update(item: T): void {
    this.#rise(item);
    this.#sink(item);
  }

  #put(item: T, place: number): void {
    item.place = place;
    this.#items[place] = item;
  }

  #rise(item: T): void {
    while (item.place > 0) {
      const parent = this.#items[(item.place - 1) >> 1];
      if (parent === undefined || !this.#before(item, parent)) return;
      this.#swap(item, parent);
    }
  }

  #sink(item: T): void {
    for (;;) {
      const left = this.#items[item.place * 2 + 1];
      const right = this.#items[item.place * 2 + 2];
      if (left === undefined) return;
      const child = right !== undefined && this.#before(right, left) ? right : left;
      if (!this.#before(child, item)) return;
      this.#swap(item, child);
    }
  }

  #swap(a: T, b: T): void {
    const place = a.place;
    this.#put(a, b.place);
    this.#put(b, place);
  }
}
