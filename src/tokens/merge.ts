/**
 * Byte pair merging that only counts: of all neighbouring parts whose bytes together are a token, the pair
 * of lowest rank (the leftmost of equals) becomes one part, until there is none. The number of parts left is
 * the number of tokens. Which pairs may merge is the vocabulary's to say (`leftLengths`).
 */
import { hashFactor, noRank, rankOf, type Vocabulary } from "./vocabulary.ts";

/** Tokens in the piece `bytes[start..end)`, which has at least one byte. */
export type MergePiece = (bytes: Uint8Array, start: number, end: number) => number;

/**
 * Longest piece, in bytes, for which every merge looks at all pairs: O(n²), yet without a heap's overhead.
 * Longer ones take the heap: O(n log n), whatever the input. The textbook loop without the heap needs
 * seconds for 100 KB of one letter, which would let a single request stop a proxy.
 */
const longestScanned = 32;

/**
 * Bytes of a piece for which there is room from the start: more than any text has that is counted on the event
 * loop, for replacing these arrays costs what the runtime has compiled. Memory is used only as it is touched.
 */
const initialCapacity = 65_536;

/** In a heap key, what a rank is multiplied with: a position fits below it, and both together in a double. */
const positions = 2 ** 32;

/** The rank in a heap key: exact, as dividing by a power of two loses no bit, and much faster than `%`. */
function rankIn(key: number): number {
  return (key / positions) | 0;
}

/** Moves the key at `i` down to its place in the binary heap `heap[0..size)`. */
function siftDown(heap: Float64Array, i: number, size: number): void {
  const key = heap[i] ?? 0;
  for (;;) {
    let child = i * 2 + 1;
    if (child >= size) break;
    if (child + 1 < size && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child++;
    const least = heap[child] ?? 0;
    if (least >= key) break;
    heap[i] = least;
    i = child;
  }
  heap[i] = key;
}

/** Adds `key` to the binary heap `heap[0..size)`. */
function push(heap: Float64Array, size: number, key: number): void {
  let i = size;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    const above = heap[parent] ?? 0;
    if (above <= key) break;
    heap[i] = above;
    i = parent;
  }
  heap[i] = key;
}

