/** Room that may not be used before its time: units of it come free one after another, the last at `fullAt`. */
interface Promised {
  left: number;
  fullAt: number;
  unitsPerMs: number;
}

/** A time since the epoch is known to a quarter of this, ms: who wakes at one should not find it just ahead. */
const digitMs = 0.001;

/**
 * What Redis has granted of a limit and was not used. A bucket's room is promised a little ahead, as it will drain: what
 * is promised for a time counts in full from now on, so whoever uses it no sooner stays within the limit. Times are ours.
 */
export class Granted {
  #free = 0;
  /** In the order of their times. */
  #promised: Promised[] = [];

  /** All of it, whether or not its time has come. */
  get total(): number {
    return this.#promised.reduce((sum, { left }) => sum + left, this.#free);
  }

  /** Room that may be used at once. */
  add(amount: number): void {
    this.#free += amount;
  }

  /** Room of which all may be used at `fullAt`, and before that what does not come free later at this pace. */
  promise(amount: number, fullAt: number, unitsPerMs: number): void {
    // By then there is room for all that was granted before, too, as something came back meanwhile.
    for (const one of this.#promised) one.fullAt = Math.min(one.fullAt, fullAt);
    this.#promised.push({ left: amount, fullAt, unitsPerMs });
  }

  /** How much may be used at `now`. */
  usable(now: number): number {
    let sum = this.#free;
    for (const { left, fullAt, unitsPerMs } of this.#promised)
      // What drains is a fraction, and the last digit of one is no reason to wait.
      sum += Math.max(0, left - Math.max(0, Math.ceil((fullAt - now) * unitsPerMs - 1e-6)));
    return sum;
  }

  /** When `amount`, which is no more than all of it, is surely `usable`; -Infinity: at once. */
  usableAt(amount: number): number {
    let missing = amount - this.#free;
    let at = -Infinity;
    for (const { left, fullAt, unitsPerMs } of this.#promised) {
      if (missing <= 0) break;
      at = Math.max(at, fullAt - Math.max(0, left - missing) / unitsPerMs + digitMs);
      missing -= left;
    }
    return at;
  }

  /** Uses `amount`, which is no more than all of it: what comes first, first. */
  use(amount: number): void {
    let rest = amount - this.#free;
    this.#free = Math.max(0, -rest);
    for (let first = this.#promised[0]; first !== undefined && rest > 0;) {
      const part = Math.min(first.left, rest);
      first.left -= part;
      rest -= part;
      if (first.left > 0) return;
      this.#promised.shift();
      first = this.#promised[0];
    }
  }

  /** Has nothing any more. @returns how much that was */
  clear(): number {
    const all = this.total;
    this.#free = 0;
    this.#promised = [];
    return all;
  }
}
