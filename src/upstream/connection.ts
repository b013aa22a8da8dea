import { AnswerReader } from "./answer-reader.ts";
import type { AnswerHead, AnswerSink } from "./answer-reader.ts";
import { ArrivingBody } from "./arriving-body.ts";
import type { BodyOrigin } from "./arriving-body.ts";
import type { Cancellable, Cancellation } from "./cancellation.ts";
import type { Deadlines, Wait, Waiting } from "./deadlines.ts";
import { asError } from "./failure.ts";
import { asBytes, asChunk, framingOf, joined, latin1 } from "./request-bytes.ts";
import { requestHead } from "./request-head.ts";
import type { BodyFraming, RequestTarget } from "./request-head.ts";
import type { Answer, UpstreamRequest } from "./upstream.ts";

/** What carries bytes to a server and back: a socket of the runtime, or a stream through a proxy. */
export interface Wire {
  /** Takes as many bytes as it can for now; gives their number. More may be written after the next `drain`. */
  write(bytes: string | Uint8Array): number;
  pause(): void;
  resume(): void;
  /** Closes it. Nothing more is told of it. */
  terminate(): void;
}

/** What a connection tells who keeps it. */
export interface ConnectionKeeper {
  /** Its answer has ended, and it is good for another request. */
  free(connection: Connection): void;
  /** It is closed. */
  gone(connection: Connection): void;
}

/** How a request is sent on a connection. */
export interface Sending extends RequestTarget {
  /** Lines of the head for this connection alone, each with its line end. */
  readonly more: string;
  /** For how long the rest of a small answer is waited for, if its head comes alone. */
  readonly linger: Deadlines;
  /** Called when more of a long body has been taken. */
  progressed(): void;
  /** Called when all of it has. */
  sent(): void;
  /** Called when its answer is given on. */
  answered(): void;
  /** Called in place of that, with what went wrong; gives what the call is to fail with. */
  failed(error: unknown): unknown;
}

/** The server has hung up, or given what is no answer. */
export class BrokenConnection extends Error {
  readonly code: string;
  /** Whether nothing of an answer had come on a connection that had been used before: it may have been closed already. */
  readonly wasStale: boolean;

  constructor(code: string, wasStale: boolean) {
    super("The connection was closed.");
    this.code = code;
    this.wasStale = wasStale;
  }
}

/** A body up to this size goes out together with its head. */
const smallBody = 64 * 1024;
/**
 * An answer that says it has at most this is waited for in full: many servers send it in two packets, one after the
 * other, and bytes that are all there cost half of a stream.
 */
const smallAnswer = 16 * 1024;

/**
 * A connection of HTTP/1.1 to a server, which carries one request at a time (RFC 9112 §9.3). What happens to its wire
 * it is told by whoever has made it.
 */
export class Connection implements AnswerSink, BodyOrigin, Cancellable, Waiting {
  readonly #wire: Wire;
  readonly #keeper: ConnectionKeeper;
  readonly #reader = new AnswerReader(this);
  #call = null as Call | null;
  /** How many requests it has carried. */
  #used = 0;
  #isClosed = false;
  /** What the wire has not taken yet. */
  #unsent: string | Uint8Array | null = null;
  /** Who waits for the wire to take it. */
  #onDrained: (() => void) | null = null;
  #keepMs: number | null = null;
  /** When it became free, ms since the epoch, and what ends it if it stays so: for its keeper. */
  freeSince = 0;
  rest: Wait | null = null;

  constructor(wire: Wire, keeper: ConnectionKeeper) {
    this.#wire = wire;
    this.#keeper = keeper;
  }

  /** How long the server keeps it without a request, ms; null where it has not said. */
  get keepMs(): number | null {
    return this.#keepMs;
  }

  get isOpen(): boolean {
    return !this.#isClosed;
  }

