import { LRUCache } from "lru-cache";

import type { Clock } from "../clock.ts";
import { keepMs } from "./directives.ts";
import { Recorder } from "./recorder.ts";
import type { FollowStream, Recording } from "./recorder.ts";
import { Shelf } from "./shelf.ts";
import type { Place } from "./shelf.ts";
import { lastingHeaders, replay, written } from "./stored.ts";
import type { Answer, AnswerHead } from "./stored.ts";

export interface ResponseCacheOptions {
  readonly clock: Clock;
  /** How long an answer is kept, ms. */
  readonly ttlMs: number;
  /** What all answers together may take, headers and bookkeeping counted. */
  readonly maxBytes: number;
}

/** What `/stats` says of the cache. */
export interface CacheStats {
  readonly item_count: number;
  readonly size_bytes: number;
  /** Seconds. */
  readonly ttl: number;
  readonly hits: number;
  readonly misses: number;
}

/** One answer may take this part of the cache, and never more than `largestEntry`; so may all that are recorded. */
const largestShare = 0.1;
const largestEntry = 16 * 1024 * 1024;

/**
 * What an answer takes beside its head and body, measured as resident memory: key, entry and places in lists, which
 * are on the collector's heap and so cost about twice their size; and how much more than its bytes a row takes in
 * pages that are not always full.
 */
const entryBytes = 1024;
const rowShare = 1.1;

/** An answer in the cache. */
interface Entry extends Place {
  /** When it was complete, ms since the epoch. */
  readonly storedAt: number;
  /** All that it takes. */
  readonly size: number;
}

/**
 * Answers kept in memory for `ttlMs`, those used longest ago given up for new ones.
 *
 * A hit is one look into a map; nothing runs by timer. What has run out is dropped when it is asked for, when the
 * room is needed, or when somebody counts.
 */
export class ResponseCache {
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #entries: LRUCache<string, Entry>;
  readonly #shelf: Shelf;
  readonly #recorder: Recorder;
  #hits = 0;
  #misses = 0;
  /** Grows with every `clear`: an answer that was under way then is older than that. */
  #generation = 0;

  constructor({ clock, ttlMs, maxBytes }: ResponseCacheOptions) {
    this.#clock = clock;
    this.#ttlMs = ttlMs;
    const together = Math.max(1, Math.floor(maxBytes * largestShare));
    this.#shelf = new Shelf(maxBytes);
    this.#recorder = new Recorder(Math.min(together, largestEntry), together);
    this.#entries = new LRUCache({
      maxSize: Math.max(1, maxBytes),
      ttl: ttlMs,
      // By default it asks once a millisecond, with a timer.
      ttlResolution: 0,
      perf: { now: () => clock.now() },
      dispose: (entry) => this.#shelf.remove(entry),
    });
  }

  /**
   * The answer under `key`, null where there is none. Counts a hit or a miss.
   * @param maxAgeMs how old it may be
   */
  get(key: string, maxAgeMs = Infinity): Answer | null {
    const entry = this.#entries.get(key);
    const ageMs = entry === undefined ? Infinity : this.#clock.now() - entry.storedAt;
    const item = entry === undefined || ageMs > maxAgeMs ? null : this.#shelf.get(entry);
    if (item === null) {
      this.#misses++;
      return null;
    }
    this.#hits++;
    return replay(item.head, item.body, ageMs);
  }

  /**
   * Records an answer while it passes, to keep it under `key` when it has ended well; null where it may not be kept,
   * is too large, or too much is being recorded already.
   *
   * @param method of the request
   * @param head as the upstream sent it, without hop-by-hop fields
   * @param follow reads along a stream of events and tells whether it came to its last one; null where any end will do
   */
  record(
    key: string,
    method: string,
    head: AnswerHead,
    follow: FollowStream | null,
  ): Recording | null {
    const begunAt = this.#clock.now();
    const keep = keepMs(method, head, this.#ttlMs, begunAt);
    if (keep <= 0) return null;
    const kept: AnswerHead = { ...head, headers: lastingHeaders(head.headers) };
    const generation = this.#generation;
    return this.#recorder.begin(head.headers, follow, (body) => {
      const now = this.#clock.now();
      // How long a GET is fresh counts from when the upstream said so.
      const ttl = method === "GET" ? keep - (now - begunAt) : keep;
      if (generation === this.#generation && ttl > 0) this.#store(key, kept, body, ttl, now);
    });
  }

  /** Forgets all answers; gives how many there were. */
  clear(): number {
    const { item_count: removed } = this.stats();
    this.#generation++;
    // Emptied at once: one by one would take a second for a million.
    this.#shelf.clear();
    this.#entries.clear();
    return removed;
  }

  stats(): CacheStats {
    let items = 0;
    let bytes = 0;
    // Passes over those that have run out.
    for (const { size } of this.#entries.values()) {
      items++;
      bytes += size;
    }
    return {
      item_count: items,
      size_bytes: bytes,
      ttl: this.#ttlMs / 1_000,
      hits: this.#hits,
      misses: this.#misses,
    };
  }

  #store(
    key: string,
    answer: AnswerHead,
    body: Uint8Array<ArrayBuffer>,
    ttl: number,
    now: number,
  ): void {
    const head = written(answer, now);
    const size = entryBytes + Math.ceil((head.length + body.byteLength) * rowShare);
    // Headers can be more than a very small cache holds.
    if (size > this.#entries.maxSize) return;
    const { board, id, bytes } = this.#shelf.put({ head, body });
    const entry: Entry = { board, id, bytes, storedAt: now, size };
    this.#entries.set(key, entry, { ttl, size });
  }
}
