import { Deque } from "../limit/deque.ts";

/** Where the pieces of a body come from. */
export interface PieceSource {
  /** The next piece, null at the end. Rejects where the sender fails. Called again only after it has answered. */
  read(): Promise<Uint8Array | null>;
  /** Nobody wants the rest: ends the sender's work. Not called after the end. */
  cancel(): void;
}

/** What a body tells its flight. */
export interface BodyWatcher {
  /** So many bytes more (or fewer, if negative) are held. Returns whether what has passed may still be kept. */
  held(bytes: number): boolean;
  /** Newcomers could not get the whole any more. */
  closed(): void;
  /** Nothing more will come. */
  ended(): void;
}

/** A small piece is more than its bytes. */
const pieceOverhead = 128;

/** One who reads along. */
interface Reader {
  /** Number of pieces it has had. */
  at: number;
  /** Why it gets nothing more, null while it does. */
  lost: Error | null;
  readonly onLost: () => void;
}

/**
 * One body that is read once and given to many, each at its own pace and each from its beginning.
 *
 * It is read only when the foremost reader asks: who takes nothing does not stop the others, and when nobody takes
 * anything nothing is read. What passed is held for newcomers until it is more than `maxBytes`; then only for the
 * readers that are behind. Where the watcher has no room any more, one that is further behind than `maxBytes`
 * because others are faster is broken off: nothing else is left to do with it.
 *
 * Invariant: `#pieces` are the pieces from number `#first` on; no reader has had fewer than `#first`.
 */
export class SharedBody {
  readonly #source: PieceSource;
  readonly #maxBytes: number;
  readonly #watcher: BodyWatcher;
  readonly #pieces = new Deque<Uint8Array>();
  readonly #readers = new Set<Reader>();
  #first = 0;
  #bytes = 0;
  /** Whether it can still be joined. */
  #open = true;
  #end: { error: unknown } | "complete" | null = null;
  #reading: Promise<void> | null = null;

  constructor(source: PieceSource, maxBytes: number, watcher: BodyWatcher) {
    this.#source = source;
    this.#maxBytes = maxBytes;
    this.#watcher = watcher;
  }

  /**
   * Another reader, who gets all from the first piece on. Only while the body is open.
   * @param onLost called if it is broken off for being too slow
   */
  reader(onLost: () => void): BodyReader {
    const reader: Reader = { at: this.#first, lost: null, onLost };
    this.#readers.add(reader);
    return {
      next: () => this.#next(reader),
      leave: () => this.#leave(reader),
    };
  }

  /** Nobody will join any more. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watcher.closed();
    this.#trim();
  }

  /** Nobody reads any more: the sender is stopped, unless it is done. */
  cancel(): void {
    if (this.#end !== null) return;
    this.#finish({ error: new Error("Nobody reads any more.") });
    this.#source.cancel();
  }

  async #next(reader: Reader): Promise<Uint8Array | null> {
    for (;;) {
      if (reader.lost !== null) throw reader.lost;
      const piece = this.#pieces.at(reader.at - this.#first);
      if (piece !== undefined) {
        const wasLast = reader.at++ === this.#first;
        if (wasLast && !this.#open) this.#trim();
        return piece;
      }
      if (this.#end === "complete") return null;
      if (this.#end !== null) throw this.#end.error;
      await (this.#reading ??= this.#read());
    }
  }

  /** Reads one piece for all. Never rejects. */
  async #read(): Promise<void> {
    try {
      const piece = await this.#source.read();
      if (piece === null) this.#finish("complete");
      else this.#add(piece);
    } catch (error) {
      this.#finish({ error });
    } finally {
      this.#reading = null;
    }
  }

  #add(piece: Uint8Array): void {
    // Read for a reader that left meanwhile, the last one: it is not to be held.
    if (piece.length === 0 || this.#end !== null) return;
    this.#pieces.push(piece);
    this.#bytes += piece.length + pieceOverhead;
    const roomForAll = this.#watcher.held(piece.length + pieceOverhead);
    if (this.#bytes > this.#maxBytes || !roomForAll) this.close();
    if (!roomForAll) this.#breakOffSlowest();
  }

  /** Breaks off who is so far behind that more than `maxBytes` are held before the newest piece. */
  #breakOffSlowest(): void {
    const newest = this.#pieces.at(this.#pieces.length - 1)?.length ?? 0;
    while (this.#bytes - newest - pieceOverhead > this.#maxBytes) {
      const behind = [...this.#readers].filter(({ at }) => at === this.#first);
      // Never the foremost: it asked for the newest piece, and had all before that.
      if (behind.length === 0) return;
      for (const reader of behind) {
        reader.lost = new Error("The client took the answer too slowly: others got it long ago.");
        this.#readers.delete(reader);
      }
      this.#trim();
      for (const { onLost } of behind) onLost();
    }
  }

  #finish(end: { error: unknown } | "complete"): void {
    if (this.#end !== null) return;
    this.#end = end;
    // Before anybody can be told: what comes now asks anew.
    if (this.#open) {
      this.#open = false;
      this.#watcher.closed();
    }
    this.#watcher.ended();
    this.#trim();
  }

  #leave(reader: Reader): void {
    reader.lost ??= new Error("The reader has left.");
    if (this.#readers.delete(reader) && !this.#open) this.#trim();
  }

  /** Gives up the pieces that every reader has had. */
  #trim(): void {
    let least = Infinity;
    for (const { at } of this.#readers) least = Math.min(least, at);
    while (this.#first < least) {
      const piece = this.#pieces.shift();
      if (piece === undefined) return;
      this.#first++;
      this.#bytes -= piece.length + pieceOverhead;
      this.#watcher.held(-piece.length - pieceOverhead);
    }
  }
}

/** One reader's side of a shared body. */
export interface BodyReader {
  /** The next piece, null at the end. Rejects where the sender fails, and once the reader has left or is too slow. */
  next(): Promise<Uint8Array | null>;
  /** Takes no more. */
  leave(): void;
}