  /**
   * Sends a request. Resolves when the answer's head is there; rejects with what `sending` makes of a BrokenConnection,
   * an UnreadableAnswer, the reason why the call was ended, or whatever a streamed body fails with.
   * @throws BrokenConnection; ProxyError where it cannot be written: the connection is free again
   */
  send(request: UpstreamRequest, sending: Sending): Promise<Answer> {
    const isReused = this.#used > 0 || this.freeSince > 0;
    if (this.#isClosed) throw new BrokenConnection("ECONNRESET", isReused);
    const { method, headers, body, controller } = request;
    const framing = framingOf(headers, body);
    let head: string;
    try {
      head = requestHead(method, sending, headers, framing, sending.more);
    } catch (error) {
      this.#keeper.free(this);
      throw error;
    }
    const call = new Call(sending, controller, isReused);
    const { promise } = call.answered;
    this.#used++;
    this.#call = call;
    this.#reader.expect(method);
    controller.tell(this);
    if (this.#isClosed) return promise;
    if (body instanceof ReadableStream) void this.#sendStream(call, head, body, framing);
    else if (body === null || body.byteLength === 0) this.#sendAll(call, latin1(head));
    else if (body.byteLength <= smallBody) this.#sendAll(call, joined(head, body));
    else {
      this.#write(latin1(head));
      this.#sendAll(call, body);
    }
    return promise;
  }

  #sendAll(call: Call, bytes: string | Uint8Array): void {
    if (this.#write(bytes)) this.#sent(call);
    else this.#onDrained = () => this.#sent(call);
  }

  async #sendStream(
    call: Call,
    head: string,
    body: ReadableStream<Uint8Array>,
    framing: BodyFraming,
  ): Promise<void> {
    try {
      const reader = body.getReader();
      call.upload = reader;
      await this.#written(latin1(head));
      let length = 0;
      for (;;) {
        const piece = await reader.read();
        if (this.#call !== call) return;
        if (piece.done) break;
        const bytes = piece.value;
        length += bytes.byteLength;
        if (framing !== "chunked" && length > Number(framing)) break;
        if (bytes.byteLength === 0) continue;
        if (framing === "chunked") await this.#written(asChunk(bytes));
        else await this.#written(bytes);
        if (this.#call !== call) return;
        call.sending.progressed();
      }
      // A message whose length is not what it said would be taken for another one.
      if (framing !== "chunked" && length !== Number(framing))
        throw new Error("The request's body is not as long as it said.");
      if (framing === "chunked") await this.#written("0\r\n\r\n");
      if (this.#call === call) this.#sent(call);
    } catch (error) {
      if (this.#call === call) this.fail(error);
    }
  }

  /** Resolves when the wire has taken `bytes`. Where it closes before, nothing happens any more. */
  #written(bytes: string | Uint8Array): Promise<void> | undefined {
    if (this.#write(bytes)) return undefined;
    return new Promise((resolve) => (this.#onDrained = resolve));
  }

  /** Writes what the wire takes; false where some of it has to wait. */
  #write(bytes: string | Uint8Array): boolean {
    if (this.#isClosed) return false;
    if (this.#unsent !== null) {
      this.#unsent = Buffer.concat([asBytes(this.#unsent), asBytes(bytes)]);
      return false;
    }
    const taken = this.#wire.write(bytes);
    if (taken >= bytes.length) return true;
    const left = Math.max(0, taken);
    this.#unsent = typeof bytes === "string" ? bytes.slice(left) : bytes.subarray(left);
    return false;
  }

  /** The wire takes more. */
  drained(): void {
    const unsent = this.#unsent;
    if (unsent === null) return;
    this.#unsent = null;
    this.#call?.sending.progressed();
    if (!this.#write(unsent)) return;
    const tell = this.#onDrained;
    this.#onDrained = null;
    tell?.();
  }

  #sent(call: Call): void {
    call.isSent = true;
    call.upload = null;
    call.sending.sent();
  }

  /** Bytes have come. They are this connection's from here on. */
  received(bytes: Buffer<ArrayBuffer>): void {
    const before = this.#call;
    try {
      this.#reader.push(bytes);
    } catch (error) {
      // What comes behind an answer is nobody's; what is no answer is the call's end.
      return this.fail(error);
    }
    const call = this.#call;
    // Not before all of `bytes` is read: more than the answer would be nobody's.
    if (call === null && before !== null && !this.#isClosed) this.#keeper.free(this);
    if (call === null || call.head === null || call.lingering !== null) return;
    if ((call.head.length ?? Infinity) > smallAnswer) return this.#answerEarly(call);
    call.lingering = call.sending.linger.begin(this);
  }

  /** The rest of a small answer has not come in time; or, without a call, no next request has. */
  late(): void {
    if (this.#call === null) this.close();
    else this.#answerEarly(this.#call);
  }

  head(head: AnswerHead): void {
    this.#keepMs = head.keepMs;
    if (this.#call !== null) this.#call.head = head;
  }

  data(bytes: Uint8Array<ArrayBuffer>): void {
    const call = this.#call;
    if (call === null) return;
    if (call.body !== null) call.body.push(bytes);
    else if (call.early === null) call.early = bytes;
    else (call.more ??= [call.early]).push(bytes);
  }

  /** The answer has ended; the connection is free where the request has too. */
  end(): void {
    const call = this.#call;
    if (call === null) return;
    if (call.body !== null) call.body.end(null);
    else this.#answer(call, call.more === null ? call.early : Buffer.concat(call.more));
    this.#finish(call);
  }

  /** Gives an answer whose body is still arriving. */
  #answerEarly(call: Call): void {
    const body = new ArrivingBody(this);
    for (const piece of call.more ?? []) body.push(piece);
    if (call.more === null && call.early !== null) body.push(call.early);
    call.body = body;
    this.#answer(call, body);
  }

  #answer(call: Call, body: Answer["body"]): void {
    const { head } = call;
    if (head === null) return;
    call.head = null;
    call.lingering?.end();
    call.sending.answered();
    head.body = body;
    call.answered.resolve(head);
  }

  #finish(call: Call): void {
    if (!call.isSent || this.#keepMs === 0) this.#close(call);
    else this.#release(call);
  }

  #release(call: Call): void {
    this.#call = null;
    call.controller.tell(null);
  }

  cancelled(reason: unknown): void {
    this.fail(reason);
  }

  /** The wire has closed; `code` is that of the error, if it was one. */
  closed(code: string | null): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const call = this.#call;
    const wasStale = call?.isReused === true && this.#reader.isUntouched;
    // Without an error the end of the connection may be the end of the answer.
    const isEnd = code === null && this.#reader.close();
    if (call !== null && this.#call === call && !isEnd)
      this.#lose(call, new BrokenConnection(code ?? "ECONNRESET", wasStale));
    this.#keeper.gone(this);
  }

  /** Closes the connection; a call on it fails with `error`. */
  fail(error: unknown): void {
    const call = this.#call;
    if (call === null) return this.close();
    this.#close(call);
    this.#reject(call, error);
  }

  #lose(call: Call, error: unknown): void {
    this.#release(call);
    call.cancelUpload();
    this.#reject(call, error);
  }

  #reject(call: Call, error: unknown): void {
    // The head is as it was; what follows must not look complete.
    if (call.head !== null) this.#answerEarly(call);
    if (call.body === null) call.answered.reject(call.sending.failed(error));
    else call.body.end(asError(error));
  }

  #close(call: Call): void {
    this.#release(call);
    call.cancelUpload();
    this.close();
  }

  /** Closes it, whatever is under way. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unsent = null;
    this.#onDrained = null;
    this.#wire.terminate();
    this.#keeper.gone(this);
  }

  pause(): void {
    if (!this.#isClosed) this.#wire.pause();
  }

  resume(): void {
    if (!this.#isClosed) this.#wire.resume();
  }

  /** The rest of the answer is not wanted. */
  cancel(): void {
    if (this.#call !== null) this.#close(this.#call);
  }
}

/** A request on its way, and its answer. */
class Call {
  readonly sending: Sending;
  readonly controller: Cancellation;
  readonly answered = Promise.withResolvers<Answer>();
  /** Whether its connection had carried another before. */
  readonly isReused: boolean;
  /** Where its body comes from, while it is sent. */
  upload: { cancel(): Promise<void> } | null = null;
  isSent = false;
  /** The answer's head, until it is given on. */
  head: AnswerHead | null = null;
  /** What has come of its body before the answer is given on; all of it in `more`, where it is several pieces. */
  early: Uint8Array<ArrayBuffer> | null = null;
  more: Uint8Array<ArrayBuffer>[] | null = null;
  /** The wait for the rest of a small answer. */
  lingering: Wait | null = null;
  body: ArrivingBody | null = null;

  constructor(sending: Sending, controller: Cancellation, isReused: boolean) {
    this.sending = sending;
    this.controller = controller;
    this.isReused = isReused;
  }

  cancelUpload(): void {
    this.upload?.cancel().catch(() => {});
    this.upload = null;
  }
}
