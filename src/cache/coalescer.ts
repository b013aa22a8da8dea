import { isShareable } from "./directives.ts";
import { SharedBody } from "./shared-body.ts";
import type { BodyReader, BodyWatcher, PieceSource } from "./shared-body.ts";
import { lastingHeaders } from "./stored.ts";
import type { Answer, AnswerHead, Body } from "./stored.ts";

/** How much of an answer is held for those who join late, bytes. */
const maxFlightBytes = 8 * 1024 * 1024;
/** The same for all answers under way. */
const maxBytesTogether = 64 * 1024 * 1024;

/** The place of a request among those that ask the same at the same time. */
export type Place =
  /** The first: it asks the upstream, for all. */
  | { readonly role: "leader"; readonly flight: Flight }
  /** Another: it waits for what the first gets. */
  | { readonly role: "follower"; readonly seat: Follower };

/** A request that waits for another's answer. */
export interface Follower {
  /**
   * The answer; null where it may not be shared, or is too large to be taken at different speeds: then ask the
   * upstream yourself. Rejects with what the leader was refused with, or once the follower has left.
   */
  readonly answer: Promise<Answer | null>;
  /** When the leader's request left for the upstream, ms since the epoch; null while it has not. */
  readonly departedAt: number | null;
  /** Resolves when the follower gets nothing more. */
  readonly ended: Promise<SeatEnd>;
  /** The client has gone. May be called at any time, more than once. */
  leave(): void;
}

/** `failed`: the upstream broke off, or the client was too slow; `left`: the client went away, or asks elsewhere. */
export type SeatEnd = "complete" | "failed" | "left";

/** The upstream call that several wait for, in the hands of its leader. */
export interface Flight {
  /**
   * Aborted when nobody is left to read the answer: the one signal that ends the call, and the wait for it. Until
   * then they go on, the leader's client there or not.
   */
  readonly signal: AbortSignal;
  /** The leader's request leaves for the upstream, `now` in ms since the epoch. Only the first time counts. */
  depart(now: number): void;
  /**
   * The leader's client has gone. May be called at any time, more than once.
   * @param reason what the call is aborted with if there is nobody else
   */
  leave(reason?: unknown): void;
  /**
   * The upstream's answer is here.
   *
   * @param head as the upstream sent it, without hop-by-hop fields; not kept
   * @param body whole, or a source that nobody else reads
   * @returns the body for the leader's own client
   */
  open(head: AnswerHead, body: Uint8Array<ArrayBuffer> | PieceSource | null): Body;
  /** There will be no answer: all get `error`. Does nothing after `open`. */
  fail(error: unknown): void;
}

/** What the coalescer holds now. */
export interface CoalescerStats {
  /** Calls that can be joined. */
  readonly flights: number;
  /** Bytes of answers that are held. */
  readonly bytes: number;
}

type Taken = (written: Promise<unknown>) => Promise<unknown>;
const inAnyTime: Taken = (written) => written;

/** Shares upstream calls among identical requests. */
export interface Coalescer {
  /**
   * Takes a place under `key` (`cacheKey`, so that callers with different credentials never meet).
   * @param named whether the request has a credential (`hasCredential`)
   * @param taken waits until the client has taken what was written; rejects where it does not, and is given up
   */
  join(key: string, named: boolean, taken?: Taken): Place;
  stats(): CoalescerStats;
}

/** Bounds on what is held, bytes. */
export interface CoalescerBounds {
  /** Of one answer. */
  readonly flight: number;
  /** Of all. */
  readonly together: number;
}

const defaults: CoalescerBounds = { flight: maxFlightBytes, together: maxBytesTogether };

/** Creates a coalescer, which belongs to the process. */
export function createCoalescer(bounds: CoalescerBounds = defaults): Coalescer {
  const flights = new Map<string, SharedFlight>();
  let bytes = 0;
  return {
    join(key, named, taken = inAnyTime) {
      const running = flights.get(key);
      if (running !== undefined) return { role: "follower", seat: running.follow(taken) };
      const flight = new SharedFlight(named, taken, bounds.flight, {
        held(more) {
          bytes += more;
          return bytes <= bounds.together;
        },
        closed: () => void (flights.get(key) === flight && flights.delete(key)),
      });
      flights.set(key, flight);
      return { role: "leader", flight };
    },
    stats: () => ({ flights: flights.size, bytes }),
  };
}

type Content = Uint8Array<ArrayBuffer> | SharedBody | null;

/** What a flight knows of its answer. */
type State =
  | { readonly kind: "waiting" }
  | { readonly kind: "open"; readonly head: AnswerHead; readonly body: Content }
  /** Nothing more will come of the call. */
  | { readonly kind: "over" };

const over: State = { kind: "over" };

/** Someone with a place in the flight. */
class Seat {
  readonly taken: Taken;
  /** The leader is not told what it has itself. */
  readonly told: PromiseWithResolvers<Answer | null> | null;
  readonly ended = Promise.withResolvers<SeatEnd>();
  /** From when there is something to read. */
  reader: BodyReader | null = null;

  constructor(taken: Taken, told: PromiseWithResolvers<Answer | null> | null) {
    this.taken = taken;
    this.told = told;
  }
}

