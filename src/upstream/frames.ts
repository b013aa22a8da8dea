/** The longest message that passes in either direction, and so the most that is put together in memory, bytes. */
export const longestMessage = 32 * 1024 * 1024;

/** What is wrong with what a peer sends; `code` is the WebSocket close code for it (RFC 6455 §7.4.1). */
export class FrameError extends Error {
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Who takes what a `FrameReader` has read. */
export interface FrameSink {
  text(message: string): void;
  binary(message: Uint8Array): void;
  ping(payload: Uint8Array): void;
  pong(payload: Uint8Array): void;
  /** @param code null where the peer gave none */
  close(code: number | null, reason: string): void;
}

const opcodes = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Bytes that come in pieces of any size and number. They take at most twice their memory, whatever the pieces are. */
class Gathered {
  #memory: Buffer = nothing;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  push(piece: Buffer): void {
    if (piece.length === 0) return;
    const length = this.#length + piece.length;
    if (length > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#memory.length));
      this.#memory.copy(larger, 0, 0, this.#length);
      this.#memory = larger;
    }
    piece.copy(this.#memory, this.#length);
    this.#length = length;
  }

  /** All there is, which is then the caller's. */
  take(): Buffer {
    const all = this.#memory.subarray(0, this.#length);
    this.#memory = nothing;
    this.#length = 0;
    return all;
  }
}

const nothing = Buffer.alloc(0);

/** Kinds of frames that are sent. */
export type FrameKind = "text" | "binary" | "close" | "ping" | "pong";

/**
 * Reads what a server sends on a WebSocket (RFC 6455 §5): frames in pieces of any size, messages in any number of
 * frames. Extensions are not spoken, so their bits are errors, and so is a mask.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  /** The start of a frame that is not complete. */
  readonly #begun = new Gathered();
  /** How many bytes there must be for the next step. */
  #needed = 2;
  readonly #parts = new Gathered();
  /** The kind of the message that `#parts` belong to; null between messages. */
  #message: "text" | "binary" | null = null;
  #isClosed = false;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** @throws FrameError where the peer does not keep to the protocol; nothing more is to be read then */
  push(piece: Buffer): void {
    if (this.#isClosed) return;
    let rest = piece;
    if (this.#begun.length > 0) {
      this.#begun.push(piece);
      if (this.#begun.length < this.#needed) return;
      rest = this.#begun.take();
    }
    let at = 0;
    for (;;) {
      const size = frameSize(rest, at);
      const left = rest.length - at;
      if (size === null || left < size.total) {
        this.#needed = size?.total ?? left + 1;
        break;
      }
      const end = at + size.total;
      // Half a megabyte may be a quarter of a million of empty frames.
      const payload = size.head === size.total ? nothing : rest.subarray(at + size.head, end);
      this.#read(rest[at] ?? 0, payload);
      at = end;
      if (this.#isClosed) return;
    }
    if (at < rest.length) this.#begun.push(rest.subarray(at));
  }

  #read(first: number, payload: Buffer): void {
    const isLast = (first & 0x80) !== 0;
    const opcode = first & 0x0f;
    if ((first & 0x70) !== 0) throw new FrameError(1002, "a reserved bit is set");
    if (opcode >= 8) {
      if (!isLast || payload.length > 125) throw new FrameError(1002, "an odd control frame");
      return this.#control(opcode, payload);
    }
    if (opcode === opcodes.continuation ? this.#message === null : this.#message !== null)
      throw new FrameError(1002, "a frame out of order");
    if (opcode > opcodes.binary) throw new FrameError(1002, "an unknown kind of frame");
    if (opcode !== opcodes.continuation) this.#message = opcode === 1 ? "text" : "binary";
    if (this.#parts.length + payload.length > longestMessage)
      throw new FrameError(1009, "a message is too long");
    const isWhole = isLast && this.#parts.length === 0;
    if (!isWhole) this.#parts.push(payload);
    if (!isLast) return;
    const whole = isWhole ? payload : this.#parts.take();
    const kind = this.#message;
    this.#message = null;
    if (kind === "text") this.#sink.text(textOf(whole));
    else this.#sink.binary(whole);
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === opcodes.ping) return this.#sink.ping(payload);
    if (opcode === opcodes.pong) return this.#sink.pong(payload);
    if (opcode !== opcodes.close) throw new FrameError(1002, "an unknown kind of frame");
    if (payload.length === 1) throw new FrameError(1002, "an odd close frame");
    this.#isClosed = true;
    if (payload.length === 0) return this.#sink.close(null, "");
    this.#sink.close(payload.readUInt16BE(0), textOf(payload.subarray(2)));
  }
}

/** Length of the head and of the whole frame at `at`; null where that is not here yet. */
function frameSize(bytes: Buffer, at: number): { head: number; total: number } | null {
  const left = bytes.length - at;
  if (left < 2) return null;
  const second = bytes[at + 1] ?? 0;
  if ((second & 0x80) !== 0) throw new FrameError(1002, "a server's frame is masked");
  if (second < 126) return { head: 2, total: 2 + second };
  if (second === 126) return left < 4 ? null : { head: 4, total: 4 + bytes.readUInt16BE(at + 2) };
  if (left < 10) return null;
  const length = bytes.readBigUInt64BE(at + 2);
  if (length > BigInt(longestMessage)) throw new FrameError(1009, "a message is too long");
  return { head: 10, total: 10 + Number(length) };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new FrameError(1007, "a text is not UTF-8");
  }
}

/** A frame as a client sends it: whole, and masked (RFC 6455 §5.3). `payload` is not changed. */
export function clientFrame(kind: FrameKind, payload: Uint8Array): Buffer {
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const head = 2 + extended + 4;
  // The payload begins at a multiple of four, so that it can be masked a word at a time.
  const pad = (4 - (head % 4)) % 4;
  const memory = Buffer.allocUnsafeSlow(pad + head + length);
  const frame = memory.subarray(pad);
  frame[0] = 0x80 | opcodes[kind];
  frame[1] = 0x80 | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended === 2) frame.writeUInt16BE(length, 2);
  if (extended === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  const mask = crypto.getRandomValues(frame.subarray(head - 4, head));
  frame.set(payload, head);
  const words = new Uint32Array(memory.buffer, pad + head, length >> 2);
  const wordMask = new Uint32Array(Uint8Array.from(mask).buffer)[0] ?? 0;
  for (let i = 0; i < words.length; i++) words[i] = (words[i] ?? 0) ^ wordMask;
  for (let i = words.length * 4; i < length; i++) {
    frame[head + i] = (frame[head + i] ?? 0) ^ (mask[i & 3] ?? 0);
  }
  return frame;
}

/** The payload of a close frame; empty for the codes that only stand for the absence of one. */
export function closePayload(code: number | null, reason: string): Buffer {
  if (code === null || code < 1_000 || code === 1_005 || code === 1_006 || code === 1_015)
    return Buffer.alloc(0);
  const text = Buffer.from(reason);
  const payload = Buffer.alloc(2 + Math.min(text.length, 123));
  payload.writeUInt16BE(code, 0);
  text.copy(payload, 2, 0, 123);
  return payload;
}
