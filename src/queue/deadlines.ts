import type { Heaped } from "./heap.ts";
import { Heap } from "./heap.ts";

/** What has a deadline. `place` and the pointers belong to the list that it is in. */
export interface Dated<T> extends Heaped {
  /** When its wait is over, ms since the epoch; stays as it is while it is in a list. */
  deadlineAt: number;
  previousToEnd: T | null;
  nextToEnd: T | null;
}

/**
 * Who has waited too long, and when the next has. Most may wait equally long, so that their deadlines come in the order
 * in which they do: those stand in a row, and to come and to leave is a few assignments. Who must leave sooner than
 * the last of the row stands in a heap beside it.
 *
 * Invariants: the row is sorted; whoever is in it has no place in the heap.
 */
export class Deadlines<T extends Dated<T>> {
  #first: T | null = null;
  #last: T | null = null;
  #inRow = 0;
  readonly #heap = new Heap<T>((a, b) => a.deadlineAt < b.deadlineAt);

  get size(): number {
    return this.#inRow + this.#heap.size;
  }

  /** Whose deadline comes first. */
  first(): T | null {
    const first = this.#heap.first() ?? null;
    if (first === null || this.#first === null) return first ?? this.#first;
    return first.deadlineAt < this.#first.deadlineAt ? first : this.#first;
  }

  /** All, in no useful order. */
  *items(): Generator<T, void> {
    for (let item = this.#first; item !== null; item = item.nextToEnd) yield item;
    yield* this.#heap.items();
  }

  push(item: T): void {
    const last = this.#last;
    if (last !== null && item.deadlineAt < last.deadlineAt) {
      this.#heap.push(item);
      return;
    }
    item.previousToEnd = last;
    if (last === null) this.#first = item;
    else last.nextToEnd = item;
    this.#last = item;
    this.#inRow++;
  }

  remove(item: T): void {
    if (item.place !== -1) {
      this.#heap.remove(item);
      return;
    }
    const { previousToEnd: before, nextToEnd: after } = item;
    if (before === null) this.#first = after;
    else before.nextToEnd = after;
    if (after === null) this.#last = before;
    else after.previousToEnd = before;
    item.previousToEnd = item.nextToEnd = null;
    this.#inRow--;
  }
}
