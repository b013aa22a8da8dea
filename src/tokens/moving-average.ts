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
