import { PartialText, report } from "./partial.ts";
import type { OnEvent, OnLongEvent } from "./partial.ts";

const newline = 0x0a;
const carriageReturn = 0x0d;
/** The byte order mark in UTF-8, and those bytes as Latin-1. */
const mark = [0xef, 0xbb, 0xbf] as const;
const markText = String.fromCharCode(...mark);

/**
 * Finds the `data:` lines of server-sent events in bytes that arrive cut anywhere (WHATWG HTML §9.2.5: a byte order
 * mark may come first; of the line ends, LF and CRLF). Bytes are looked at in place; only a line that a chunk cuts is
 * copied, and at most 1 MiB of it.
 *
 * @param onEvent gets each line's bytes without the field name
 * @param onLong gets both ends of a line that is longer than 1 MiB
 */
export function createLineFollower(
  onEvent: OnEvent,
  onLong: OnLongEvent,
): (chunk: Uint8Array) => void {
  const partial = new PartialText();
  let isFirst = true;

  const onFirstLine: OnEvent = (bytes, start, end) => {
    isFirst = false;
    const isMarked =
      end - start >= mark.length && mark.every((byte, i) => bytes[start + i] === byte);
    onLine(bytes, isMarked ? start + mark.length : start, end);
  };
  const onLine: OnEvent = (bytes, start, end) => {
    if (isFirst) return onFirstLine(bytes, start, end);
    // d, a, t, a, colon: compared as bytes, since most chunks are one short line and decoding would cost more.
    if (end - start < 6 || bytes[start] !== 0x64 || bytes[start + 4] !== 0x3a) return;
    if (bytes[start + 1] !== 0x61 || bytes[start + 2] !== 0x74 || bytes[start + 3] !== 0x61) return;
    const from = bytes[start + 5] === 0x20 ? start + 6 : start + 5;
    const to = bytes[end - 1] === carriageReturn ? end - 1 : end;
    if (to > from) onEvent(bytes, from, to);
  };
  const onLongLine: OnLongEvent = (head, tail) => {
    const line = isFirst && head.startsWith(markText) ? head.slice(markText.length) : head;
    isFirst = false;
    if (line.startsWith("data:")) onLong(line.slice(5).trimStart(), tail);
  };

  return (chunk) => {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, start)) {
      if (partial.isEmpty) report(bytes, start, end, onLine, onLongLine);
      else {
        partial.add(bytes.subarray(start, end));
        partial.finish(onLine, onLongLine);
      }
      start = end + 1;
    }
    if (start < bytes.length) partial.add(bytes.subarray(start));
  };
}
