import { PartialText, report } from "./partial.ts";
import type { OnEvent, OnLongEvent } from "./partial.ts";

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/**
 * Finds the objects of a JSON array in bytes that arrive cut anywhere, as Gemini streams them without `alt=sse`.
 * A lone object counts as an array of one. Bytes are looked at in place; only an object that a chunk cuts is copied,
 * and at most 1 MiB of it.
 *
 * @param onEvent gets each object's bytes
 * @param onLong gets both ends of an object that is longer than 1 MiB
 */
export function createElementFollower(
  onEvent: OnEvent,
  onLong: OnLongEvent,
): (chunk: Uint8Array) => void {
  const partial = new PartialText();
  /** Open braces: 0 between objects. Brackets need no counting, braces alone tell where an object ends. */
  let depth = 0;
  /** Whether the last chunk ended inside a string, and if so right behind a backslash that is not itself escaped. */
  let inString = false;
  let escaped = false;

  /** Where the string has ended whose text goes on at `from`; the chunk's end where it has not. */
  const skipString = (bytes: Buffer, from: number): number => {
    escaped = false;
    for (let at = from; at < bytes.length;) {
      const end = bytes.indexOf(quote, at);
      const isEscape = endsInEscape(bytes, at, end === -1 ? bytes.length : end);
      if (end === -1) {
        escaped = isEscape;
        break;
      }
      if (!isEscape) {
        inString = false;
        return end + 1;
      }
      at = end + 1;
    }
    inString = true;
    return bytes.length;
  };

  const finish = (bytes: Buffer, start: number, end: number): void => {
    if (partial.isEmpty) return report(bytes, start, end, onEvent, onLong);
    partial.add(bytes.subarray(start, end));
    partial.finish(onEvent, onLong);
  };

  return (chunk) => {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (bytes.length === 0) return;
    let start = 0;
    for (let at = inString ? skipString(bytes, escaped ? 1 : 0) : 0; at < bytes.length; at++) {
      const byte = bytes[at];
      if (byte === openBrace) {
        if (depth++ === 0) start = at;
      } else if (depth === 0) {
        continue;
      } else if (byte === quote) {
        at = skipString(bytes, at + 1) - 1;
      } else if (byte === closeBrace && --depth === 0) {
        finish(bytes, start, at + 1);
      }
    }
    if (depth > 0) partial.add(bytes.subarray(start));
  };
}

/** Whether what stands from `start` to `end` ends in a backslash that is not itself escaped. */
function endsInEscape(bytes: Buffer, start: number, end: number): boolean {
  let slashes = 0;
  while (end - slashes > start && bytes[end - slashes - 1] === backslash) slashes++;
  return slashes % 2 === 1;
}
