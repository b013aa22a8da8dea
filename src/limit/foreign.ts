import type { WindowName } from "./limit.ts";
import { windowMs } from "./limit.ts";

/**
 * The most of a limit that is kept free for what others will use before the next answer tells of it: while answers
 * come, and when there were none for long. The first one that comes then narrows it again.
 */
const largestCushion = 0.05;
const largestBlind = 0.1;
/** The cushion grows in steps, each this many times as long as the one before. */
const longerStep = 4;
/** How many standard deviations of others' use are kept free: at three, about one request in a thousand meets more. */
const sigmas = 3;
/** Refusals that are put up with, of all answers; and by what part of the limit each widens the cushion. */
const toleratedRefusals = 1 / 10_000;
const refusalStep = 0.01;
/** After so many steps down nothing of a pause's cushion is left. */
const mostFlights = 8;
/** How much a new look counts for in moving averages. */
const weight = 0.1;
/** What others use is believed in full for one window after the last sign of it, in part for so many. */
const fadesAfter = 3;
/** That part, of the limit: what they used is no longer counted by then, what they still use is only expected. */
const expectedPart = 0.75;

/**
 * What others use of a limit that we share with them, as far as the provider's answers tell.
 *
 * Each answer says how much remains. What is missing beyond all that we can have used ourselves at any moment of the
 * answer's way is *surely* others' use: jitter, refunds under way and a provider that counts more generously than we
 * do only make it look smaller. So use rises with every answer that shows more, and falls to the most that the answers
 * of the last moments have shown: the largest lower bound of a time in which the truth hardly moves (a windowed
 * maximum, as BBR estimates bandwidth: Cardwell et al., ACM Queue 14(5), 2016).
 *
 * The level then stands until an answer shows less: that others go on as they did is the best guess there is, and a
 * wrong one lasts until the first answer. A cushion for the spread of arrivals lies on top, none without others.
 */
export class Foreign {
  readonly #windowMs: number;
  /** Whether what others used stays for a window (a level, kept here), or drains (charged by the caller). */
  readonly #drains: boolean;
  #limit: number;
  #marginMs: number;
  /** Units that others use. */
  #level = 0;
  /** When others were last seen to use anything; -Infinity for never. */
  #seenAt = -Infinity;
  /** The largest excess since `#since`, in units above the level. */
  #most = -Infinity;
  #since = -Infinity;
  #lastAt = -Infinity;
  /** The step that the cushion keeps until then, narrowing after: the first answers after a pause do not tell all. */
  #keptStep = 0;
  #keptUntil = -Infinity;
  /** Moving average: how long answers are under way, ms. */
  #flightMs: number;
  /** Sums, fading, of the steps in which use rose and of their squares: their ratio is the size of one arrival. */
  #steps = 1;
  #squares = 1;
  /** Units that came lately where they drain, fading over a window. */
  #recent = 0;
  #refusedAt = -Infinity;
  /** Units by which refusals have widened the cushion. */
  #extra = 0;
  /** Whether answers tell numbers at all. */
  #hinted = false;

  constructor(window: WindowName, limit: number, marginMs: number, drains: boolean) {
    this.#windowMs = windowMs[window];
    this.#limit = limit;
    this.#marginMs = marginMs;
    this.#drains = drains;
    this.#flightMs = marginMs / 2;
  }

  /** Takes over a changed limit and margin, ms. */
  resize(limit: number, marginMs: number): void {
    this.#limit = limit;
    this.#marginMs = marginMs;
  }

  /** Whether there is nothing to say any more at `now`. */
  idle(now: number): boolean {
    return now >= this.#fadesAt;
  }

  /** Units that others are known to use at `now`, without what is kept free on top. */
  level(now: number): number {
    return now < this.#fadesAt ? this.#level : 0;
  }

