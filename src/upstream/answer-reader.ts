import { HeaderFields, token } from "../header-fields.ts";

/** What an answer says before its body. */
export interface AnswerHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderFields;
  /** How long its body is, bytes; null where only its end will tell. */
  readonly length: number | null;
  /** Whether it ends with the connection: nothing tells then whether it was all. */
  readonly endsUnsaid: boolean;
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

/** Bytes that are no answer to the request (RFC 9112). */
export class UnreadableAnswer extends Error {}

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

const lf = 0x0a;
const cr = 0x0d;

/**
 * Reads answers of HTTP/1.1 from bytes that come in pieces of any size (RFC 9112). One reader serves a connection, an
 * answer at a time: `expect` comes before each.
 */
export class AnswerReader {
  readonly #sink: AnswerSink;
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
        const end = endOfHead(piece, at);
        if (end === -1) {
          if (piece.length - at > longestHead) throw new UnreadableAnswer("a head too long");
          this.#begun = at === 0 ? piece : piece.subarray(at);
          return;
        }
        if (end - at > longestHead) throw new UnreadableAnswer("a head too long");
        this.#begin(parseHead(piece.toString("latin1", at, end)));
        at = end;
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
    this.#sink.head({ status, statusText, headers, length, endsUnsaid, keepMs });
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

/** Where the head that starts at `from` ends, behind its empty line; -1 where that is not there yet. */
function endOfHead(bytes: Buffer, from: number): number {
  const usual = bytes.indexOf("\n\r\n", from, "latin1");
  // A single LF ends a line too (RFC 9112 §2.2); behind the empty line it is the body's.
  const before = usual === -1 ? bytes.length : usual + 1;
  const bare = bytes.subarray(from, before).indexOf("\n\n", 0, "latin1");
  if (bare !== -1) return from + bare + 2;
  return usual === -1 ? -1 : usual + 3;
}

/** What the lines of a head say. */
export interface ParsedHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderFields;
  readonly version: "1.0" | "1.1";
}

const statusLine = /^HTTP\/(1\.[01]) (\d{3})(?: (.*))?$/;
/** What neither a header's value nor a reason may hold, beside the ends of lines. */
// oxlint-disable-next-line no-control-regex -- it is what is looked for
const forbidden = /\0|\r(?!\n)/;
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const unprintable = /[\0-\x08\x0a-\x1f\x7f]/g;

/**
 * Parses a head, given with its last line end (RFC 9112 §4, §5).
 * @throws UnreadableAnswer
 */
export function parseHead(text: string): ParsedHead {
  if (forbidden.test(text)) throw new UnreadableAnswer("a head with a forbidden character");
  let end = text.indexOf("\n");
  const [, version, status, reason = ""] = statusLine.exec(lineAt(text, 0, end)) ?? [];
  if (status === undefined) throw new UnreadableAnswer("a first line that is none of HTTP/1.1");
  const headers = new HeaderFields();
  let name = "";
  let value = "";
  for (let from = end + 1; from < text.length; from = end + 1) {
    end = text.indexOf("\n", from);
    const line = lineAt(text, from, end);
    if (line === "") break;
    if (line.startsWith(" ") || line.startsWith("\t")) {
      // A value over several lines, which went out of use: it is one with spaces (RFC 9112 §5.2).
      if (name === "") throw new UnreadableAnswer("a header without a name");
      value = `${value} ${trimmed(line, 0)}`;
      continue;
    }
    if (name !== "") headers.append(name, value);
    const colon = line.indexOf(":");
    name = nameOf(line.slice(0, Math.max(0, colon)));
    value = trimmed(line, colon + 1);
  }
  if (name !== "") headers.append(name, value);
  return {
    status: Number(status),
    statusText: reason.replace(unprintable, ""),
    headers,
    version: version === "1.0" ? "1.0" : "1.1",
  };
}

function lineAt(text: string, from: number, end: number): string {
  return text.slice(from, text.charCodeAt(end - 1) === cr ? end - 1 : end);
}

/** Header names as servers write them, in lower case: they are always the same few. */
const names = new Map<string, string>();
const mostNames = 1_000;

function nameOf(written: string): string {
  const known = names.get(written);
  if (known !== undefined) return known;
  const name = trimmed(written, 0).toLowerCase();
  if (!token.test(name)) throw new UnreadableAnswer("a header whose name is none");
  if (names.size < mostNames) names.set(written, name);
  return name;
}

/** What stands from `from` on, without spaces and tabs around it. */
function trimmed(line: string, from: number): string {
  let start = from;
  let end = line.length;
  while (start < end && isSpace(line.charCodeAt(start))) start++;
  while (end > start && isSpace(line.charCodeAt(end - 1))) end--;
  return line.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** Where a body ends: after so many bytes, with its last chunk, or with the connection (RFC 9112 §6.3). */
function framingOf(
  headers: HeaderFields,
  status: number,
  isBodiless: boolean,
): number | "chunked" | "close" {
  if (isBodiless || status === 204 || status === 304) return 0;
  const coding = headers.get("transfer-encoding");
  if (coding !== null) {
    // Others are between two machines, too, and who gets the answer would not know of them.
    if (!/^(?:[ \t,]|chunked|identity)*$/i.test(coding))
      throw new UnreadableAnswer("a transfer coding that nobody asked for");
    return /(?:^|,)[ \t]*chunked$/i.test(coding) ? "chunked" : "close";
  }
  const length = headers.get("content-length");
  if (length === null) return "close";
  // The same length said twice is one; two lengths are nothing that could be believed.
  const [first = "", ...more] = length.split(",").map((one) => one.trim());
  if (!/^\d{1,15}$/.test(first) || more.some((other) => other !== first))
    throw new UnreadableAnswer("a length that is none");
  if (more.length > 0) headers.set("content-length", first);
  return Number(first);
}

/** Whether a head speaks of two ends: what comes behind one may have been meant to come before the other. */
function isAmbiguous(headers: HeaderFields, status: number): boolean {
  const isCoded = headers.has("transfer-encoding");
  const length = headers.get("content-length");
  return status === 204 ? isCoded || (length ?? "0") !== "0" : isCoded && length !== null;
}

function keepTime(headers: HeaderFields, version: "1.0" | "1.1"): number | null {
  const options = headers.get("connection")?.toLowerCase() ?? "";
  const isKept = version === "1.1" ? !/\bclose\b/.test(options) : /\bkeep-alive\b/.test(options);
  if (!isKept) return 0;
  const timeout = /\btimeout=(\d{1,9})/i.exec(headers.get("keep-alive") ?? "")?.[1];
  return timeout === undefined ? null : Number(timeout) * 1_000;
}
