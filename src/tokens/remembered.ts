import { BoundedMap } from "./bounded-map.ts";

/** How many keys are kept of each thing learned: names of models come from clients. */
const mostKeys = 1000;

/** How a value is made, and how it is written down. */
export interface Form<Value> {
  /** The value of a key of which nothing is known. */
  make(): Value;
  /** As data for JSON. */
  pack(value: Value): unknown;
  /** The value that `pack` gave, or null where `stored` cannot be one: it may be anything. */
  unpack(stored: unknown): Value | null;
}

/**
 * What was learned for each key: the 1,000 keys used last, and which of them have changed since a store asked.
 */
export class Remembered<Value> {
  readonly #values = new BoundedMap<string, Value>(mostKeys);
  readonly #form: Form<Value>;
  #changed = new Set<string>();

  constructor(form: Form<Value>) {
    this.#form = form;
  }

  /** What is known of `key`, to be read; undefined where nothing is. */
  get(key: string): Value | undefined {
    return this.#values.get(key);
  }

  /** What is known of `key`, to be changed. */
  change(key: string): Value {
    let value = this.#values.get(key);
    if (value === undefined) {
      value = this.#form.make();
      this.#values.set(key, value);
    }
    this.#changed.add(key);
    // Keys that were forgotten again since are still among them: let them not pile up while nobody asks.
    if (this.#changed.size > 2 * mostKeys) this.#prune();
    return value;
  }

  /** The keys that have changed since this was asked last; they count as stored from now on. */
  takeChanged(): Set<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** What is to be stored of `key`; undefined where it is forgotten. */
  pack(key: string): unknown {
    const value = this.#values.get(key);
    return value === undefined ? undefined : this.#form.pack(value);
  }

  /** Takes over what `pack` gave for `key`. @returns whether it made sense */
  unpack(key: string, stored: unknown): boolean {
    const value = this.#form.unpack(stored);
    if (value !== null) this.#values.set(key, value);
    return value !== null;
  }

  /** All keys with what is to be stored of each, the one used longest ago first. */
  toJSON(): [key: string, stored: unknown][] {
    return [...this.#values].map(([key, value]) => [key, this.#form.pack(value)]);
  }

  /** Takes over what `toJSON` gave; entries that make no sense are left out. */
  restore(stored: unknown): void {
    if (!Array.isArray(stored)) return;
    for (const entry of stored as unknown[]) {
      if (!Array.isArray(entry)) continue;
      const [key, value] = entry as unknown[];
      if (typeof key === "string") this.unpack(key, value);
    }
  }

  #prune(): void {
    const kept = new Set([...this.#values].map(([key]) => key));
    this.#changed = this.#changed.intersection(kept);
  }
}
