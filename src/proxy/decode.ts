import type { Transform } from "node:stream";
import {
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
} from "node:zlib";

/** A small compressed answer must not become a large one in our memory: what expands past this is not read on. */
const maxDecoded = 64 * 1024 * 1024;

/** Compressed bytes that wait to be decoded: where an answer passes faster than that, it is not read on either. */
const maxWaiting = 16 * 1024 * 1024;

const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
};

/** Reads bytes that pass to the client: `push` each, then `end` once. The bytes themselves are never changed. */
export interface SideReader<T> {
  push(chunk: Uint8Array): void;
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
  const decoder = decoders[encoding.toLowerCase()]?.();
  if (decoder === undefined) return null;
  let length = 0;
  let isWhole = false;
  const done = Promise.withResolvers<void>();
  decoder.on("data", (chunk: Uint8Array) => {
    length += chunk.byteLength;
    if (length > maxDecoded) decoder.destroy();
    else inner.push(chunk);
  });
  // Broken or cut-off data ends the side copy early; what was read until then counts.
  decoder.on("error", () => done.resolve());
  decoder.on("close", () => done.resolve());
  decoder.on("end", () => {
    isWhole = true;
    done.resolve();
  });
  return {
    push(chunk) {
      if (decoder.destroyed) return;
      decoder.write(chunk);
      if (decoder.writableLength > maxWaiting) decoder.destroy();
    },
    async end() {
      if (!decoder.destroyed) decoder.end();
      await done.promise;
      return isWhole ? inner.end() : partly(inner.end());
    },
  };
}

/** Collects a JSON answer's text, up to a bound; `end` gives null where there was more. */
export function collector(max: number): {
  push(chunk: Uint8Array): void;
  end(): Uint8Array | null;
} {
  const chunks: Uint8Array[] = [];
  let length = 0;
  return {
    push(chunk) {
      length += chunk.byteLength;
      if (length <= max) chunks.push(chunk);
      else chunks.length = 0;
    },
    end: () => (length > max ? null : Buffer.concat(chunks)),
  };
}
