/**
 * A map of at most `capacity` entries that forgets the one used longest ago.
 *
 * Invariant: the Map below iterates from least to most recently used.
 */
export class BoundedMap<Key, Value> {
  private readonly entries = new Map<Key, Value>();

  constructor(private readonly capacity: number) {}

  get size(): number {
    return this.entries.size;
  }

  /** The value under `key`, which thereby becomes the most recently used; undefined where there is none. */
  get(key: Key): Value | undefined {
    const value = this.entries.get(key);
    if (value === undefined) return undefined;
    this.entries.delete(key);
    this.entries.set(key, value);
    return value;
  }

  /** Keeps `value` under `key`. */
  set(key: Key, value: Value): void {
    this.entries.delete(key);
    this.entries.set(key, value);
    if (this.entries.size <= this.capacity) return;
    for (const oldest of this.entries.keys()) {
      this.entries.delete(oldest);
      return;
    }
  }

  /** All entries, the least recently used first. */
  [Symbol.iterator](): MapIterator<[Key, Value]> {
    return this.entries[Symbol.iterator]();
  }
}
