const newline = 0x0a;

/** Bytes that come in pieces, gathered. */
export interface Gathering {
  /** Takes a copy of `chunk`, or hands it on. */
  push(this: void, chunk: Uint8Array): void;
  /** Hands on what is still here. */
  flush(this: void): void;
}

/**
 * Gathers the small pieces of a stream, so that what each look costs by itself is paid once for some dozens of lines.
 *
 * @param most bytes that are kept; a line that is longer goes on in pieces
 * @param look gets all bytes in order, valid during the call only, and whether they are whole lines
 */
export function gatherLines(
  most: number,
  look: (bytes: Buffer, areWhole: boolean) => void,
): Gathering {
  let kept: Buffer | null = null;
  let length = 0;
  /** Whether the last bytes that went on were not the end of a line. */
  let isWithin = false;

  const handOn = (bytes: Buffer): void => {
    const endsWhole = bytes[bytes.length - 1] === newline;
    look(bytes, endsWhole && !isWithin);
    isWithin = !endsWhole;
  };
  /** Hands on the whole lines there are, and keeps the rest. */
  const handOnLines = (buffer: Buffer): void => {
    const end = buffer.subarray(0, length).lastIndexOf(newline) + 1;
    if (end === 0) return;
    handOn(buffer.subarray(0, end));
    buffer.copyWithin(0, end, length);
    length -= end;
  };
  const flush = (): void => {
    if (kept !== null && length > 0) handOn(kept.subarray(0, length));
    length = 0;
  };

  return {
    push(chunk) {
      if (chunk.length === 0) return;
      kept ??= Buffer.allocUnsafeSlow(most);
      if (length + chunk.length > most) handOnLines(kept);
      if (length + chunk.length > most) {
        flush();
        if (chunk.length > most)
          return handOn(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
      }
      kept.set(chunk, length);
      length += chunk.length;
    },
    flush,
  };
}
