import type { HeaderFields } from "../header-fields.ts";
import { AnswerReader } from "./answer-reader.ts";
import type { AnswerHead, AnswerSink } from "./answer-reader.ts";
import { ArrivingBody } from "./arriving-body.ts";
import type { BodyOrigin } from "./arriving-body.ts";
import type { Deadlines, Wait } from "./deadlines.ts";
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
export interface Sending {
  readonly target: RequestTarget;
  /** Lines of the head for this connection alone, each with its line end. */
  readonly more: string;
  /** For how long the rest of a small answer is waited for, if its head comes alone. */
  readonly linger: Deadlines;
  /** Called when more of a long body has been taken. */
  progressed(): void;
  /** Called when all of it has. */
  sent(): void;
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
export class Connection implements AnswerSink, BodyOrigin {
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
   * Sends a request. Resolves when the answer's head is there.
   * @throws ProxyError where it cannot be written: the connection is free again; BrokenConnection, UnreadableAnswer; the
   *   signal's reason where it is aborted; whatever a streamed body fails with
   */
  send(request: UpstreamRequest, sending: Sending): Promise<Answer> {
    const answered = Promise.withResolvers<Answer>();
    const call = new Call(sending, answered, this.#used > 0 || this.freeSince > 0);
    const { method, headers, body, controller } = request;
    const framing = framingOf(headers, body);
    if (this.#isClosed) throw new BrokenConnection("ECONNRESET", call.isReused);
    let head: string;
    try {
      head = requestHead(method, sending.target, headers, framing, sending.more);
    } catch (error) {
      this.#keeper.free(this);
      throw error;
    }
    this.#used++;
    this.#call = call;
    this.#reader.expect(method);
    controller.onAbort(() => {
      if (this.#call === call) this.fail(controller.reason);
    });
    if (this.#isClosed) return answered.promise;
    if (body instanceof ReadableStream) void this.#sendStream(call, head, body, framing);
    else if (body === null || body.byteLength === 0) this.#sendAll(call, latin1(head));
    else if (body.byteLength <= smallBody) this.#sendAll(call, joined(head, body));
    else {
      this.#write(latin1(head));
      this.#sendAll(call, body);
    }
    return answered.promise;
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
    call.lingering = call.sending.linger.begin(() => this.#answerEarly(call));
  }

  head(head: AnswerHead): void {
    this.#keepMs = head.keepMs;
    if (this.#call !== null) this.#call.head = head;
  }

  data(bytes: Uint8Array<ArrayBuffer>): void {
    const call = this.#call;
    if (call === null) return;
    if (call.body === null) call.early.push(bytes);
    else call.body.push(bytes);
  }

  /** The answer has ended; the connection is free where the request has too. */
  end(): void {
    const call = this.#call;
    if (call === null) return;
    if (call.body !== null) call.body.end(null);
    else {
      const [only = null, ...more] = call.early;
      this.#answer(call, more.length === 0 ? only : Buffer.concat(call.early));
    }
    this.#finish(call);
  }

  /** Gives an answer whose body is still arriving. */
  #answerEarly(call: Call): void {
    const body = new ArrivingBody(this);
    for (const piece of call.early) body.push(piece);
    call.body = body;
    this.#answer(call, body);
  }

  #answer(call: Call, body: Answer["body"]): void {
    const { head } = call;
    if (head === null) return;
    const { status, statusText, headers, endsUnsaid } = head;
    call.head = null;
    call.lingering?.end();
    call.answered.resolve({ status, statusText, headers, body, endsUnsaid });
  }

  #finish(call: Call): void {
    if (!call.isSent || this.#keepMs === 0) this.#close(call);
    else this.#call = null;
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
    this.#call = null;
    call.cancelUpload();
    this.#reject(call, error);
  }

  #reject(call: Call, error: unknown): void {
    // The head is as it was; what follows must not look complete.
    if (call.head !== null) this.#answerEarly(call);
    call.answered.reject(error);
    call.body?.end(error instanceof Error ? error : new Error(String(error)));
  }

  #close(call: Call): void {
    this.#call = null;
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
  readonly answered: PromiseWithResolvers<Answer>;
  /** Whether its connection had carried another before. */
  readonly isReused: boolean;
  /** Where its body comes from, while it is sent. */
  upload: { cancel(): Promise<void> } | null = null;
  isSent = false;
  /** The answer's head, until it is given on. */
  head: AnswerHead | null = null;
  /** What has come of its body before the answer is given on. */
  readonly early: Uint8Array<ArrayBuffer>[] = [];
  /** The wait for the rest of a small answer. */
  lingering: Wait | null = null;
  body: ArrivingBody | null = null;

  constructor(sending: Sending, answered: PromiseWithResolvers<Answer>, isReused: boolean) {
    this.sending = sending;
    this.answered = answered;
    this.isReused = isReused;
  }

  cancelUpload(): void {
    this.upload?.cancel().catch(() => {});
    this.upload = null;
  }
}

function framingOf(headers: HeaderFields, body: UpstreamRequest["body"]): BodyFraming {
  if (body === null) return null;
  if (!(body instanceof ReadableStream)) return body.byteLength;
  const length = headers.get("content-length");
  return length === null ? "chunked" : Number(length);
}

/** A wire takes strings as UTF-8, which is the same for ASCII and cheaper than bytes. */
function latin1(head: string): string | Uint8Array {
  // oxlint-disable-next-line no-control-regex -- what is not ASCII is looked for
  return /^[\0-\x7f]*$/.test(head) ? head : Buffer.from(head, "latin1");
}

function asBytes(text: string | Uint8Array): Uint8Array {
  return typeof text === "string" ? Buffer.from(text, "latin1") : text;
}

function joined(head: string, body: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(head.length + body.byteLength);
  bytes.write(head, 0, "latin1");
  bytes.set(body, head.length);
  return bytes;
}

function asChunk(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([
    Buffer.from(`${bytes.byteLength.toString(16)}\r\n`, "latin1"),
    bytes,
    Buffer.from("\r\n", "latin1"),
  ]);
}
