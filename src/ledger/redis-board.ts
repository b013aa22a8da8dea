import type { RedisStore } from "./redis-store.ts";

/** Something that one process tells all. Times are Redis's, ms since the epoch. */
export interface Entry {
  readonly topic: string;
  /** Of two entries on one topic the higher one holds, and the later one of two as high. */
  readonly rank: number;
  /** When it is taken down. */
  readonly until: number;
  readonly value: unknown;
}

/** The least by which one rank is higher than another: of two times, too. */
const rankStep = 0.001;

/** Above this many, those that are over are looked for. */
const manyEntries = 1_000;

/**
 * What processes tell each other: holds, learned limits, open circuits. Entries stand in Redis until their time is up,
 * for those that start later, and news of each goes to all that are there. Every process keeps a copy, so that nothing
 * here is asked for when a request comes; a Redis that comes back empty is told again.
 */
export class Board {
  readonly #store: RedisStore;
  readonly #remote: () => number;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Map<string, (name: string, entry: Entry) => void>();
  #sweepAt = manyEntries;

  /** @param remote Redis's time now, ms since the epoch */
  constructor(store: RedisStore, remote: () => number) {
    this.#store = store;
    this.#remote = remote;
    store.onPost = (text) => this.#heard(entryOf(parsed(text)));
  }

  /** Redis's time now, ms since the epoch. */
  now(): number {
    return this.#remote();
  }

  /**
   * Tells all of `name`, which is of a `kind`.
   * @param given without a rank the latest of all holds; one of a lower rank than what stands there says nothing
   */
  post(kind: string, name: string, given: Omit<Entry, "topic" | "rank"> & { rank?: number }): void {
    const topic = `${kind} ${name}`;
    const before = this.#entries.get(topic)?.rank ?? 0;
    const entry = { rank: Math.max(this.#remote(), before + rankStep), ...given };
    if (!this.#keep({ topic, ...entry })) return;
    this.#store.post({ topic, ...entry });
  }

  /** Calls `hear` with what others tell of a `kind`, and with what is known of it already. */
  listen(kind: string, hear: (name: string, entry: Entry) => void): void {
    this.#listeners.set(kind, hear);
    for (const entry of this.#entries.values()) this.#tell(entry, kind);
  }

  /** What stands there of `name`; null for nothing. */
  read(kind: string, name: string): Entry | null {
    const entry = this.#entries.get(`${kind} ${name}`);
    return entry !== undefined && entry.until > this.#remote() ? entry : null;
  }

  /** After each connection: learns what was told meanwhile, and tells what Redis does not know any more. */
  connected(): void {
    this.#store.readBoard((text) => {
      if (text === null) return;
      const all = parsed(text);
      const found = new Map<string, Entry>();
      for (const item of Array.isArray(all) ? (all as unknown[]) : []) {
        const entry = entryOf(item);
        if (entry !== null) found.set(entry.topic, entry);
        this.#heard(entry);
      }
      this.#sweep();
      for (const entry of this.#entries.values())
        if ((found.get(entry.topic)?.rank ?? -Infinity) < entry.rank) this.#store.post(entry);
    });
  }

  #heard(entry: Entry | null): void {
    if (entry === null || entry.until <= this.#remote() || !this.#keep(entry)) return;
    this.#tell(entry, null);
  }

  /** @returns whether it is news */
  #keep(entry: Entry): boolean {
    const known = this.#entries.get(entry.topic);
    if (known !== undefined && known.until > this.#remote() && known.rank >= entry.rank)
      return false;
    this.#entries.set(entry.topic, entry);
    if (this.#entries.size > this.#sweepAt) this.#sweep();
    return true;
  }

  #tell(entry: Entry, only: string | null): void {
    const [kind = "", ...name] = entry.topic.split(" ");
    if (only === null || kind === only) this.#listeners.get(kind)?.(name.join(" "), entry);
  }

  #sweep(): void {
    const now = this.#remote();
    for (const [topic, { until }] of this.#entries) if (until <= now) this.#entries.delete(topic);
    this.#sweepAt = Math.max(manyEntries, 2 * this.#entries.size);
  }
}

function entryOf(item: unknown): Entry | null {
  if (typeof item !== "object" || item === null) return null;
  const { topic, rank, until, value } = item as Partial<Entry>;
  if (typeof topic !== "string" || typeof rank !== "number" || typeof until !== "number")
    return null;
  return { topic, rank, until, value };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
