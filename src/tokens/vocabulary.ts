/**
 * The file format of the vocabularies, and the hash in which tokens are looked up by their bytes.
 *
 * A file in `data/` is, compressed with zstd: the number of tokens and of bytes of class runs (two unsigned
 * 32-bit little-endian numbers), the length of each token in order of rank (one byte), where the number of
 * tokens has its highest bit set the left length of each (one byte), the class runs (`unicode.ts`), then the
 * tokens' bytes one after the other. `scripts/vocabulary.ts` writes it.
 */
import type { NormalForm } from "./normalise.ts";
import type { PieceEnd } from "./scan.ts";
import { unpackClasses } from "./unicode.ts";

/** What a lookup answers for bytes that are no token. Larger than every rank. */
export const noRank = 0x7fffffff;

/**
 * Tokens by bytes. The hash of bytes is a polynomial modulo 2^32 (`h = h * factor + byte + 1`), so that the
 * hash of any part of a piece follows from two prefix hashes and a power of the factor, in constant time.
 * Two byte strings with one hash are told apart by their bytes: hostile text costs a comparison, not exactness.
 */
export interface Vocabulary {
  /** Open addressing, linear probing, at most half full: pairs of (hash, rank + 1), 0 being an empty place. */
  readonly slots: Int32Array;
  /** Slots less one; slots are a power of two. */
  readonly slotMask: number;
  /** Token `r` is `arena[offsets[r]..offsets[r+1])`. */
  readonly offsets: Int32Array;
  readonly arena: Uint8Array;
  /** Bytes of the longest token. */
  readonly longest: number;
  /** The rank of each pair of bytes, at `first << 8 | second`. */
  readonly pairRanks: Int32Array;
  /**
   * Bytes of the left one of the two parts of which a token is made, by rank; null where any two parts whose
   * bytes together are the token may become it, as in OpenAI's tokenizers. A Hugging Face tokenizer has a list of
   * pairs instead: where that has one pair a token, the other pairs must not merge.
   */
  readonly leftLengths: Uint8Array | null;
  /** The class of every code point, as `pieceEnd` reads it. */
  readonly classes: Uint8Array;
  readonly pieceEnd: PieceEnd;
  /** The form into which texts are brought before they are split; null where they are taken as they are. */
  readonly form: NormalForm | null;
}

/** Factor of the polynomial hash: odd, and ≡ 5 modulo 8 for a long period. */
export const hashFactor = 0x2c9277b5;

const headerBytes = 8;
const withLeftLengths = 0x80000000;

/**
 * The file format above, before compression.
 *
 * @param classRuns empty where the classes come from elsewhere
 * @param leftLengths one a token, 0 for a token that no merge makes; null where parts may be any
 * @throws RangeError where a token has no or more than 255 bytes
 */
export function packVocabulary(
  tokens: readonly Uint8Array[],
  classRuns: Uint8Array,
  leftLengths: Uint8Array | null = null,
): Uint8Array {
  const lengths = tokens.map((token) => token.length);
  if (lengths.some((length) => length === 0 || length > 255))
    throw new RangeError("token of 0 or over 255 bytes");
  const header = new DataView(new ArrayBuffer(headerBytes));
  header.setUint32(0, tokens.length + (leftLengths === null ? 0 : withLeftLengths), true);
  header.setUint32(4, classRuns.length, true);
  return Buffer.concat([
    new Uint8Array(header.buffer),
    Uint8Array.from(lengths),
    leftLengths ?? new Uint8Array(),
    classRuns,
    ...tokens,
  ]);
}

/** The first slot to look at for `hash`; the multiplication lets the high bits of the hash count. */
export function slotOf(hash: number, slotMask: number): number {
  return (Math.imul(hash ^ (hash >>> 15), 0x9e3779b1) >>> 10) & slotMask;
}

/**
 * Builds the tables from an uncompressed file. `packed` is kept: the tokens' bytes are a view of it.
 *
 * @param classes the class of every code point, where the file has none
 */
export function buildVocabulary(
  packed: Uint8Array,
  pieceEnd: PieceEnd,
  form: NormalForm | null = null,
  classes: Uint8Array | null = null,
): Vocabulary {
  const header = new DataView(packed.buffer, packed.byteOffset, headerBytes);
  const flagged = header.getUint32(0, true);
  const count = flagged % withLeftLengths;
  const leftsAt = headerBytes + count;
  const classesAt = leftsAt + (flagged === count ? 0 : count);
  const arenaAt = classesAt + header.getUint32(4, true);
  const lengths = packed.subarray(headerBytes, leftsAt);
  const arena = packed.subarray(arenaAt);

  const slotMask = 2 ** Math.ceil(Math.log2(count * 2)) - 1;
  const slots = new Int32Array((slotMask + 1) * 2);
  const offsets = new Int32Array(count + 1);
  const pairRanks = new Int32Array(0x10000).fill(noRank);
  let longest = 0;
  let at = 0;
  for (let rank = 0; rank < count; rank++) {
    const length = lengths[rank] ?? 0;
    if (length > longest) longest = length;
    const stop = at + length;
    let hash = 0;
    for (let i = at; i < stop; i++) hash = (Math.imul(hash, hashFactor) + (arena[i] ?? 0) + 1) | 0;
    if (length === 2) pairRanks[((arena[at] ?? 0) << 8) | (arena[at + 1] ?? 0)] = rank;
    let slot = slotOf(hash, slotMask);
    while (slots[slot * 2 + 1] !== 0) slot = (slot + 1) & slotMask;
    slots[slot * 2] = hash;
    slots[slot * 2 + 1] = rank + 1;
    offsets[rank] = at;
    at = stop;
  }
  offsets[count] = at;
  return {
    slots,
    slotMask,
    offsets,
    arena,
    longest,
    pairRanks,
    leftLengths: flagged === count ? null : packed.subarray(leftsAt, classesAt),
    classes: classes ?? unpackClasses(packed.subarray(classesAt, arenaAt)),
    pieceEnd,
    form,
  };
}

/** The rank of `bytes[start..end)`, whose polynomial hash is `hash`; `noRank` where it is no token. */
export function rankOf(
  vocabulary: Vocabulary,
  bytes: Uint8Array,
  start: number,
  end: number,
  hash: number,
): number {
  const { slots, slotMask, offsets, arena } = vocabulary;
  const length = end - start;
  if (length > vocabulary.longest) return noRank;
  for (let slot = slotOf(hash, slotMask); ; slot = (slot + 1) & slotMask) {
    const found = slots[slot * 2 + 1] ?? 0;
    if (found === 0) return noRank;
    if (slots[slot * 2] !== hash) continue;
    const at = offsets[found - 1] ?? 0;
    if ((offsets[found] ?? 0) - at !== length) continue;
    let i = 0;
    while (i < length && arena[at + i] === bytes[start + i]) i++;
    if (i === length) return found - 1;
  }
}
