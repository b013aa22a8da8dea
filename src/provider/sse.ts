/** Longest line that is looked at, in bytes. One that is longer passes to the client but not through here. */
const maxLineBytes = 1 << 20;

const newline = 0x0a;
const carriageReturn = 0x0d;

/** Gets each `data:` line of an event stream: its bytes from `start` to `end` without the field name. */
export type OnData = (bytes: Buffer, start: number, end: number) => void;

/**
 * Finds the `data:` lines of server-sent events in bytes that arrive cut anywhere (WHATWG HTML §9.2.5; lines end in
 * LF or CRLF). Bytes are looked at in place; only a line that a chunk cuts is copied, and at most 1 MiB of it.
 */
export function createLineFollower(onData: OnData): (chunk: Uint8Array) => void {
  /** The start of a line whose end has not come yet: `carried` bytes of `kept`. */
  let kept = Buffer.alloc(0);
  let carried = 0;
  let skipping = false;

  const carry = (part: Buffer): void => {
    if (part.length === 0 || skipping) return;
    const size = carried + part.length;
    if (size > maxLineBytes) {
      skipping = true;
      return;
    }
    if (size > kept.length) {
      const larger = Buffer.alloc(Math.min(maxLineBytes, Math.max(1024, 2 * size)));
      kept.copy(larger, 0, 0, carried);
      kept = larger;
    }
    part.copy(kept, carried);
    carried = size;
  };

  const finishCarried = (part: Buffer): void => {
    carry(part);
    if (!skipping) readLine(kept, 0, carried, onData);
    carried = 0;
    skipping = false;
  };

  return (chunk) => {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, start)) {
      if (carried > 0 || skipping) finishCarried(bytes.subarray(start, end));
      else if (end - start <= maxLineBytes) readLine(bytes, start, end, onData);
      start = end + 1;
    }
    carry(bytes.subarray(start));
  };
}

/** Reports the line from `start` to `end` if it is a `data:` field. */
function readLine(bytes: Buffer, start: number, end: number, onData: OnData): void {
  // d, a, t, a, colon: compared as bytes, since most chunks are one short line and decoding would cost more.
  if (end - start < 6 || bytes[start] !== 0x64 || bytes[start + 4] !== 0x3a) return;
  if (bytes[start + 1] !== 0x61 || bytes[start + 2] !== 0x74 || bytes[start + 3] !== 0x61) return;
  const from = bytes[start + 5] === 0x20 ? start + 6 : start + 5;
  const to = bytes[end - 1] === carriageReturn ? end - 1 : end;
  if (to > from) onData(bytes, from, to);
}
