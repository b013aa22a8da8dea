/** A first-in, first-out list in a growing ring: push and shift in constant time, no element moved. */
export class Deque<T> {
  #items: (T | undefined)[] = Array.from({ length: 16 });
  #first = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(item: T): void {
    if (this.#length === this.#items.length) {
      const items: (T | undefined)[] = Array.from({ length: this.#length * 2 });
      for (let i = 0; i < this.#length; i++) items[i] = this.at(i);
      this.#items = items;
      this.#first = 0;
    }
    this.#items[(this.#first + this.#length) & (this.#items.length - 1)] = item;
    this.#length++;
  }

  shift(): T | undefined {
    if (this.#length === 0) return undefined;
    const item = this.#items[this.#first];
    this.#items[this.#first] = undefined;
    this.#first = (this.#first + 1) & (this.#items.length - 1);
    this.#length--;
    return item;
  }

  /** The element `index` places behind the first. */
  at(index: number): T | undefined {
    return index < this.#length
      ? this.#items[(this.#first + index) & (this.#items.length - 1)]
      : undefined;
  }
}
