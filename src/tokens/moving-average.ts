/**
 * Mean and variance of a series in which the past fades: an observation counts `1 - decay` less with each
 * that follows. The first ones count fully, so that there is no start value to get away from.
 */
export interface MovingAverage {
  /** Observations, all counted as one each. */
  count: number;
  /** Sum of the faded weights. */
  weight: number;
  mean: number;
  variance: number;
}

/** An average of nothing yet. */
export function emptyAverage(): MovingAverage {
  return { count: 0, weight: 0, mean: 0, variance: 0 };
}

/**
 * Takes in `value` (weighted incremental mean and variance, D. West 1979).
 *
 * @param memory about how many observations it takes for one to fade away; at least 1
 * @param weight how much this one counts, above 0
 */
export function observe(average: MovingAverage, value: number, memory: number, weight = 1): void {
  const faded = average.weight * (1 - 1 / memory);
  const total = faded + weight;
  const off = value - average.mean;
  average.mean += (off * weight) / total;
  average.variance = (average.variance * faded + weight * off * (value - average.mean)) / total;
  average.weight = total;
  average.count++;
}

/** Makes what was seen so far count for no more than `most` observations, so that the next ones soon outweigh it. */
export function discount(average: MovingAverage, most: number): void {
  average.weight = Math.min(average.weight, most);
}

/** An average as it is stored: `[count, weight, mean, variance]`, rounded to six digits. */
export function packAverage({ count, weight, mean, variance }: MovingAverage): number[] {
  return [count, weight, mean, variance].map((value) => Number(value.toPrecision(6)));
}

/** The average that `packAverage` stored, or null where `stored` cannot be one. */
export function unpackAverage(stored: unknown): MovingAverage | null {
  if (!Array.isArray(stored) || stored.length !== 4) return null;
  const [count, weight, mean, variance] = stored as unknown[];
  const isPart = (value: unknown): value is number => typeof value === "number" && value >= 0;
  if (!isPart(count) || !isPart(weight) || !isPart(variance)) return null;
  if (typeof mean !== "number" || !Number.isFinite(count + weight + mean + variance)) return null;
  if ((count === 0) !== (weight === 0)) return null;
  return { count, weight, mean, variance };
}
