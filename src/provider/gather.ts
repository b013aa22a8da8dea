import { addText } from "./delta.ts";
import type { SeenText } from "./delta.ts";
import { objectIn } from "./scan.ts";

const newline = 0x0a;
/** So many pieces are looked at together at most, however short they are. */
const mostPieces = 1_024;

/** What tells whole lines that say nothing but text: they have none of `marks`, and no object with usage. */
export interface PlainLines {
  readonly marks: readonly Buffer[];
  /** As `addDeltas` takes them. */
  readonly textKeys: readonly Buffer[];
  /** Key of the object with usage, in its quotes. */
  readonly usageMark: Buffer;
}

/** A stream whose pieces are gathered with those of others. */
export interface Gathered {
  /** The text of plain lines is added here. */
  readonly seen: SeenText;
  /** Gets all else of the stream, cut anywhere; valid during the call only. */
  readonly follow: (bytes: Buffer) => void;
  /** Whether its last byte so far was not the end of a line. */
  isWithin: boolean;
}

/**
 * Gathers the small pieces of many streams in one place, so that what each look costs by itself is paid once for some
 * hundreds of lines. A place for each stream would be cold whenever its next piece comes, and cost more than the look.
 */
export class Gathering {
  readonly #plain: PlainLines | null;
  readonly #bytes: Buffer;
  #length = 0;
  readonly #pieces: Pieces;

  /**
   * @param bytes how much is looked at together
   * @param plain null where plain lines cannot be told
   */
  constructor(bytes: number, plain: PlainLines | null) {
    this.#plain = plain;
    this.#bytes = Buffer.allocUnsafeSlow(bytes);
    this.#pieces = {
      count: 0,
      of: Array.from({ length: mostPieces }, () => null),
      ends: new Int32Array(mostPieces),
      arePlain: new Uint8Array(mostPieces),
    };
  }

  /** Takes a copy of `chunk`, or hands it on. */
  push(stream: Gathered, chunk: Uint8Array): void {
    const size = chunk.length;
    if (size === 0) return;
    const pieces = this.#pieces;
    const bytes = this.#bytes;
    if (this.#length + size > bytes.length || pieces.count === mostPieces) this.flush();
    const endsWhole = chunk[size - 1] === newline;
    const isPlain = endsWhole && !stream.isWithin;
    stream.isWithin = !endsWhole;
    if (size > bytes.length)
      return stream.follow(Buffer.from(chunk.buffer, chunk.byteOffset, size));
    bytes.set(chunk, this.#length);
    this.#length += size;
    const at = pieces.count++;
    pieces.of[at] = stream;
    pieces.ends[at] = this.#length;
    pieces.arePlain[at] = isPlain ? 1 : 0;
  }

  /** Hands on everything that is here, each stream's pieces in their order. */
  flush(): void {
    const pieces = this.#pieces;
    const bytes = this.#bytes.subarray(0, this.#length);
    try {
      if (this.#plain === null) pieces.arePlain.fill(0);
      else tell(bytes, pieces, this.#plain);
      handOn(bytes, pieces, this.#plain?.textKeys ?? []);
    } finally {
      // What has ended is not held on to.
      pieces.of.fill(null, 0, pieces.count);
      pieces.count = 0;
      this.#length = 0;
    }
  }
}

/** Pieces that lie one behind the other. */
interface Pieces {
  count: number;
  readonly of: (Gathered | null)[];
  readonly ends: Int32Array;
  /** Not 0 for whole lines that say nothing but text, as far as is known. */
  readonly arePlain: Uint8Array;
}

/** Finds the pieces that are not plain. What lies across two pieces makes no difference: a plain one is whole lines. */
function tell(bytes: Buffer, { ends, arePlain }: Pieces, { marks, usageMark }: PlainLines): void {
  const except = (find: (from: number) => number): void => {
    let piece = 0;
    for (let at = find(0); at !== -1; at = find(ends[piece] ?? bytes.length)) {
      while ((ends[piece] ?? Infinity) <= at) piece++;
      arePlain[piece] = 0;
    }
  };
  for (const mark of marks) except((from) => bytes.indexOf(mark, from));
  except((from) => objectIn(bytes, usageMark, from));
}

function handOn(
  bytes: Buffer,
  { count, of, ends, arePlain }: Pieces,
  keys: readonly Buffer[],
): void {
  /** Where each key is found next. */
  const next = keys.map((key) => bytes.indexOf(key));
  let start = 0;
  for (let piece = 0; piece < count; piece++) {
    const stream = of[piece];
    const end = ends[piece];
    if (!stream || end === undefined) return;
    if (arePlain[piece] === 0) stream.follow(bytes.subarray(start, end));
    else {
      for (let i = 0; i < keys.length; i++) {
        const key = keys[i];
        let at = next[i] ?? -1;
        if (key === undefined || at === -1 || at >= end) continue;
        if (at < start) at = bytes.indexOf(key, start);
        while (at !== -1 && at < end)
          at = bytes.indexOf(key, addText(stream.seen, bytes, at + key.length, end));
        next[i] = at;
      }
    }
    start = end;
  }
}
