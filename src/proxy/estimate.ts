import type { Cost } from "../limit/cost.ts";
import { amountOf } from "../limit/cost.ts";
import type { Limit } from "../limit/limit.ts";
import type { ModelCall, Usage } from "../provider/dialect.ts";
import { chargeFor, reserveFor } from "../provider/meter.ts";
import type { Provider } from "../provider/provider.ts";
import type { TokenCounter } from "../tokens/counter.ts";
import type { OutputPredictor } from "../tokens/output.ts";
import type { LearnedRatios } from "../tokens/ratio.ts";

/** What is learned from answers, and what counts: belongs to the process, not to a configuration. */
export interface Learning {
  readonly counter: TokenCounter;
  readonly ratios: LearnedRatios;
  readonly outputs: OutputPredictor;
  /** Calls in flight by quota and model. */
  readonly running: Map<string, number>;
}

/** A model call, priced before it is made and again when it has ended. */
export interface Estimate {
  readonly cost: Cost;
  readonly outlook: { durationMs: number; cost: Cost } | null;
  /** The call is on its way: answers of its kind share a margin while they are. */
  started(): void;
  /** It has ended, in whatever way. */
  ended(): void;
  /** What an answer with `usage` costs. */
  charge(usage: Usage): Cost;
  /** What an answer without usage costs, of which about `output` tokens were seen. */
  chargeSeen(output: number): Cost;
  /** Takes in what a complete answer has shown. */
  learn(usage: Usage, durationMs: number): void;
}

/**
 * Prices a call: input counted for its model times the learned ratio, output as the client caps it, or as learned,
 * but never more than the limits could ever hold.
 *
 * @param scope name of the quota: what is learned is learned for one quota and model
 */
export function estimate(
  learning: Learning,
  call: ModelCall,
  scope: string,
  provider: Provider,
  limits: readonly Limit[],
): Estimate | Promise<Estimate> {
  const counted = learning.counter.count(call.prompt);
  return typeof counted === "number"
    ? price(learning, call, scope, provider, limits, counted)
    : counted.then((tokens) => price(learning, call, scope, provider, limits, tokens));
}

function price(
  { ratios, outputs, running }: Learning,
  call: ModelCall,
  scope: string,
  provider: Provider,
  limits: readonly Limit[],
  counted: number,
): Estimate {
  const key = `${scope}\n${call.model.slice(0, 200)}`;
  const input = Math.ceil(counted * ratios.ratioOf(key));
  const cap = call.hasOutput ? call.maxOutput : 0;
  const reserved = (output: number): Cost =>
    reserveFor(provider, { input, maxOutput: cap, predictedOutput: output });
  const ceiling = cap === null ? room(limits, reserved(0)) : 0;
  const cost = reserved(cap === null ? outputs.reserve(key, running.get(key) ?? 0, ceiling) : cap);

  const durationMs = outputs.duration(key);
  const output = call.hasOutput ? outputs.expected(key, cap) : 0;
  const outlook =
    durationMs === null || output === null
      ? null
      : { durationMs, cost: chargeFor(provider, usageOf(input, Math.round(output))) };
  const count = (step: 1 | -1): void => {
    const next = (running.get(key) ?? 0) + step;
    if (next > 0) running.set(key, next);
    else running.delete(key);
  };
  return {
    cost,
    outlook,
    started: () => count(1),
    ended: () => count(-1),
    charge: (usage) => chargeFor(provider, usage),
    chargeSeen: (seen) => chargeFor(provider, usageOf(input, seen)),
    learn(usage, ms) {
      ratios.learn(key, counted, usage.input);
      if (call.hasOutput) outputs.learn(key, { cap, output: usage.output, durationMs: ms });
    },
  };
}

function usageOf(input: number, output: number): Usage {
  return { input, output, total: input + output, cachedInput: 0 };
}

/** Output tokens that fit into empty limits beside `cost`; at least 1. */
function room(limits: readonly Limit[], cost: Cost): number {
  let most = Infinity;
  for (const limit of limits) {
    if (limit.unit === "requests" || limit.unit === "slots" || limit.unit === "input_tokens")
      continue;
    most = Math.min(most, limit.max - amountOf(cost, limit.unit));
  }
  return Math.max(1, most);
}
