import type { Transform } from "node:stream";
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from "node:zlib";

/** A small compressed answer must not become a large one in our memory: what expands past this is not read on. */
const maxDecoded = 64 * 1024 * 1024;

/** Compressed bytes that wait to be decoded: where an answer passes faster than that, it is not read on either. */
const maxWaiting = 16 * 1024 * 1024;

/** How data in zlib's form begin. */
const zlibStart = 0x78;

/** Gets the first byte. */
type MakeDecoder = (first: number) => Transform;

const decoders: Readonly<Record<string, MakeDecoder>> = {
  gzip: () => createGunzip(),
  "x-gzip": () => createGunzip(),
  // Some servers send it without the zlib header that RFC 9110 §8.4.1.2 asks for, which begins with 8, the method, in
  // its low four bits (RFC 1950 §2.2).
  deflate: (first) => ((first & 0x0f) === 8 ? createInflate() : createInflateRaw()),
  br: () => createBrotliDecompress(),
  zstd: () => createZstdDecompress(),
};

/** Reads bytes that pass to the client: `push` each, then `end` once. The bytes themselves are never changed. */
export interface SideReader<T> {
  push(this: void, chunk: Uint8Array): void;
  /** Resolves with the result when all that was pushed has been read. */
  end(): T | Promise<T>;
}

/**
 * A reader of what `encoding` decodes to; null for an encoding that is not known here.
 * @param partly what to make of a result where only a part could be decoded, or nothing: if absent, the same
 */
export function decoding<T>(
  encoding: string | null,
  inner: SideReader<T>,
  partly: (read: T | Promise<T>) => T | Promise<T> = (read) => read,
): SideReader<T> | null {
  if (encoding === null || encoding === "" || encoding === "identity") return inner;
  const make = decoders[encoding.toLowerCase()];
  if (make === undefined) return null;
  let decoder: Transform | null = null;
  let length = 0;
  let isWhole = false;
  const done = Promise.withResolvers<void>();
  const begin = (first: number): Transform => {
    const made = make(first);
    made.on("data", (chunk: Uint8Array) => {
      length += chunk.byteLength;
      if (length > maxDecoded) made.destroy();
      else inner.push(chunk);
    });
    // Broken or cut-off data ends the side copy early; what was read until then counts.
    made.on("error", () => done.resolve());
    made.on("close", () => done.resolve());
    made.on("end", () => {
      isWhole = true;
      done.resolve();
    });
    return made;
  };
  return {
    push(chunk) {
      const [first] = chunk;
      if (first === undefined) return;
      decoder ??= begin(first);
      if (decoder.destroyed) return;
      decoder.write(chunk);
      if (decoder.writableLength > maxWaiting) decoder.destroy();
    },
    async end() {
      decoder ??= begin(zlibStart);
      if (!decoder.destroyed) decoder.end();
      await done.promise;
      return isWhole ? inner.end() : partly(inner.end());
    },
  };
}

/** What was collected of a text. */
export interface Collected {
  readonly bytes: Uint8Array;
  /** If not, `bytes` are its end. */
  readonly isWhole: boolean;
}

/** Collects a text of up to `max` bytes; of a longer one the last `tail`. */
export function collector(
  max: number,
  tail = 0,
): { push(chunk: Uint8Array): void; end(): Collected } {
  let chunks: Uint8Array[] = [];
  let length = 0;
  let isWhole = true;
  return {
    push(chunk) {
      chunks.push(chunk);
      length += chunk.byteLength;
      if (length <= max) return;
      isWhole = false;
      chunks = lastOf(chunks, tail);
      length = chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
    },
    end() {
      const bytes = Buffer.concat(chunks);
      return { bytes: isWhole ? bytes : bytes.subarray(Math.max(0, length - tail)), isWhole };
    },
  };
}

/** The last of `chunks` that have `bytes` bytes together. */
function lastOf(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let from = chunks.length;
  for (let size = 0; from > 0 && size < bytes; size += chunks[from]?.byteLength ?? 0) from--;
  return chunks.slice(from);
}
