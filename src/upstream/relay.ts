import type { Deadlines, Waiting } from "./deadlines.ts";
import { asError, isAbort } from "./failure.ts";
import type { Fields } from "./headers.ts";
import type { Answer, AnswerBody } from "./upstream.ts";

/** How the body of an answer ended. */
export type BodyEnd =
  | { how: "complete" }
  /** The upstream broke off, or sent nothing for too long. */
  | { how: "failed"; error: unknown }
  /** The client went away. */
  | { how: "abandoned" };

/** Who is told of an answer's body as it passes. */
export interface BodyObserver {
  /** Called with each piece, before it goes on. Must not keep it. */
  readonly onChunk: ((this: void, chunk: Uint8Array) => void) | undefined;
  /** Called exactly once, when nothing more will pass. */
  ended(end: BodyEnd): void;
}

const complete: BodyEnd = { how: "complete" };

const idleMessage = "The upstream sent nothing for too long.";

/** How long the two sides of an answer may do nothing. */
export interface Patience {
  /** The upstream sends nothing. Time in which the client takes nothing does not count. */
  readonly idle: Deadlines;
  /** The client takes nothing. */
  readonly taking: Deadlines;
}

/** A body that is there in full, or a source of its pieces, or null where there is none. */
export type OpenedBody = Uint8Array<ArrayBuffer> | AnswerBody | null;

/**
 * Begins to pass an answer's body on, piece by piece and never faster than it is taken, and tells `observer` about it.
 * One that is there in full is given as bytes, which the server sends at half the cost of a stream.
 *
 * @param fields the answer's headers.
 */
export function openBody(
  { body }: Answer,
  fields: Fields,
  { idle }: Patience,
  observer: BodyObserver,
): OpenedBody {
  if (body === null) {
    observer.ended(complete);
    return null;
  }
  if (body instanceof Uint8Array) {
    observer.onChunk?.(body);
    observer.ended(complete);
    // Bytes without a Content-Type would be given one by the server, which a stream is not.
    return fields["content-type"] === undefined ? new Known(body) : body;
  }
  return new Source(body, idle, observer);
}

/** Bytes that are there, as a source. */
class Known implements AnswerBody {
  #bytes: Uint8Array<ArrayBuffer> | null;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
  }

  read(): Promise<Uint8Array<ArrayBuffer> | null> {
    const bytes = this.#bytes;
    this.#bytes = null;
    return Promise.resolve(bytes);
  }

  async each(take: (piece: Uint8Array<ArrayBuffer>) => Promise<void> | undefined): Promise<void> {
    if (this.#bytes !== null) await take(this.#bytes);
    this.#bytes = null;
  }

  cancel(): void {
    this.#bytes = null;
  }
}

/** The upstream's side of a relay. */
class Source implements AnswerBody, Waiting {
  readonly #body: AnswerBody;
  readonly #idle: Deadlines;
  readonly #observer: BodyObserver;
  #end: BodyEnd | null = null;

  constructor(body: AnswerBody, idle: Deadlines, observer: BodyObserver) {
    this.#body = body;
    this.#idle = idle;
    this.#observer = observer;
  }

  async read(): Promise<Uint8Array<ArrayBuffer> | null> {
    if (this.#end !== null) return this.#ended(this.#end);
    const wait = this.#idle.begin(this);
    try {
      const piece = await this.#body.read();
      if (this.#end !== null) return this.#ended(this.#end);
      if (piece === null) this.#finish(complete);
      else this.#observer.onChunk?.(piece);
      return piece;
    } catch (error) {
      this.#fail(error);
      throw asError(error);
    } finally {
      wait.end();
    }
  }

  async each(take: (piece: Uint8Array<ArrayBuffer>) => Promise<void> | undefined): Promise<void> {
    if (this.#end !== null) return void this.#ended(this.#end);
    const wait = this.#idle.begin(this);
    const { onChunk } = this.#observer;
    try {
      await this.#body.each((piece) => {
        onChunk?.(piece);
        const taken = take(piece);
        if (taken === undefined) {
          wait.restart();
          return undefined;
        }
        // Time in which the client takes nothing is none of the upstream's.
        wait.end();
        return taken.then(() => wait.restart());
      });
      if (this.#end === null) this.#finish(complete);
      else this.#ended(this.#end);
    } catch (error) {
      this.#fail(error);
      throw asError(error);
    } finally {
      wait.end();
    }
  }

  cancel(): void {
    this.#finish({ how: "abandoned" });
  }

  late(): void {
    this.#fail(new Error(idleMessage));
  }

  #ended(end: BodyEnd): null {
    if (end.how === "complete") return null;
    throw end.how === "failed" ? asError(end.error) : new Error("The client has gone.");
  }

  /** Ends the relay; only the first end counts. */
  #finish(end: BodyEnd): void {
    if (this.#end !== null) return;
    this.#end = end;
    this.#observer.ended(end);
    // Closes the connection to an upstream that is not done.
    if (end.how !== "complete") this.#body.cancel();
  }

  #fail(error: unknown): void {
    // The call is aborted because the client has gone, which its own stream may learn only later.
    this.#finish(isAbort(error) ? { how: "abandoned" } : { how: "failed", error });
  }
}

/**
 * Waits until the client has taken what was written.
 * @throws Error where it does not, and wants no more of `source`
 */
export async function taken(
  written: Promise<unknown>,
  taking: Deadlines,
  source: Pick<AnswerBody, "cancel"> | null = null,
): Promise<void> {
  const late = Promise.withResolvers<never>();
  const wait = taking.begin({
    late() {
      source?.cancel();
      late.reject(new Error("The client takes nothing of its answer."));
    },
  });
  try {
    await Promise.race([written, late.promise]);
  } finally {
    wait.end();
  }
}

/** What to answer a client with: the bytes, or a stream of what the source gives. */
export function toBody(
  opened: OpenedBody,
  { taking }: Patience,
): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null {
  return opened === null || opened instanceof Uint8Array ? opened : toStream(opened, taking);
}

/**
 * A stream of what `source` gives. It is a "direct" one, which writes to the socket without a queue between (a third
 * cheaper); a pending promise from `write` means that the client is not keeping up.
 */
function toStream(source: AnswerBody, taking: Deadlines): ReadableStream<Uint8Array> {
  // What it throws must reach the server: a broken answer must not look complete to the client.
  const pull = async (sink: ReadableStreamDirectController): Promise<void> => {
    await source.each((piece) => {
      const written = sink.write(piece);
      void sink.flush();
      return written instanceof Promise ? taken(written, taking, source) : undefined;
    });
    void sink.end();
  };
  return new ReadableStream<Uint8Array>({ type: "direct", pull, cancel: () => source.cancel() });
}
