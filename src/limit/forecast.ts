import type { Entry, Outlook } from "./limit.ts";

/**
 * When running requests should give back what they will not use, in a ring of time slices.
 *
 * Forecasts order waiting requests; no decision on what may go depends on one. So rounding is coarse, refunds past
 * the horizon count at its end, and those that are late are expected in the next slice.
 */
export class Forecast {
  readonly #sliceMs: number;
  readonly #ring: Float64Array;
  #head = 0;
  /** A slice before all that are asked about. */
  #base = 0;
  /** Expected before now and not seen yet, in units. */
  #late = 0;
  #total = 0;

  /** @param sliceMs width of a slice; @param slices how many of them the horizon has */
  constructor(sliceMs: number, slices: number) {
    this.#sliceMs = sliceMs;
    this.#ring = new Float64Array(slices + 1);
  }

  add(entry: Entry, now: number, outlook: Outlook): void {
    const refund = entry.amount - outlook.amount;
    if (refund <= 0) return;
    this.#advance(now);
    const slice = Math.ceil(outlook.endAt / this.#sliceMs);
    entry.refundSlice = Math.min(
      Math.max(slice, this.#head + 1),
      this.#head + this.#ring.length - 1,
    );
    entry.refund = refund;
    this.#put(entry.refundSlice, refund);
    this.#total += refund;
  }

  remove(entry: Entry, now: number): void {
    if (entry.refund === 0) return;
    this.#advance(now);
    if (entry.refundSlice > this.#head) this.#put(entry.refundSlice, -entry.refund);
    else this.#late -= entry.refund;
    this.#total -= entry.refund;
    entry.refund = 0;
  }

  /** Units that should come back by `at`. */
  by(now: number, at: number): number {
    this.#advance(now);
    if (this.#total === 0 || at <= now) return 0;
    const last = Math.min(Math.floor(at / this.#sliceMs), this.#head + this.#ring.length - 1);
    let sum = this.#late;
    for (let slice = this.#head + 1; slice <= last && sum < this.#total; slice++)
      sum += this.#at(slice);
    return sum;
  }

  /** Units that should come back in `slice`, which is ahead of now; late ones are expected in the next. */
  within(now: number, slice: number): number {
    this.#advance(now);
    if (this.#total === 0 || slice <= this.#head || slice >= this.#head + this.#ring.length)
      return 0;
    return this.#at(slice) + (slice === this.#head + 1 ? this.#late : 0);
  }

  #at(slice: number): number {
    return this.#ring[this.#place(slice)] ?? 0;
  }

  /** Where `slice` is in the ring: counted from one that was seen, as whole numbers of the processor are faster. */
  #place(slice: number): number {
    return (slice - this.#base) % this.#ring.length;
  }

  #put(slice: number, amount: number): void {
    const place = this.#place(slice);
    this.#ring[place] = (this.#ring[place] ?? 0) + amount;
  }

  #advance(now: number): void {
    const head = Math.floor(now / this.#sliceMs);
    if (head <= this.#head) return;
    if (this.#total === 0) {
      // Nothing is expected, so the ring is empty already, and its places can be counted anew.
      this.#base = head;
    } else if (head - this.#head >= this.#ring.length) {
      this.#ring.fill(0);
      this.#late = this.#total;
    } else {
      for (let slice = this.#head + 1; slice <= head; slice++) {
        const place = this.#place(slice);
        this.#late += this.#ring[place] ?? 0;
        this.#ring[place] = 0;
      }
    }
    this.#head = head;
  }
}
