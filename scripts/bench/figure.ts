/** One line of what `bun run bench` prints. */
export interface Figure {
  /** What was measured, in words. */
  readonly name: string;
  readonly value: number;
  readonly unit: "ns" | "ms" | "MB" | "µs/request" | "×" | "events" | "";
  /** What `value` must not exceed (issue: "Cost"); null where it is there for comparison only. */
  readonly atMost: number | null;
}

/** What a part of the benchmark found out. */
export interface Findings {
  readonly figures: readonly Figure[];
  /** What was left out, and why. */
  readonly skipped: readonly string[];
}

/** The middle value; of an even number of them the upper of the two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** The value that `share` (0 to 1) of the values do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
