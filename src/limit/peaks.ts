/** How many spans of time are remembered. */
const places = 256;

/**
 * The most that was charged at once, over the last window, by spans of time. What is charged only rises when something
 * is charged: the moments of charging are all that have to be looked at.
 */
export class Peaks {
  readonly #spanMs: number;
  readonly #spans = new Float64Array(places);
  readonly #most = new Float64Array(places);
  /** The present span: when it ends, ms since the epoch, and its peak. */
  #endsAt = 0;
  #place = 0;
  #top = 0;

  /** @param reachMs how far back can be asked for */
  constructor(reachMs: number) {
    this.#spanMs = reachMs / (places - 1);
  }

  /** `charged` units were charged in all at `now`, after a rise. */
  see(now: number, charged: number): void {
    if (now < this.#endsAt) {
      if (charged <= this.#top) return;
    } else {
      const span = Math.floor(now / this.#spanMs);
      this.#endsAt = (span + 1) * this.#spanMs;
      this.#place = span % places;
      this.#spans[this.#place] = span;
    }
    this.#top = charged;
    this.#most[this.#place] = charged;
  }

  /** The most that was charged at any moment from the charge at `from` to `now`; `from` no longer ago than the reach. */
  since(from: number, now: number): number {
    const last = Math.floor(now / this.#spanMs);
    const first = Math.max(Math.floor(from / this.#spanMs), last - places + 1);
    let most = 0;
    for (let span = first; span <= last; span++) {
      const place = span % places;
      if (this.#spans[place] === span) most = Math.max(most, this.#most[place] ?? 0);
    }
    return most;
  }
}