class SharedFlight implements Flight {
  readonly #controller = new AbortController();
  readonly #named: boolean;
  readonly #maxBytes: number;
  readonly #watcher: Omit<BodyWatcher, "ended">;
  readonly #own: Seat;
  /** All who want the answer and have not had the last of it. */
  readonly #seats: Set<Seat>;
  #state: State = { kind: "waiting" };
  #departedAt: number | null = null;

  constructor(named: boolean, taken: Taken, maxBytes: number, watcher: Omit<BodyWatcher, "ended">) {
    this.#own = new Seat(taken, null);
    this.#seats = new Set([this.#own]);
    this.#named = named;
    this.#maxBytes = maxBytes;
    this.#watcher = watcher;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  depart(now: number): void {
    this.#departedAt ??= now;
  }

  follow(taken: Taken): Follower {
    const told = Promise.withResolvers<Answer | null>();
    // Who has left does not look at it.
    told.promise.catch(() => {});
    const seat = new Seat(taken, told);
    this.#seats.add(seat);
    this.#serve(seat);
    const departedAt = (): number | null => this.#departedAt;
    return {
      answer: told.promise,
      get departedAt() {
        return departedAt();
      },
      ended: seat.ended.promise,
      leave: () => {
        told.reject(gone());
        this.#leave(seat, "left");
      },
    };
  }

  leave(reason?: unknown): void {
    this.#leave(this.#own, "left", reason);
  }

  open(head: AnswerHead, body: Uint8Array<ArrayBuffer> | PieceSource | null): Body {
    if (this.#state.kind === "open") throw new Error("A flight is opened once.");
    if (this.#state.kind === "over") {
      // It came while the last reader left.
      if (isSource(body)) body.cancel();
      return null;
    }
    const content = isSource(body) ? this.#share(body) : body;
    const lasting = { ...head, headers: lastingHeaders(head.headers) };
    this.#state = { kind: "open", head: lasting, body: content };
    const own = this.#seats.has(this.#own) ? this.#bodyFor(this.#own, content) : null;
    const tooLarge = Number(head.headers.get("content-length") ?? 0) > this.#maxBytes;
    if (!tooLarge && isShareable(head, this.#named))
      for (const seat of this.#seats) this.#serve(seat);
    else this.#sendAway(content);
    if (!(content instanceof SharedBody)) this.#finish();
    return own;
  }

  fail(error: unknown): void {
    if (this.#state.kind !== "waiting") return;
    this.#finish();
    for (const { told, ended } of this.#seats) {
      told?.reject(error);
      ended.resolve("failed");
    }
  }

  /** Gives a follower the answer, if it is there. */
  #serve(seat: Seat): void {
    if (this.#state.kind !== "open" || seat.told === null) return;
    const { status, statusText, headers } = this.#state.head;
    const body = this.#bodyFor(seat, this.#state.body);
    seat.told.resolve({ status, statusText, headers: new Headers(headers), body });
    if (!(body instanceof ReadableStream)) seat.ended.resolve("complete");
  }

  /** The answer is for the leader alone: the others have to ask themselves. */
  #sendAway(content: Content): void {
    if (content instanceof SharedBody) content.close();
    for (const seat of this.#seats) {
      if (seat.told === null) continue;
      seat.told.resolve(null);
      this.#leave(seat, "left");
    }
  }

  /** Nobody can join any more, and nobody's leaving matters. */
  #finish(): void {
    this.#state = over;
    this.#watcher.closed();
  }

  #share(source: PieceSource): SharedBody {
    const { held, closed } = this.#watcher;
    return new SharedBody(source, this.#maxBytes, { held, closed, ended: () => this.#finish() });
  }

  #bodyFor(seat: Seat, content: Content): Body {
    if (!(content instanceof SharedBody)) return content;
    const reader = content.reader(() => this.#leave(seat, "failed"));
    seat.reader = reader;
    // A "direct" stream, as relayed bodies are: a pending promise from `write` means that the client is slow.
    const pull = async (sink: ReadableStreamDirectController): Promise<void> => {
      let end: SeatEnd = "failed";
      try {
        for (let piece = await reader.next(); piece !== null; piece = await reader.next()) {
          const written = sink.write(piece);
          void sink.flush();
          if (!(written instanceof Promise)) continue;
          // Who takes nothing has left as well.
          end = "left";
          await seat.taken(written);
          end = "failed";
        }
        void sink.end();
        end = "complete";
      } finally {
        this.#leave(seat, end);
      }
    };
    return new ReadableStream<Uint8Array>({
      type: "direct",
      pull,
      cancel: () => this.#leave(seat, "left"),
    });
  }

  #leave(seat: Seat, end: SeatEnd, reason?: unknown): void {
    seat.reader?.leave();
    seat.ended.resolve(end);
    if (!this.#seats.delete(seat) || this.#seats.size > 0 || this.#state.kind === "over") return;
    const state = this.#state;
    this.#finish();
    if (state.kind === "open" && state.body instanceof SharedBody) state.body.cancel();
    this.#controller.abort(reason ?? gone());
  }
}

function isSource(body: Uint8Array | PieceSource | null): body is PieceSource {
  return body !== null && !(body instanceof Uint8Array);
}

/** What ends a call that nobody waits for: the same as where a client goes away. */
function gone(): DOMException {
  return new DOMException("The client has gone.", "AbortError");
}
