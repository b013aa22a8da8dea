/**
 * What one request is charged, in whole units of each kind that a limit may count.
 * `tokens` is what the provider's plain token limit counts (Cerebras: uncached ones),
 * `total_tokens` everything read and written.
 */
export interface Cost {
  requests: number;
  tokens: number;
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
}

/** What a limit counts. `slots` are requests in flight: one each, whatever the request costs. */
export type Unit = keyof Cost | "slots";

/** The cost of a request that no token limit looks at. */
export const oneRequest: Readonly<Cost> = Object.freeze({
  requests: 1,
  tokens: 0,
  input_tokens: 0,
  output_tokens: 0,
  total_tokens: 0,
});

/** The cost of nothing at all. */
export const noCost: Readonly<Cost> = Object.freeze({
  requests: 0,
  tokens: 0,
  input_tokens: 0,
  output_tokens: 0,
  total_tokens: 0,
});

/** How much of `unit` is charged for `cost`. */
export function amountOf(cost: Readonly<Cost>, unit: Unit): number {
  return unit === "slots" ? 1 : cost[unit];
}
