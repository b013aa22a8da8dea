/**
 * Byte pair merging by a list of pairs, as a `tokenizer.json` has it, where `merge.ts` goes by tokens: slower,
 * but right for any list, and for symbols that are characters as well as for bytes. It only counts.
 */

/** What a lookup answers for two symbols that do not merge. Larger than every rank. */
const noRank = 0x7fffffff;
/** Longest piece, in symbols, for which every merge looks at all pairs; longer ones take a heap. */
const longestScanned = 32;
/** In a heap key, what a rank is multiplied with: a position fits below it, and both together in a double. */
const positions = 2 ** 32;

/** One merge: two symbols become one. Its rank is its place in the list. */
export type Pair = readonly [left: number, right: number, merged: number];

/** How many symbols are left of the first `length` ones, which are overwritten. A negative symbol merges with none. */
export type MergeSymbols = (symbols: Int32Array, length: number) => number;

function slotOf(left: number, right: number, mask: number): number {
  const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
  return (Math.imul(hash ^ (hash >>> 15), 0x2c9277b5) >>> 8) & mask;
}

/**
 * The pairs to merge, least rank first and leftmost of equals. A pair that comes after the last one of its rank, as
 * all do in runs of one pattern, waits in a list behind it; the heap holds the heads of lists only, and so stays
 * small where texts are at their worst.
 */
class Queue {
  private keys = new Float64Array(1024);
  /** The entry at each place of the heap. */
  private entries = new Int32Array(1024);
  private size = 0;
  private made = 0;
  private positionOf = new Int32Array(1024);
  /** The entry behind each entry in its list; -1 at the end. */
  private behind = new Int32Array(1024);
  /** The last entry of each rank's newest list; -1 where that is empty. */
  private readonly tails: Int32Array;

  constructor(ranks: number) {
    this.tails = new Int32Array(ranks).fill(-1);
  }

  get isEmpty(): boolean {
    return this.size === 0;
  }

  /** Forgets the numbers of entries that are gone: to be called while it is empty. Makes room for `most` entries. */
  begin(most: number): void {
    this.made = 0;
    if (most <= this.positionOf.length) return;
    const room = 2 ** Math.ceil(Math.log2(most));
    this.keys = new Float64Array(room);
    this.entries = new Int32Array(room);
    this.positionOf = new Int32Array(room);
    this.behind = new Int32Array(room);
  }

  enter(rank: number, position: number): void {
    const { tails, positionOf, behind } = this;
    const entry = this.made++;
    positionOf[entry] = position;
    behind[entry] = -1;
    const tail = tails[rank] ?? -1;
    const follows = tail >= 0 && (positionOf[tail] ?? 0) < position;
    if (follows) behind[tail] = entry;
    else this.push(rank * positions + position, entry);
    tails[rank] = entry;
  }

  /** Takes out the least key, `rank * positions + position`; there must be one. */
  take(): number {
    const { keys, entries, behind, tails } = this;
    const least = keys[0] ?? 0;
    const rank = Math.floor(least / positions);
    const entry = entries[0] ?? 0;
    const next = behind[entry] ?? -1;
    if (next >= 0) {
      this.sink(rank * positions + (this.positionOf[next] ?? 0), next);
      return least;
    }
    if (tails[rank] === entry) tails[rank] = -1;
    this.size--;
    if (this.size > 0) this.sink(keys[this.size] ?? 0, entries[this.size] ?? 0);
    return least;
  }

  private push(key: number, entry: number): void {
    const { keys, entries } = this;
    let i = this.size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = keys[parent] ?? 0;
      if (above <= key) break;
      keys[i] = above;
      entries[i] = entries[parent] ?? 0;
      i = parent;
    }
    keys[i] = key;
    entries[i] = entry;
  }

  /** Puts `key` in the place of the least, and from there where it belongs. */
  private sink(key: number, entry: number): void {
    const { keys, entries, size } = this;
    let i = 0;
    for (;;) {
      let child = i * 2 + 1;
      if (child >= size) break;
      if (child + 1 < size && (keys[child + 1] ?? 0) < (keys[child] ?? 0)) child++;
      const smaller = keys[child] ?? 0;
      if (smaller >= key) break;
      keys[i] = smaller;
      entries[i] = entries[child] ?? 0;
      i = child;
    }
    keys[i] = key;
    entries[i] = entry;
  }
}

