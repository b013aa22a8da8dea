import { connect } from "node:net";
import type { Socket } from "node:net";

/** What a test asks for; everything goes onto the wire exactly as given. */
export interface Ask {
  method?: string;
  /** The request target as it is sent. */
  path?: string;
  /** Without it, the address connected to. */
  host?: string;
  /** A name may come more than once. `Content-Length` and `Connection: close` are added. */
  headers?: Readonly<Record<string, string>> | readonly (readonly [string, string])[];
  /** An iterable is sent in chunked coding, never faster than it is taken. */
  body?: string | Uint8Array | AsyncIterable<Uint8Array>;
  /** The address to connect to; 127.0.0.1 unless given. */
  address?: string;
}

/** One piece of an answer's body, without the transfer coding, and when it came (`performance.now()`). */
interface Piece {
  at: number;
  bytes: Uint8Array;
}

/** An answer as it was on the wire. */
export interface Answer {
  status: number;
  /** In order, repeated ones repeated, names as sent. */
  headers: [string, string][];
  /** The first value of a header, null where there is none. */
  header(name: string): string | null;
  /** All values of a header. */
  all(name: string): string[];
  pieces: Piece[];
  bytes(): Uint8Array;
  text(): string;
  // oxlint-disable-next-line typescript/no-explicit-any -- a test reads fields of all kinds of answers
  json(): any;
  /** `performance.now()` when the connection was asked for, when the head was there, and the end. */
  startedAt: number;
  headAt: number;
  endedAt: number;
}

/** A request under way. */
export interface Call {
  /** Rejects where the connection ends before the answer does. */
  readonly answer: Promise<Answer>;
  /** Resolves when the head is there; `pieces` still grows. */
  readonly head: Promise<Answer>;
  /** Resolves with the first piece of the body. */
  readonly firstPiece: Promise<Piece>;
  /** Goes away, as a client that was killed. */
  abort(): void;
}

/**
 * Sends one request on a connection of its own. Written on a socket, because `fetch` repairs what it sends and
 * receives, and has at most 256 calls in flight.
 */
export function call(port: number, ask: Ask = {}): Call {
  const socket = connect({ port, host: ask.address ?? "127.0.0.1", noDelay: true });
  const answer = Promise.withResolvers<Answer>();
  const head = Promise.withResolvers<Answer>();
  const firstPiece = Promise.withResolvers<Piece>();
  const reader = new AnswerReader(ask.method ?? "GET", performance.now());

  const fail = (error: Error): void => {
    for (const { reject } of [answer, head, firstPiece]) reject(error);
  };
  // Whoever does not ask for one of them does not want to hear of its failure either.
  for (const { promise } of [answer, head, firstPiece]) promise.catch(() => {});

  const settle = (): void => {
    if (reader.answer !== null) head.resolve(reader.answer);
    const [first] = reader.answer?.pieces ?? [];
    if (first !== undefined) firstPiece.resolve(first);
    if (!reader.done || reader.answer === null) return;
    reader.answer.endedAt = performance.now();
    answer.resolve(reader.answer);
    socket.destroy();
  };
  socket.on("data", (data: Buffer) => {
    try {
      reader.push(data);
      settle();
    } catch (error) {
      fail(error as Error);
      socket.destroy();
    }
  });
  socket.on("error", fail);
  socket.on("close", () => {
    reader.end();
    settle();
    fail(new Error("The connection was closed before the answer was complete."));
  });
  socket.on("connect", () => void send(socket, port, ask).catch(fail));
  return {
    answer: answer.promise,
    head: head.promise,
    firstPiece: firstPiece.promise,
    abort: () => void socket.resetAndDestroy(),
  };
}

/** The whole answer to one request. */
export function ask(port: number, what: Ask = {}): Promise<Answer> {
  return call(port, what).answer;
}

/** How an answer failed to come; throws where it did come. */
export async function brokenOff(answer: Promise<Answer>): Promise<string> {
  const status = await answer.then(
    (complete) => complete.status,
    (error: Error) => error,
  );
  if (typeof status === "number") throw new Error(`There is a complete answer: ${status}`);
  return status.message;
}

