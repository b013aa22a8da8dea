import { emptyAverage, type MovingAverage, observe } from "./moving-average.ts";

const fastMemory = 16;
const slowMemory = 256;
/** Values before which nothing is called a change: there is no level yet to change from. */
const settledAfter = 48;
/** A single value counts as no further off than so many standard deviations. */
const mostDeviations = 3;
/** Logarithms vary by this at the least: answers that are all alike may differ by a tenth without being news. */
const leastDeviation = 0.1;

/** The level of a series of positive values, as their logarithm, over a short past and a long one. */
export interface Level {
  readonly fast: MovingAverage;
  slow: MovingAverage;
}

/** The level of nothing yet. */
export function newLevel(): Level {
  return { fast: emptyAverage(), slow: emptyAverage() };
}

/**
 * Takes in `value`, at least 0, and tells whether the series has changed: the average of its last 16 or so values is
 * off that of its last 256 by more than chance explains. The long average then begins again from the short one.
 *
 * In logarithms, and no value counts as more than three deviations off: a single huge one is no change. At a
 * threshold of 4, simulated: a lognormal series (σ 0.8) that becomes five times as large is told after 9 values in the
 * mean; one that stays as it is is called changed less than once in 100,000, one with 5 % of long answers less than
 * once in 5,000. At 3.5 the false ones are three to five times as many.
 *
 * @param threshold by how many standard deviations of the short average it must be off
 */
export function observeLevel(level: Level, value: number, threshold: number): boolean {
  const { fast, slow } = level;
  const deviation = Math.max(leastDeviation, Math.sqrt(slow.variance));
  const settled = slow.count >= settledAfter;
  const reach = settled ? mostDeviations * deviation : Infinity;
  const off = Math.max(-reach, Math.min(reach, Math.log(1 + value) - slow.mean));
  const logarithm = slow.mean + off;
  observe(fast, logarithm, fastMemory);
  observe(slow, logarithm, slowMemory);
  if (!settled) return false;
  // The variance of a fading average is that of the series / (2 * memory - 1).
  const chance = deviation / Math.sqrt(2 * fastMemory - 1);
  if (Math.abs(fast.mean - slow.mean) < threshold * chance) return false;
  level.slow = { ...fast, weight: Math.min(fast.weight, fastMemory), count: fastMemory };
  return true;
}
