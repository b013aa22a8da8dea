import type { AnswerBody } from "./upstream.ts";

type Piece = Uint8Array<ArrayBuffer>;

/** So many bytes may wait for who reads them; then the connection is not read until they are taken. */
const mostWaiting = 64 * 1024;

/** The side that a body comes from. */
export interface BodyOrigin {
  /** Nothing more is to come for now. */
  pause(): void;
  resume(): void;
  /** The rest is not wanted. Not called after the end. */
  cancel(): void;
}

/** The body of an answer as it comes in on a connection, which is read no faster than the body is. */
export class ArrivingBody implements AnswerBody {
  readonly #origin: BodyOrigin;
  readonly #waiting: Piece[] = [];
  #waitingBytes = 0;
  #isPaused = false;
  /** How it ended; null while more may come. */
  #end: { error: Error | null } | null = null;
  /** Who waits for a piece, or the end. */
  #asked: PromiseWithResolvers<Piece | null> | null = null;
  /** Who takes all pieces as they come, and whether it is busy with one. */
  #taker: Taker | null = null;

  constructor(origin: BodyOrigin) {
    this.#origin = origin;
  }

  /** A part of it has come. */
  push(piece: Piece): void {
    if (this.#end !== null) return;
    if (this.#asked !== null) {
      this.#asked.resolve(piece);
      this.#asked = null;
    } else if (this.#taker !== null && !this.#taker.isBusy) this.#give(this.#taker, piece);
    else {
      this.#waiting.push(piece);
      this.#waitingBytes += piece.byteLength;
      if (this.#waitingBytes <= mostWaiting || this.#isPaused) return;
      this.#isPaused = true;
      this.#origin.pause();
    }
  }

  /** It is over; `error` says why where it is not complete. Only the first end counts. */
  end(error: Error | null): void {
    if (this.#end !== null) return;
    this.#end = { error };
    this.#resume();
    if (this.#asked !== null) {
      if (error === null) this.#asked.resolve(null);
      else this.#asked.reject(error);
      this.#asked = null;
    }
    if (this.#taker !== null && !this.#taker.isBusy) this.#flow(this.#taker);
  }

  read(): Promise<Piece | null> {
    const piece = this.#next();
    if (piece !== null) return Promise.resolve(piece);
    if (this.#end !== null) {
      const { error } = this.#end;
      return error === null ? Promise.resolve(null) : Promise.reject(error);
    }
    this.#asked ??= Promise.withResolvers();
    return this.#asked.promise;
  }

  each(take: (piece: Piece) => Promise<void> | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const taker: Taker = { take, resolve, reject, isBusy: false };
    this.#taker = taker;
    this.#flow(taker);
    return promise;
  }

  cancel(): void {
    const isOver = this.#end !== null;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
    this.end(new Error("Nobody reads the answer any more."));
    if (!isOver) this.#origin.cancel();
  }

  /** Gives on what waits, and then the end. */
  #flow(taker: Taker): void {
    while (!taker.isBusy) {
      const piece = this.#next();
      if (piece === null) break;
      this.#give(taker, piece);
    }
    if (taker.isBusy || this.#end === null || this.#taker !== taker) return;
    this.#taker = null;
    if (this.#end.error === null) taker.resolve();
    else taker.reject(this.#end.error);
  }

  #give(taker: Taker, piece: Piece): void {
    let taken: Promise<void> | undefined;
    try {
      taken = taker.take(piece);
    } catch (error) {
      return this.#refused(taker, error);
    }
    if (taken !== undefined) void this.#waitFor(taker, taken);
  }

  async #waitFor(taker: Taker, taken: Promise<void>): Promise<void> {
    taker.isBusy = true;
    try {
      await taken;
    } catch (error) {
      return this.#refused(taker, error);
    }
    taker.isBusy = false;
    this.#flow(taker);
  }

  #refused(taker: Taker, error: unknown): void {
    // Busy for good: it gets nothing more.
    taker.isBusy = true;
    this.#taker = null;
    this.cancel();
    taker.reject(error);
  }

  #next(): Piece | null {
    const piece = this.#waiting.shift() ?? null;
    if (piece !== null) this.#waitingBytes -= piece.byteLength;
    if (this.#waiting.length === 0) this.#resume();
    return piece;
  }

  /** Also at the end: the connection may carry the next answer while this one is still read. */
  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#origin.resume();
  }
}

interface Taker {
  readonly take: (piece: Piece) => Promise<void> | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  isBusy: boolean;
}
