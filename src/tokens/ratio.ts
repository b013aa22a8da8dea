/** Learning by how much the provider's count of input tokens differs from ours. */
import { BoundedMap } from "./bounded-map.ts";
import { emptyAverage, type MovingAverage, observe } from "./moving-average.ts";

/** A ratio outside this is a mistake, theirs or ours: it moves the average no further than to the edge. */
const least = 0.25;
const most = 4;
/** After this many observations, one may differ from the average by a factor of two at most. */
const settledAfter = 4;
const memory = 16;
/** Prompts shorter than this many tokens count less, as an overhead of a few tokens is most of what they show. */
const fullWeightTokens = 200;
const mostKeys = 1000;

/** What `toJSON` gives: a key, its ratio, and the weight of what it was learned from. */
export type StoredRatio = readonly [key: string, ratio: number, weight: number];

export interface LearnedRatios {
  /** Takes in that `actual` input tokens were charged where the counter had said `estimated`. */
  learn(key: string, estimated: number, actual: number): void;
  /** What to multiply an estimate by: 1 while nothing is known, always within 0.25 … 4. */
  ratioOf(key: string): number;
  /** All that was learned, for storing. */
  toJSON(): StoredRatio[];
  /** Takes over what was stored; entries that make no sense are left out. */
  restore(stored: unknown): void;
}

const clamp = (value: number, low: number, high: number): number =>
  Math.min(high, Math.max(low, value));

const isAmount = (value: unknown): value is number =>
  typeof value === "number" && value > 0 && value < Infinity;

/**
 * A moving average of actual / estimated input tokens for each key (a quota and a model), robust to single
 * wrong values. Keeps the 1,000 keys used last: names of models come from clients.
 */
export function createRatios(): LearnedRatios {
  const averages = new BoundedMap<string, MovingAverage>(mostKeys);
  return {
    learn: (key, estimated, actual) => {
      if (!isAmount(estimated) || !isAmount(actual)) return;
      let average = averages.get(key);
      if (average === undefined) {
        average = emptyAverage();
        averages.set(key, average);
      }
      let ratio = clamp(actual / estimated, least, most);
      if (average.count >= settledAfter) ratio = clamp(ratio, average.mean / 2, average.mean * 2);
      observe(average, ratio, memory, clamp(estimated / fullWeightTokens, 0.01, 1));
    },
    ratioOf: (key) => clamp(averages.get(key)?.mean ?? 1, least, most),
    toJSON: () => [...averages].map(([key, { mean, weight }]) => [key, mean, weight] as const),
    restore: (stored) => {
      if (!Array.isArray(stored)) return;
      for (const entry of stored) {
        const [key, mean, weight] = Array.isArray(entry) ? (entry as unknown[]) : [];
        if (typeof key !== "string" || !isAmount(mean) || !isAmount(weight)) continue;
        averages.set(key, {
          count: settledAfter,
          weight: Math.min(weight, memory),
          mean: clamp(mean, least, most),
          variance: 0,
        });
      }
    },
  };
}