  /** Units at time `at` that are not ours to use. */
  at(at: number): number {
    if (at >= this.#fadesAt) return 0;
    const sum = this.#level + this.#cushionAt(at);
    return at < this.#seenAt + this.#windowMs
      ? sum
      : Math.min(sum, Math.floor(this.#limit * expectedPart));
  }

  /** The next time after `at` from which `at()` may say something else; Infinity if never. */
  changesAfter(at: number): number {
    if (at >= this.#fadesAt) return Infinity;
    const old = this.#seenAt + this.#windowMs;
    const next = Math.min(at < old ? old : Infinity, this.#fadesAt);
    const rises = this.#lastAt + this.#agedStep(at);
    const falls = this.#keptUntil + this.#flightsAfter(at) * this.#flight;
    return Math.min(next, rises > at ? rises : Infinity, falls > at ? falls : Infinity);
  }

  /**
   * When an amount fits if nothing is told meanwhile, given when it would beside a constant use by others.
   * @param fitsAt when it fits beside that many units, never sooner for more
   */
  fitsAt(now: number, fitsAt: (others: number) => number): number {
    for (let from = now; ;) {
      const at = Math.max(from, fitsAt(this.at(from)));
      const until = this.changesAfter(from);
      if (at < until || until === Infinity) return at;
      from = until;
    }
  }

  /**
   * An answer has come. `excess` is what was missing beyond all that is known of, ours and others', in units;
   * negative if less was missing.
   * @param flightMs how long ago its request was sent
   * @returns how much more (or, if negative, less) others use than was known; the level here has changed by it already
   */
  sample(now: number, excess: number, flightMs: number): number {
    this.#flightMs += weight * (Math.max(1, flightMs) - this.#flightMs);
    const step = this.#agedStep(now);
    if (step > this.#unitMs && this.#lastAt !== -Infinity) {
      this.#keptStep = step;
      this.#keptUntil = now + 2 * this.#flight;
    }
    this.#fade(now);
    this.#hinted = true;
    this.#lastAt = now;
    this.#extra = Math.max(0, this.#extra - this.#step * toleratedRefusals);
    const change = excess >= 1 ? this.#rise(Math.floor(excess)) : this.#fall(now, excess);
    if (excess >= 1) {
      this.#most = 0;
      this.#since = now;
    }
    if (!this.#drains) {
      this.#level = Math.max(0, this.#level + change);
      if (this.#level > 0) this.#seenAt = now;
    } else if (change > 0) this.#seenAt = now;
    this.#recent = Math.max(0, this.#recent + change);
    return change;
  }

  /**
   * The provider refused for want of room: others use `more` units than was known, at least.
   * @returns how much more others use than was known; the level here has changed by it already
   */
  refused(now: number, more: number): number {
    const change = Math.max(0, Math.floor(more));
    this.#most = 0;
    this.#since = now;
    this.#seenAt = now;
    if (!this.#drains) this.#level += change;
    this.#recent += change;
    // Those that were under way together are refused together, for one reason.
    if (now - this.#refusedAt < 2 * this.#flightMs) return change;
    this.#refusedAt = now;
    // Each refusal widens it, each answer narrows it a little: that settles where as many are refused as tolerated.
    this.#extra = Math.min(this.#extra + this.#step, this.#limit * largestCushion);
    return change;
  }

  get #step(): number {
    return Math.max(this.#squares / this.#steps, this.#limit * refusalStep);
  }

  get #fadesAt(): number {
    return this.#seenAt + (this.#hinted ? fadesAfter : 1) * this.#windowMs;
  }

  #rise(by: number): number {
    const step = Math.min(by, Math.max(1, this.#limit * largestCushion));
    this.#steps = (1 - weight) * this.#steps + step;
    this.#squares = (1 - weight) * this.#squares + step * step;
    return by;
  }

  /** Down to the most that was seen in a time long enough for what was under way to be seen. */
  #fall(now: number, excess: number): number {
    // One answer after a pause says too little: the time begins with the first.
    if (this.#most === -Infinity) this.#since = now;
    this.#most = Math.max(this.#most, Math.min(0, excess));
    if (now - this.#since < Math.max(this.#marginMs, this.#flightMs)) return 0;
    const change = Math.ceil(this.#most);
    this.#most = -Infinity;
    return change;
  }

  #fade(now: number): void {
    if (this.#recent > 0) this.#recent *= Math.exp(-(now - this.#lastAt) / this.#windowMs);
    if (now >= this.#fadesAt) this.#level = 0;
  }

  /** Others come at random (a Poisson process), so what they take in a time spreads with its root. */
  #cushionAt(at: number): number {
    const used = this.#drains ? this.#recent : this.#level;
    if (used <= 0 && this.#extra === 0) return 0;
    const step = this.#stepAt(at);
    const isBlind = step > this.#unitMs;
    const arriving = used * Math.min(1, (this.#unitMs + step) / this.#windowMs);
    const size = this.#squares / this.#steps;
    // Where use stays for a window, as much ends as comes, and both spread; where it drains, all that comes is more, and
    // of few arrivals, which come whole, one more is as likely as the root says of many.
    const most = this.#drains
      ? arriving + sigmas * Math.sqrt(arriving * size) + Math.min(size, used)
      : sigmas * Math.sqrt(2 * arriving * size);
    const largest = this.#limit * (isBlind ? largestBlind : largestCushion);
    return Math.ceil(Math.min(most + this.#extra, largest));
  }

  /** For how long without answers the cushion is made, ms. */
  #stepAt(at: number): number {
    const kept = this.#keptStep / longerStep ** this.#flightsAfter(at);
    return Math.max(kept, this.#agedStep(at));
  }

  /** How long after the last answer the present step of the cushion ends, ms. */
  #agedStep(at: number): number {
    let step = this.#unitMs;
    while (at - this.#lastAt >= step && step < this.#windowMs) step *= longerStep;
    return step;
  }

  /** How many times answers have been under way since the cushion of a pause began to narrow. */
  #flightsAfter(at: number): number {
    if (at < this.#keptUntil) return 0;
    return Math.min(mostFlights, Math.floor((at - this.#keptUntil) / this.#flight) + 1);
  }

  /** Whole milliseconds: steps made of them end where sums and differences of times say so. */
  get #flight(): number {
    return Math.ceil(this.#flightMs);
  }

  get #unitMs(): number {
    return Math.max(this.#flight, Math.ceil(this.#marginMs / longerStep));
  }
}
