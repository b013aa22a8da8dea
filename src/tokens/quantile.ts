/** Eight buckets for each doubling: an edge is at most 9 % above what it stands for. */
const perDoubling = 8;
/** Values from 1 to 2^20; what is outside counts as the nearest. */
const bucketCount = 20 * perDoubling;
/** Far below the largest 32-bit float (3.4e38), so that sums never overflow. */
const rescaleAt = 1e30;

/**
 * Quantiles of a series in which the past fades, from counts in buckets of equal ratio: 640 bytes, whatever it
 * has seen. A digest that never forgets covers 75 % of what follows after a five-fold drift, one that fades 88 %.
 *
 * Instead of shrinking all counts with each value, each value counts a little more than the one before it; all are
 * scaled down together when they become large, once in tens of thousands of values at the least.
 */
export class FadingHistogram {
  readonly #counts = new Float32Array(bucketCount);
  readonly #growth: number;
  /** What the next value counts. */
  #unit = 1;
  #total = 0;

  /** @param memory about how many values it takes for one to fade away; above 1 */
  constructor(memory: number) {
    this.#growth = 1 / (1 - 1 / memory);
  }

  /** How many values it holds, the faded ones counted for what is left of them; at most its memory. */
  get weight(): number {
    return this.#total / this.#unit;
  }

  /** Takes in `value`, which counts 1 now and less with each that follows. */
  add(value: number): void {
    this.#unit *= this.#growth;
    if (this.#unit > rescaleAt) this.#rescale(1 / this.#unit);
    this.#put(bucketOf(value), this.#unit);
  }

  /**
   * The upper edge of the bucket in which the values reach the share `p`: at least the true quantile, and less than
   * 1.1 times it. 0 where nothing was seen.
   *
   * @param p above 0 and below 1
   */
  quantile(p: number): number {
    if (this.#total === 0) return 0;
    // From above: high quantiles are what is asked for, and few buckets lie beyond them.
    let above = 0;
    const allowed = this.#total * (1 - p);
    for (let bucket = bucketCount - 1; bucket >= 0; bucket--) {
      above += this.#counts[bucket] ?? 0;
      if (above > allowed) return edgeAbove(bucket);
    }
    return edgeAbove(0);
  }

  /** Makes all that was seen so far count `factor` of what it did; 0 forgets it. */
  fade(factor: number): void {
    this.#rescale(1, factor);
  }

  /** Takes in all that `other` holds. */
  absorb(other: FadingHistogram): void {
    const scale = this.#unit / other.#unit;
    for (let bucket = 0; bucket < bucketCount; bucket++)
      this.#put(bucket, (other.#counts[bucket] ?? 0) * scale);
  }

  /** Buckets that hold something and how much, for storing: `[bucket, weight, bucket, weight …]`. */
  toJSON(): number[] {
    const stored: number[] = [];
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      const weight = (this.#counts[bucket] ?? 0) / this.#unit;
      if (weight > 1e-4) stored.push(bucket, Number(weight.toPrecision(4)));
    }
    return stored;
  }

  /** A histogram with what `toJSON` gave; what makes no sense of it is left out. */
  static restore(stored: unknown, memory: number): FadingHistogram {
    const histogram = new FadingHistogram(memory);
    if (!Array.isArray(stored)) return histogram;
    for (let i = 0; i + 1 < Math.min(stored.length, 2 * bucketCount); i += 2) {
      const [bucket, weight]: unknown[] = [stored[i], stored[i + 1]];
      if (typeof bucket !== "number" || !Number.isInteger(bucket)) continue;
      if (bucket < 0 || bucket >= bucketCount) continue;
      if (typeof weight === "number" && weight > 0 && weight <= memory)
        histogram.#put(bucket, weight);
    }
    if (histogram.weight > memory) histogram.fade(memory / histogram.weight);
    return histogram;
  }

  #put(bucket: number, amount: number): void {
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + amount;
    this.#total += amount;
  }

  /** Scales counts and the unit by `scale`, the counts by `fade` besides. */
  #rescale(scale: number, fade = 1): void {
    this.#unit *= scale;
    this.#total = 0;
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      const scaled = (this.#counts[bucket] ?? 0) * scale * fade;
      this.#counts[bucket] = scaled;
      this.#total += scaled;
    }
  }
}

function bucketOf(value: number): number {
  return Math.min(bucketCount - 1, Math.floor(Math.log2(Math.max(1, value)) * perDoubling));
}

function edgeAbove(bucket: number): number {
  return 2 ** ((bucket + 1) / perDoubling);
}
