import type { WindowName } from "./limit.ts";
import { windowMs } from "./limit.ts";

/** So many answers have to agree before a limit is believed. */
const believedAfter = 3;
/** A limit this many times smaller or larger than ours is about something else. */
const plausibleFactor = 1_000;
/** A reset that is this share of the window away may be the time in which an empty bucket fills. */
const wholeWindow = 0.9;

/**
 * What limit the provider says it has, where the operator wrote one too: a lower one is in force while answers say so,
 * a higher one changes nothing.
 */
export class Told {
  #limit = Infinity;
  #last = 0;
  #agreeing = 0;

  /** The limit in force beside the operator's `limit`. */
  within(limit: number): number {
    return Math.min(limit, this.#limit);
  }

  /** The limit believed; Infinity for none. */
  get limit(): number {
    return this.#limit;
  }

  /** Believes a limit that others were told; Infinity for none. */
  believe(limit: number): void {
    this.#limit = limit;
  }

  /**
   * An answer speaks of `told` units.
   * @returns whether the limit in force may have changed
   */
  see(limit: number, told: number): boolean {
    this.#agreeing = told === this.#last ? this.#agreeing + 1 : 1;
    this.#last = told;
    if (this.#agreeing !== believedAfter) return false;
    this.#limit = told >= limit ? Infinity : told;
    return true;
  }
}

/** Whether `told` of a limit that the operator gave as `limit` can be meant; 0 or less never is. */
export function isPlausible(limit: number, told: number): boolean {
  return told > 0 && told * plausibleFactor >= limit && told <= limit * plausibleFactor;
}

/** Whether a reset at `resetAt` (ms since the epoch) ends a span of `window` that began before: it is to come, and soon. */
export function endsEarly(window: WindowName, now: number, resetAt: number): boolean {
  return resetAt > now && resetAt - now < wholeWindow * windowMs[window];
}
