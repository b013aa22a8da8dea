import type { Clock } from "../clock.ts";
import type { Connection, ConnectionKeeper } from "./connection.ts";
import { createDeadlines } from "./deadlines.ts";
import type { Deadlines } from "./deadlines.ts";

/** A connection without a request is kept so long, ms, where its server does not say how long it keeps it. */
const keepMs = 60_000;
/** A server that says how long it keeps one is believed less this, ms: the next request takes time to get there. */
const marginMs = 1_000;
/** More free connections to one place are not kept. */
const mostFree = 1_024;

/** A server that closes a connection sooner than this after an answer may be doing so to any, ms. */
const hastyMs = 1_000;
/** So long none of its connections is used twice, ms: not longer, since it may have been a restart. */
const distrustMs = 10_000;

/** A request's wait for a connection. */
export interface Waiter {
  readonly promise: Promise<Connection>;
  /** It waits no longer: `promise` is rejected with `reason`, unless it is settled. */
  leave(reason: unknown): void;
}

/**
 * Free connections to one place, and who waits for one. The one that was used last goes first, so that those not needed
 * grow old; and who came first gets the first that is there, made for it or not, so that requests leave in their order.
 *
 * Invariants: nobody waits while there is a free connection that it may use; for each that waits one is being made.
 */
export class FreeConnections implements ConnectionKeeper {
  readonly #pool: Pool;
  readonly #free: Connection[] = [];
  readonly #waiting = new Set<PromiseWithResolvers<Connection>>();
  #dialled = 0;
  /** Until when its server is taken to close connections behind answers without a word, ms since the epoch. */
  #distrustedUntil = 0;
  #isForgotten = false;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /**
   * One that may carry a request, null where there is none.
   * @param unusedMs how long nothing may have passed on it
   */
  take(unusedMs: number): Connection | null {
    const now = this.#pool.clock.now();
    for (let last = this.#free.at(-1); last !== undefined; last = this.#free.at(-1)) {
      const unused = now - last.freeSince;
      if (unused >= (last.keepMs ?? Infinity) - marginMs) {
        last.close();
        continue;
      }
      // Those below it are older.
      if (unused > unusedMs) return null;
      this.#free.pop();
      last.rest?.end();
      return last;
    }
    return null;
  }

  /**
   * Waits for a connection.
   * @param dial makes one
   */
  wait(dial: () => Promise<Connection>): Waiter {
    const waiter = Promise.withResolvers<Connection>();
    this.#waiting.add(waiter);
    void this.#dial(dial);
    return {
      promise: waiter.promise,
      leave: (reason) => {
        this.#waiting.delete(waiter);
        waiter.reject(reason);
      },
    };
  }

  async #dial(dial: () => Promise<Connection>): Promise<void> {
    this.#dialled++;
    try {
      const connection = await dial();
      this.#dialled--;
      this.#give(connection, this.#pool.clock.now());
    } catch (error) {
      this.#dialled--;
      // Where another has become free meanwhile there are still enough for all.
      if (this.#waiting.size > this.#dialled) this.#first()?.reject(error);
    }
  }

  /** Who has waited longest, and waits no longer. */
  #first(): PromiseWithResolvers<Connection> | null {
    for (const waiter of this.#waiting) {
      this.#waiting.delete(waiter);
      return waiter;
    }
    return null;
  }

  free(connection: Connection): void {
    const now = this.#pool.clock.now();
    if (now < this.#distrustedUntil) return connection.close();
    connection.freeSince = now;
    this.#give(connection, now);
  }

  #give(connection: Connection, now: number): void {
    const waiter = this.#first();
    if (waiter !== null) return waiter.resolve(connection);
    const { idle, isClosed } = this.#pool;
    if (isClosed || this.#isForgotten || this.#free.length >= mostFree) return connection.close();
    connection.freeSince = now;
    this.#free.push(connection);
    if (connection.rest === null) connection.rest = idle.begin(connection);
    else connection.rest.restart();
  }

  gone(connection: Connection): void {
    connection.rest?.end();
    const at = this.#free.lastIndexOf(connection);
    if (at === -1) return;
    this.#free.splice(at, 1);
    this.#wasClosed(connection);
  }

  /** A connection was closed when a request was sent on it: others that were kept will be as closed. */
  foundClosed(connection: Connection): void {
    this.closeAll();
    this.#wasClosed(connection);
  }

  #wasClosed({ freeSince }: Connection): void {
    const now = this.#pool.clock.now();
    if (now - freeSince < hastyMs) this.#distrustedUntil = now + distrustMs;
  }

  /** Nobody will ask for its connections any more. */
  forget(): void {
    this.#isForgotten = true;
    this.closeAll();
  }

  closeAll(): void {
    for (const connection of this.#free.splice(0)) connection.close();
  }
}

/** The free connections to all places. */
export class Pool {
  readonly clock: Clock;
  readonly idle: Deadlines;
  readonly #places = new Set<FreeConnections>();
  isClosed = false;

  constructor(clock: Clock) {
    this.clock = clock;
    this.idle = createDeadlines(clock, keepMs);
  }

  place(): FreeConnections {
    const place = new FreeConnections(this);
    this.#places.add(place);
    return place;
  }

  forget(place: FreeConnections): void {
    this.#places.delete(place);
    place.forget();
  }

  /** Connections that have a request are closed when it ends. */
  close(): void {
    this.isClosed = true;
    for (const place of this.#places) place.closeAll();
    this.idle.close();
  }
}
