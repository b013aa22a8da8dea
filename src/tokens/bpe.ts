import type { CountText } from "./count-text.ts";
import { loadVocabulary, type VocabularyName } from "./load.ts";
import { createMerger } from "./merge.ts";
import { normalise } from "./normalise.ts";
import { hashFactor, noRank, rankOf, type Vocabulary } from "./vocabulary.ts";

/** Pieces kept with their count: a direct-mapped cache of this many places (a power of two) … */
const cachePlaces = 16_384;
/** … for pieces of at most this many bytes. A piece is kept whole: a count must never be another piece's. */
const cachedBytes = 24;

/**
 * A counter for one vocabulary: splits text into pieces, and counts each by the first of three ways that
 * works: it was counted before (its place is in the processor's cache, a vocabulary's megabytes are not), it is one
 * token (most are), or its bytes are merged.
 *
 * Equal to `encode_ordinary(text).length` of `@dqbd/tiktoken` on any string, lone surrogates included (both
 * read them as U+FFFD), for OpenAI's vocabularies, and to Hugging Face's `tokenizers` for the others; in time
 * that grows like n log n at worst. Holds scratch memory; no reentrance.
 */
export function createTextCounter(vocabulary: Vocabulary): CountText {
  const { classes, pieceEnd, form } = vocabulary;
  const merge = createMerger(vocabulary);
  const encoder = new TextEncoder();
  let buffer = new Uint8Array(4096);
  const keptBytes = new Uint8Array(cachePlaces * cachedBytes);
  const keptLengths = new Uint8Array(cachePlaces);
  const keptCounts = new Uint8Array(cachePlaces);

  /** Where a piece is longer than any token, `hash` is that of nothing and it is no token. */
  const countNew = (bytes: Uint8Array, start: number, end: number, hash: number): number =>
    end - start <= vocabulary.longest && rankOf(vocabulary, bytes, start, end, hash) !== noRank
      ? 1
      : merge(bytes, start, end);

  const countPiece = (bytes: Uint8Array, start: number, end: number): number => {
    const length = end - start;
    let hash = 0;
    if (length <= vocabulary.longest)
      for (let i = start; i < end; i++)
        hash = (Math.imul(hash, hashFactor) + (bytes[i] ?? 0) + 1) | 0;
    if (length > cachedBytes) return countNew(bytes, start, end, hash);
    const place = (Math.imul(hash, 0x85ebca6b) >>> 16) & (cachePlaces - 1);
    const kept = place * cachedBytes;
    if (keptLengths[place] === length) {
      let i = 0;
      while (i < length && keptBytes[kept + i] === bytes[start + i]) i++;
      if (i === length) return keptCounts[place] ?? 0;
    }
    const count = countNew(bytes, start, end, hash);
    keptLengths[place] = length;
    keptCounts[place] = count;
    for (let i = 0; i < length; i++) keptBytes[kept + i] = bytes[start + i] ?? 0;
    return count;
  };

  return (original) => {
    const text = form === null ? original : normalise(original, form);
    if (buffer.length < text.length * 3) buffer = new Uint8Array(text.length * 3);
    const end = encoder.encodeInto(text, buffer).written;
    let count = 0;
    for (let start = 0; start < end;) {
      const stop = pieceEnd(buffer, start, end, classes);
      count += countPiece(buffer, start, stop);
      start = stop;
    }
    return count;
  };
}

const counters = new Map<VocabularyName, CountText>();

/** The counter for a vocabulary that Cooldown carries, made (and its vocabulary loaded) at the first call. */
export function textCounter(name: VocabularyName): CountText {
  let counter = counters.get(name);
  if (counter === undefined) {
    counter = createTextCounter(loadVocabulary(name));
    counters.set(name, counter);
  }
  return counter;
}