/** A merger for one list of pairs. It owns scratch memory that grows with the longest piece seen; no reentrance. */
export function createPairMerger(pairs: readonly Pair[]): MergeSymbols {
  const mask = 2 ** Math.ceil(Math.log2(pairs.length * 2 + 2)) - 1;
  /** Open addressing: left, right and rank + 1 of each pair, 0 being an empty place. */
  const slots = new Int32Array((mask + 1) * 3);
  const merged = new Int32Array(pairs.length);
  for (const [rank, [left, right, result]] of pairs.entries()) {
    merged[rank] = result;
    let slot = slotOf(left, right, mask);
    // Of a pair that comes twice the last one counts, as in the tokenizers library.
    while (slots[slot * 3 + 2] !== 0 && (slots[slot * 3] !== left || slots[slot * 3 + 1] !== right))
      slot = (slot + 1) & mask;
    slots[slot * 3] = left;
    slots[slot * 3 + 1] = right;
    slots[slot * 3 + 2] = rank + 1;
  }

  const rankOf = (left: number, right: number): number => {
    if (left < 0 || right < 0) return noRank;
    for (let slot = slotOf(left, right, mask); ; slot = (slot + 1) & mask) {
      const found = slots[slot * 3 + 2] ?? 0;
      if (found === 0) return noRank;
      if (slots[slot * 3] === left && slots[slot * 3 + 1] === right) return found - 1;
    }
  };

  let ranks = new Int32Array(1024);
  let next = new Int32Array(1024);
  let previous = new Int32Array(1024);
  const queue = new Queue(pairs.length);

  const mergeByScan = (symbols: Int32Array, length: number): number => {
    for (let parts = length; ; parts--) {
      let lowest = noRank;
      let at = 0;
      for (let i = 0; i < parts - 1; i++) {
        const rank = ranks[i] ?? 0;
        if (rank < lowest) [lowest, at] = [rank, i];
      }
      if (lowest === noRank) return parts;
      symbols[at] = merged[lowest] ?? 0;
      for (let i = at + 1; i < parts - 1; i++) {
        symbols[i] = symbols[i + 1] ?? 0;
        ranks[i] = ranks[i + 1] ?? 0;
      }
      if (at + 2 < parts) ranks[at] = rankOf(symbols[at] ?? 0, symbols[at + 1] ?? 0);
      if (at > 0) ranks[at - 1] = rankOf(symbols[at - 1] ?? 0, symbols[at] ?? 0);
    }
  };

  const mergeByHeap = (symbols: Int32Array, length: number): number => {
    // One for each pair there is at first, and two for each merge.
    queue.begin(length * 3);
    const enter = (rank: number, at: number): void => {
      ranks[at] = rank;
      if (rank !== noRank) queue.enter(rank, at);
    };
    for (let i = 0; i < length; i++) {
      next[i] = i + 1;
      previous[i] = i - 1;
      enter(i + 1 < length ? (ranks[i] ?? 0) : noRank, i);
    }
    let parts = length;
    while (!queue.isEmpty) {
      const key = queue.take();
      const queued = Math.floor(key / positions);
      const at = key - queued * positions;
      // A pair that has changed since left its old key behind. It still counts if the same symbol comes of it.
      const current = ranks[at] ?? noRank;
      if (current === noRank || merged[current] !== merged[queued]) continue;
      const gone = next[at] ?? 0;
      const after = next[gone] ?? 0;
      const symbol = merged[queued] ?? 0;
      symbols[at] = symbol;
      next[at] = after;
      ranks[gone] = noRank;
      parts--;
      if (after < length) previous[after] = at;
      enter(after < length ? rankOf(symbol, symbols[after] ?? 0) : noRank, at);
      const before = previous[at] ?? 0;
      if (before >= 0) enter(rankOf(symbols[before] ?? 0, symbol), before);
    }
    return parts;
  };

  return (symbols, length) => {
    if (length > ranks.length) {
      const capacity = 2 ** Math.ceil(Math.log2(length));
      ranks = new Int32Array(capacity);
      next = new Int32Array(capacity);
      previous = new Int32Array(capacity);
    }
    for (let i = 0; i + 1 < length; i++) ranks[i] = rankOf(symbols[i] ?? 0, symbols[i + 1] ?? 0);
    return length <= longestScanned ? mergeByScan(symbols, length) : mergeByHeap(symbols, length);
  };
}
