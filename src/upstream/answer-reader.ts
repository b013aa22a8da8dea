import {
  cr,
  framingOf,
  HeadParser,
  isAmbiguous,
  keepTime,
  lf,
  UnreadableAnswer,
} from "./answer-head.ts";
import type { ParsedHead } from "./answer-head.ts";
import type { Answer } from "./upstream.ts";

/** What an answer says before its body. */
export interface AnswerHead extends Answer {
  /** Null until the answer is given on. */
  body: Answer["body"];
  /** How long its body is, bytes; null where only its end will tell. */
  readonly length: number | null;
  /** How long the server keeps the connection open for a next request, ms; 0 where it does not, null where it does not say. */
  readonly keepMs: number | null;
}

/** Who takes what an `AnswerReader` has read. */
export interface AnswerSink {
  head(head: AnswerHead): void;
  /** A part of the body; it is the taker's. */
  data(bytes: Uint8Array<ArrayBuffer>): void;
  /** The answer has ended. */
  end(): void;
}

/** The longest head of an answer, and the longest trailers, bytes. */
const longestHead = 64 * 1024;
/** The longest line before a chunk, bytes: its size, and extensions that nobody uses. */
const longestChunkLine = 4 * 1024;
/** Interim answers (103 and the like) before the real one. */
const mostInterim = 32;

/** What is read next. */
type State =
  | "nothing"
  | "head"
  | "length"
  | "close"
  | "size"
  | "extension"
  | "chunk"
  | "chunk end"
  | "trailer";

/**
 * Reads answers of HTTP/1.1 from bytes that come in pieces of any size (RFC 9112). One reader serves a connection, an
 * answer at a time: `expect` comes before each.
 */
export class AnswerReader {
  readonly #sink: AnswerSink;
  readonly #parser = new HeadParser();
  #state: State = "nothing";
  /** Whether the answer has no body whatever its head says: that of a HEAD. */
  #isBodiless = false;
  #interim = 0;
  /** The start of a head that is not complete. */
  #begun: Buffer | null = null;
  /** Bytes that are left of the body, or of the chunk. */
  #left = 0;
  /** Digits of a chunk's size, or bytes of an extension or of trailers, so far. */
  #seen = 0;
  /** Bytes of the trailers' present line so far. */
  #lineLength = 0;

  constructor(sink: AnswerSink) {
    this.#sink = sink;
  }

  /** Whether nothing of the answer has come, interim ones apart. */
  get isUntouched(): boolean {
    return this.#state === "head" && this.#begun === null && this.#interim === 0;
  }

  /** The next bytes are an answer to a request of this method. */
  expect(method: string): void {
    this.#state = "head";
    this.#isBodiless = method === "HEAD";
    this.#interim = 0;
    this.#begun = null;
  }