async function send(socket: Socket, port: number, what: Ask): Promise<void> {
  const { method = "GET", path = "/", host, headers = {}, body } = what;
  const given = Array.isArray(headers) ? headers : Object.entries(headers);
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${host ?? `127.0.0.1:${port}`}`];
  for (const [name, value] of given) lines.push(`${name}: ${value}`);
  if (!given.some(([name]) => name.toLowerCase() === "connection")) lines.push("Connection: close");
  const whole = typeof body === "string" ? Buffer.from(body) : body;
  if (whole instanceof Uint8Array) lines.push(`Content-Length: ${whole.byteLength}`);
  else if (whole !== undefined) lines.push("Transfer-Encoding: chunked");
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  if (whole === undefined) return;
  if (whole instanceof Uint8Array) return void socket.write(whole);
  for await (const chunk of whole) {
    if (socket.destroyed) return;
    socket.write(`${chunk.byteLength.toString(16)}\r\n`);
    socket.write(chunk);
    if (!socket.write("\r\n")) await drained(socket);
  }
  socket.write("0\r\n\r\n");
}

function drained(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      socket.off("drain", go);
      socket.off("close", go);
      resolve();
    };
    socket.on("drain", go);
    socket.on("close", go);
  });
}

/** Reads an answer as its bytes come (RFC 9112 §6.3 says where its body ends). */
class AnswerReader {
  answer: Answer | null = null;
  done = false;
  readonly #method: string;
  readonly #startedAt: number;
  #rest: Buffer = Buffer.alloc(0);
  /** Bytes of the body, or of the present chunk, still to come; null: to the end of the connection. */
  #left: number | null = null;
  #chunked = false;
  #inChunk = false;

  constructor(method: string, startedAt: number) {
    this.#method = method;
    this.#startedAt = startedAt;
  }

  push(data: Buffer): void {
    this.#rest = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    if (this.answer === null && !this.#readHead()) return;
    if (this.#chunked) this.#readChunks();
    else this.#readBody();
  }

  end(): void {
    if (this.answer !== null && !this.#chunked && this.#left === null) this.done = true;
  }

  #readHead(): boolean {
    const end = this.#rest.indexOf("\r\n\r\n");
    if (end === -1) return false;
    const [first = "", ...lines] = this.#rest.subarray(0, end).toString("latin1").split("\r\n");
    this.#rest = this.#rest.subarray(end + 4);
    const status = Number(first.split(" ")[1]);
    if (status < 200) return this.#readHead();
    const headers = lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
    this.answer = answerOf(status, headers, this.#startedAt);
    const length = this.answer.header("content-length");
    this.#chunked = this.answer.header("transfer-encoding")?.toLowerCase() === "chunked";
    const isBodiless = this.#method === "HEAD" || status === 204 || status === 304;
    if (isBodiless) {
      this.#chunked = false;
      this.#left = 0;
    } else if (length !== null) this.#left = Number(length);
    return true;
  }

  #readBody(): void {
    if (this.#left === 0) {
      this.done = true;
      return;
    }
    const bytes = this.#left === null ? this.#rest : this.#rest.subarray(0, this.#left);
    this.#rest = this.#rest.subarray(bytes.length);
    this.#keep(bytes);
    if (this.#left !== null) this.#left -= bytes.length;
    if (this.#left === 0) this.done = true;
  }

  #readChunks(): void {
    for (;;) {
      if (this.#inChunk) {
        const left = this.#left ?? 0;
        const bytes = this.#rest.subarray(0, left);
        this.#rest = this.#rest.subarray(bytes.length);
        this.#left = left - bytes.length;
        this.#keep(bytes);
        if (this.#left > 0 || this.#rest.length < 2) return;
        this.#rest = this.#rest.subarray(2);
        this.#inChunk = false;
      }
      const end = this.#rest.indexOf("\r\n");
      if (end === -1) return;
      const size = Number.parseInt(this.#rest.subarray(0, end).toString("latin1"), 16);
      if (Number.isNaN(size)) throw new Error("The chunked coding of the answer is broken.");
      this.#rest = this.#rest.subarray(end + 2);
      if (size === 0) {
        this.done = true;
        return;
      }
      this.#left = size;
      this.#inChunk = true;
    }
  }

  #keep(bytes: Buffer): void {
    if (bytes.length > 0)
      this.answer?.pieces.push({ at: performance.now(), bytes: Buffer.from(bytes) });
  }
}

function answerOf(status: number, headers: [string, string][], startedAt: number): Answer {
  const pieces: Piece[] = [];
  const all = (name: string): string[] =>
    headers.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  const bytes = (): Uint8Array => Buffer.concat(pieces.map((piece) => piece.bytes));
  const text = (): string => new TextDecoder().decode(bytes());
  return {
    status,
    headers,
    header: (name) => all(name)[0] ?? null,
    all,
    pieces,
    bytes,
    text,
    json: () => JSON.parse(text()),
    startedAt,
    headAt: performance.now(),
    endedAt: Number.NaN,
  };
}