/** A merger for one vocabulary. It owns scratch memory that grows with the longest piece seen; no reentrance. */
export function createMerger(vocabulary: Vocabulary): MergePiece {
  const { pairRanks, longest, leftLengths } = vocabulary;
  const powers = new Int32Array(longest + 1).fill(1);
  for (let i = 1; i <= longest; i++) powers[i] = Math.imul(powers[i - 1] ?? 0, hashFactor);

  let capacity = initialCapacity;
  let hashes = new Int32Array(capacity);
  /** Scanned: where part i starts. Heap: where the part after the one that starts at byte i starts. */
  let bounds = new Int32Array(capacity);
  let previous = new Int32Array(capacity);
  /** The rank of the pair that starts at part (scanned) or byte (heap) i. */
  let ranks = new Int32Array(capacity);

  // The queue of pairs: a list for each rank, and a heap of the lists' heads. Runs of one pattern, the worst
  // texts there are, stay in a few long lists, so that the heap is small and hardly moves. Pairs of one rank are
  // entered in order of position by themselves: up to then nothing from outside took part in how their bytes were
  // merged, so each of them went through the same steps, and of equal steps the leftmost goes first.
  // There is room for every pair that can be: one for each byte, and two more for each merge.
  let heap = new Float64Array(capacity * 3);
  let size = 0;
  /** For each rank the first and last entry of its list; -1 where it is empty, as all are in the end. */
  const heads = new Int32Array(vocabulary.offsets.length).fill(-1);
  const tails = new Int32Array(vocabulary.offsets.length);
  let entryAt = new Int32Array(capacity * 3);
  let entryNext = new Int32Array(capacity * 3);
  let entries = 0;

  const reserve = (length: number): void => {
    capacity = 2 ** Math.ceil(Math.log2(length + 1));
    hashes = new Int32Array(capacity);
    bounds = new Int32Array(capacity);
    previous = new Int32Array(capacity);
    ranks = new Int32Array(capacity);
    heap = new Float64Array(capacity * 3);
    entryAt = new Int32Array(capacity * 3);
    entryNext = new Int32Array(capacity * 3);
  };

  /** The rank of the pair of `bytes[start + from..start + middle)` and `bytes[start + middle..start + to)`. */
  const rankOfPair = (
    bytes: Uint8Array,
    start: number,
    from: number,
    middle: number,
    to: number,
  ): number => {
    if (to - from > longest) return noRank;
    const hash = ((hashes[to] ?? 0) - Math.imul(hashes[from] ?? 0, powers[to - from] ?? 0)) | 0;
    const rank = rankOf(vocabulary, bytes, start + from, start + to, hash);
    if (leftLengths !== null && rank !== noRank && leftLengths[rank] !== middle - from)
      return noRank;
    return rank;
  };

  const mergeByScan = (bytes: Uint8Array, start: number, length: number): number => {
    for (let i = 0; i <= length; i++) bounds[i] = i;
    for (let parts = length; ; parts--) {
      let lowest = noRank;
      let at = 0;
      for (let i = 0; i < parts - 1; i++) {
        const rank = ranks[i] ?? 0;
        if (rank < lowest) {
          lowest = rank;
          at = i;
        }
      }
      if (lowest === noRank) return parts;
      for (let i = at + 1; i < parts; i++) {
        bounds[i] = bounds[i + 1] ?? 0;
        ranks[i] = ranks[i + 1] ?? 0;
      }
      const from = bounds[at] ?? 0;
      const to = bounds[at + 1] ?? 0;
      if (at + 2 < parts) ranks[at] = rankOfPair(bytes, start, from, to, bounds[at + 2] ?? 0);
      if (at > 0) ranks[at - 1] = rankOfPair(bytes, start, bounds[at - 1] ?? 0, from, to);
    }
  };

  /** Enters the pair of `rank` at byte `at`. */
  const enter = (rank: number, at: number): void => {
    if ((heads[rank] ?? 0) < 0) {
      heads[rank] = entries;
      push(heap, size++, rank * positions + at);
    } else {
      entryNext[tails[rank] ?? 0] = entries;
    }
    tails[rank] = entries;
    entryAt[entries] = at;
    entryNext[entries++] = -1;
  };

  /** Takes out the least key; the next of its list takes its place. */
  const takeLeast = (): number => {
    const key = heap[0] ?? 0;
    const rank = rankIn(key);
    const next = entryNext[heads[rank] ?? 0] ?? 0;
    heads[rank] = next;
    heap[0] = next >= 0 ? rank * positions + (entryAt[next] ?? 0) : (heap[--size] ?? 0);
    siftDown(heap, 0, size);
    return key;
  };

  const mergeByHeap = (bytes: Uint8Array, start: number, length: number): number => {
    size = 0;
    entries = 0;
    for (let i = 0; i < length; i++) {
      bounds[i] = i + 1;
      previous[i] = i - 1;
      if (i === length - 1) ranks[i] = noRank;
      if (ranks[i] !== noRank) enter(ranks[i] ?? 0, i);
    }
    let parts = length;
    while (size > 0) {
      const key = takeLeast();
      const queued = rankIn(key);
      const at = key - queued * positions;
      // A pair that has changed since left its old key behind: its rank no longer agrees.
      if (ranks[at] !== queued) continue;
      const gone = bounds[at] ?? 0;
      const next = bounds[gone] ?? 0;
      bounds[at] = next;
      ranks[gone] = noRank;
      parts--;
      let rank = noRank;
      if (next < length) {
        previous[next] = at;
        rank = rankOfPair(bytes, start, at, next, bounds[next] ?? 0);
        if (rank !== noRank) enter(rank, at);
      }
      ranks[at] = rank;
      const left = previous[at] ?? 0;
      if (left >= 0) {
        rank = rankOfPair(bytes, start, left, at, next);
        if (rank !== noRank) enter(rank, left);
        ranks[left] = rank;
      }
    }
    return parts;
  };

  return (bytes, start, end) => {
    const length = end - start;
    if (length >= capacity) reserve(length);
    let hash = 0;
    hashes[0] = 0;
    for (let i = 0; i < length; i++) {
      const byte = bytes[start + i] ?? 0;
      hash = (Math.imul(hash, hashFactor) + byte + 1) | 0;
      hashes[i + 1] = hash;
      if (i < length - 1) ranks[i] = pairRanks[(byte << 8) | (bytes[start + i + 1] ?? 0)] ?? 0;
    }
    return length <= longestScanned
      ? mergeByScan(bytes, start, length)
      : mergeByHeap(bytes, start, length);
  };
}