  /**
   * Reads on. The reader may change `piece`, and what the sink gets of it is a part of it.
   * @throws UnreadableAnswer where it is no answer, or bytes come that belong to none
   */
  push(piece: Buffer<ArrayBuffer>): void {
    let at = 0;
    while (at < piece.length) {
      if (this.#state === "nothing") throw new UnreadableAnswer("bytes that nobody asked for");
      if (this.#state === "head") {
        if (this.#begun !== null) {
          piece = Buffer.concat([this.#begun, piece]);
          this.#begun = null;
        }
        const text = headIn(piece, at);
        if ((text?.length ?? piece.length - at) > longestHead)
          throw new UnreadableAnswer("a head too long");
        if (text === null) {
          this.#begun = at === 0 ? piece : piece.subarray(at);
          return;
        }
        this.#begin(this.#parser.parse(text));
        at += text.length;
      } else if (this.#state === "length") at = this.#readLength(piece, at);
      else if (this.#state === "close") {
        this.#sink.data(piece.subarray(at));
        return;
      } else at = this.#readChunks(piece, at);
    }
  }

  /**
   * No more bytes will come.
   * @returns whether that is how the answer ends, or none was expected
   */
  close(): boolean {
    const state = this.#state;
    this.#state = "nothing";
    if (state === "close") this.#sink.end();
    return state === "close" || state === "nothing";
  }

  #begin({ status, statusText, headers, version }: ParsedHead): void {
    if (status < 100 || status > 599)
      throw new UnreadableAnswer(`${String(status).padStart(3, "0")} is no status`);
    if (status < 200) {
      if (status === 101 || ++this.#interim > mostInterim)
        throw new UnreadableAnswer(`an answer ${status} that nobody asked for`);
      return;
    }
    const framing = framingOf(headers, status, this.#isBodiless);
    const isClear = framing !== "close" && !isAmbiguous(headers, status);
    const keepMs = isClear ? keepTime(headers, version) : 0;
    const length = typeof framing === "number" ? framing : null;
    const endsUnsaid = framing === "close";
    this.#sink.head({ status, statusText, headers, body: null, endsUnsaid, length, keepMs });
    if (framing === "chunked") {
      this.#state = "size";
      this.#left = 0;
      this.#seen = 0;
    } else if (framing === "close") this.#state = "close";
    else if (framing === 0) this.#finish();
    else {
      this.#state = "length";
      this.#left = framing;
    }
  }

  #finish(): void {
    this.#state = "nothing";
    this.#sink.end();
  }

  #readLength(piece: Buffer<ArrayBuffer>, at: number): number {
    const end = Math.min(piece.length, at + this.#left);
    this.#left -= end - at;
    this.#sink.data(piece.subarray(at, end));
    if (this.#left === 0) this.#finish();
    return end;
  }

  /** Reads chunks (RFC 9112 §7.1) up to the end of the answer or of `piece`, whose data it puts together in place. */
  #readChunks(piece: Buffer<ArrayBuffer>, from: number): number {
    let at = from;
    let start = -1;
    let to = 0;
    while (at < piece.length) {
      if (this.#state === "chunk") {
        const length = Math.min(this.#left, piece.length - at);
        if (start === -1) start = to = at;
        else piece.copyWithin(to, at, at + length);
        to += length;
        at += length;
        this.#left -= length;
        if (this.#left === 0) this.#state = "chunk end";
      } else if (this.#readLine(piece[at++] ?? 0)) {
        if (start !== -1) this.#sink.data(piece.subarray(start, to));
        this.#finish();
        return at;
      }
    }
    if (start !== -1) this.#sink.data(piece.subarray(start, to));
    return at;
  }

  /** Reads one byte of what stands around chunks; true where the answer ends with it. */
  #readLine(byte: number): boolean {
    switch (this.#state) {
      case "size": {
        const digit = hexDigit(byte);
        if (digit !== -1) {
          this.#left = this.#left * 16 + digit;
          this.#seen++;
          if (this.#left > Number.MAX_SAFE_INTEGER || this.#seen > longestChunkLine)
            throw new UnreadableAnswer("a chunk too long");
          return false;
        }
        if (this.#seen === 0) throw new UnreadableAnswer("a chunk without a size");
        if (byte === lf) this.#beginChunk();
        // An extension begins, or white space that some servers put there.
        else if (byte === 0x3b || byte === 0x20 || byte === 0x09 || byte === cr) {
          this.#state = "extension";
        } else throw new UnreadableAnswer("a chunk whose size is no number");
        return false;
      }
      case "extension":
        if (byte === lf) this.#beginChunk();
        else if (++this.#seen > longestChunkLine)
          throw new UnreadableAnswer("a chunk extension too long");
        return false;
      case "chunk end":
        if (byte === lf) {
          this.#state = "size";
          this.#left = 0;
          this.#seen = 0;
        } else if (byte !== cr || this.#seen++ > 0)
          throw new UnreadableAnswer("a chunk longer than it says");
        return false;
      default: {
        // Trailers are read and dropped: there is no place for them in what is passed on.
        if (++this.#seen > longestHead) throw new UnreadableAnswer("trailers too long");
        if (byte !== lf) {
          if (byte !== cr) this.#lineLength++;
          return false;
        }
        const isLast = this.#lineLength === 0;
        this.#lineLength = 0;
        return isLast;
      }
    }
  }

  #beginChunk(): void {
    this.#seen = 0;
    this.#lineLength = 0;
    this.#state = this.#left === 0 ? "trailer" : "chunk";
  }
}

/** The head that starts at `from`, with its empty line; null where that is not there yet. */
function headIn(bytes: Buffer, from: number): string | null {
  const usual = bytes.indexOf("\n\r\n", from, "latin1");
  // A single LF ends a line too (RFC 9112 §2.2); behind the empty line it is the body's.
  if (usual === -1) {
    const bare = bytes.indexOf("\n\n", from, "latin1");
    return bare === -1 ? null : bytes.toString("latin1", from, bare + 2);
  }
  const text = bytes.toString("latin1", from, usual + 3);
  const bare = text.indexOf("\n\n");
  return bare === -1 ? text : text.slice(0, bare + 2);
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}
