import type { Cancellation } from "./cancellation.ts";
import type { Deadlines } from "./deadlines.ts";
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
  onChunk?: ((this: void, chunk: Uint8Array) => void) | undefined;
  /** Called exactly once, when nothing more will pass. */
  onEnd: (this: void, end: BodyEnd) => void;
}

/** An answer that says it is no longer than this is waited for in full: it comes in one packet or a few. */
const smallBytes = 16 * 1024;

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
 *
 * Most answers are short, say how long they are, and arrive at once: those are given as bytes, which the server
 * sends at half the cost of a stream. Only up to 16 KB are waited for; of longer ones the first piece goes at once.
 *
 * @param fields the answer's headers.
 * @param controller ends the upstream's call
 * @throws nothing: an upstream that fails before the first byte gives a source that fails.
 */
export function openBody(
  { body }: Answer,
  fields: Fields,
  { idle }: Patience,
  observer: BodyObserver,
  controller: Cancellation,
): OpenedBody | Promise<OpenedBody> {
  if (body === null) {
    observer.onEnd({ how: "complete" });
    return null;
  }
  if (body instanceof Uint8Array) {
    observer.onChunk?.(body);
    observer.onEnd({ how: "complete" });
    // Bytes without a Content-Type would be given one by the server, which a stream is not.
    return fields["content-type"] === undefined ? new Known(body) : body;
  }
  return isSmall(fields)
    ? small(body, idle, observer, controller)
    : new Source(body, idle, observer);
}

/** Whether an answer with these headers comes in one packet or a few, all of it at once. */
function isSmall(fields: Fields): boolean {
  const length = lengthOf(fields);
  const type = fields["content-type"];
  return (
    length > 0 &&
    length <= smallBytes &&
    type !== undefined &&
    !type.startsWith("text/event-stream")
  );
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

/** What an answer says of its length, in bytes; NaN where it may be any: a transfer coding overrides a length (RFC 9112 §6.3). */
function lengthOf(fields: Fields): number {
  return fields["transfer-encoding"] === undefined ? Number(fields["content-length"] ?? NaN) : NaN;
}

/** A small answer, read to its end. */
async function small(
  body: AnswerBody,
  idle: Deadlines,
  { onChunk, onEnd }: BodyObserver,
  controller: Cancellation,
): Promise<OpenedBody> {
  let silence: Error | null = null;
  const wait = idle.begin(() => {
    silence = new Error(idleMessage);
    controller.abort(silence);
  });
  try {
    const pieces: Uint8Array[] = [];
    for (;;) {
      const piece = await body.read();
      if (piece === null) break;
      onChunk?.(piece);
      pieces.push(piece);
      wait.restart();
    }
    onEnd({ how: "complete" });
    return Buffer.concat(pieces);
  } catch (thrown) {
    const left = controller.aborted && silence === null;
    const error = silence ?? asError(thrown);
    onEnd(left ? { how: "abandoned" } : { how: "failed", error });
    // The head is as it was; what follows must not look complete to the client.
    const fail = (): Promise<never> => Promise.reject(error);
    return { read: fail, each: fail, cancel: () => undefined };
  } finally {
    wait.end();
  }
}

/** The upstream's side of a relay. */
class Source implements AnswerBody {
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
    const wait = this.#idle.begin(() => this.#fail(new Error(idleMessage)));
    try {
      const piece = await this.#body.read();
      if (this.#end !== null) return this.#ended(this.#end);
      if (piece === null) this.#finish({ how: "complete" });
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
    const wait = this.#idle.begin(() => this.#fail(new Error(idleMessage)));
    const { onChunk } = this.#observer;
    try {
      await this.#body.each((piece) => {
        onChunk?.(piece);
        const taken = take(piece);
        if (taken === undefined) return void wait.restart();
        // Time in which the client takes nothing is none of the upstream's.
        wait.end();
        return taken.then(() => wait.restart());
      });
      if (this.#end === null) this.#finish({ how: "complete" });
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

  #ended(end: BodyEnd): null {
    if (end.how === "complete") return null;
    throw end.how === "failed" ? asError(end.error) : new Error("The client has gone.");
  }

  /** Ends the relay; only the first end counts. */
  #finish(end: BodyEnd): void {
    if (this.#end !== null) return;
    this.#end = end;
    this.#observer.onEnd(end);
    // Closes the connection to an upstream that is not done.
    if (end.how !== "complete") this.#body.cancel();
  }

  #fail(error: unknown): void {
    // The call is aborted because the client has gone, which its own stream may learn only later.
    const gone = error instanceof Error && error.name === "AbortError";
    this.#finish(gone ? { how: "abandoned" } : { how: "failed", error });
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
  const wait = taking.begin(() => {
    source?.cancel();
    late.reject(new Error("The client takes nothing of its answer."));
  });
  try {
    await Promise.race([written, late.promise]);
  } finally {
    wait.end();
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
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
