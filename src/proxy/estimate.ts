import type { Cost } from "../limit/cost.ts";
import { amountOf } from "../limit/cost.ts";
import type { Limit } from "../limit/limit.ts";
import type { ModelCall, Usage } from "../provider/dialect.ts";
import { chargeFor, countsCacheReads, reserveFor, reservesMaxOutput } from "../provider/meter.ts";
import type { Provider } from "../provider/provider.ts";
import type { TokenCounter } from "../tokens/counter.ts";
import type { Needs } from "../tokens/need.ts";
import type { OutputPredictor } from "../tokens/output.ts";
import type { LearnedRatios } from "../tokens/ratio.ts";
import { densityOf } from "../tokens/ratio.ts";

/** What is learned from answers, and what counts: belongs to the process, not to a configuration. */
export interface Learning {
  readonly counter: TokenCounter;
  readonly ratios: LearnedRatios;
  readonly outputs: OutputPredictor;
  readonly needs: Needs;
  /** Calls in flight whose output was predicted, by quota and model, and what they hold for it together. */
  readonly running: Map<string, { readonly count: number; readonly held: number }>;
}

/** A model call, priced before it is made and again when it has ended. */
export interface Estimate {
  readonly cost: Cost;
  /** The cap on output that goes upstream; null where it is the client's. */
  readonly sentCap: number | null;
  /** The same call with another cap. Before it is made. */
  withCap(sentCap: number): Estimate;
  readonly outlook: { durationMs: number; cost: Cost } | null;
  /** The call is on its way: answers of its kind share a margin while they are. */
  started(): void;
  /** It has ended, in whatever way. */
  ended(): void;
  /** What an answer with `usage` costs. */
  charge(usage: Usage): Cost;
  /** What the provider goes on counting for it, where it takes nothing back of what it counted on arrival. */
  counted(usage: Usage): Cost;
  /** What an answer without usage costs, of which about `output` tokens were seen. */
  chargeSeen(output: number): Cost;
  /** Takes in what a complete answer has shown. */
  learn(usage: Usage, stoppedForLength: boolean, durationMs: number): void;
}

/** Whose call it is, and what it has to fit into. */
export interface Pricing {
  /** Name of the quota: what is learned is learned for one quota and model. */
  readonly scope: string;
  readonly provider: Provider;
  readonly limits: readonly Limit[];
  /** The cap as the client gave it and as it goes out, and what such needs are learned for; null where it stays. */
  readonly sized: {
    readonly cap: number;
    readonly sentCap: number;
    readonly key: string;
  } | null;
}

/**
 * Prices a call: input counted for its model times the learned ratio, output as the client caps it, or as learned,
 * but never more than the limits could ever hold.
 */
export function estimate(
  learning: Learning,
  call: ModelCall,
  pricing: Pricing,
): Estimate | Promise<Estimate> {
  const counted = learning.counter.count(call.prompt);
  return typeof counted === "number"
    ? price(learning, call, pricing, counted)
    : counted.then((tokens) => price(learning, call, pricing, tokens));
}

/** What is learned of a call's output and input is learned for this. */
export function learningKey(scope: string, model: string): string {
  return `${scope}\n${model.slice(0, 200)}`;
}

function price(learning: Learning, call: ModelCall, pricing: Pricing, counted: number): Estimate {
  const { ratios, outputs, needs, running } = learning;
  const { scope, provider, limits, sized } = pricing;
  const key = learningKey(scope, call.model);
  const density = densityOf(call.prompt, counted);
  const input = Math.ceil(counted * ratios.ratioOf(key, density));
  const cap = call.hasOutput ? (sized?.sentCap ?? call.maxOutput) : 0;
  const promptCharacters = density * counted;
  const reserved = (predictedOutput: number): Cost =>
    reserveFor(provider, { input, maxOutput: cap, predictedOutput, promptCharacters });
  // Where the cap is reserved as it stands, nothing is predicted, and the margin is not shared.
  const predicts = call.hasOutput && (cap === null || !reservesMaxOutput(provider));
  let held = 0;
  if (predicts) {
    const others = running.get(key);
    const ceiling = Math.min(cap ?? Infinity, room(limits, reserved(0)));
    held = outputs.reserve(key, others?.count ?? 0, ceiling, input, others?.held);
  }
  const expected = call.hasOutput ? outputs.expected(key, cap, input) : 0;
  const cost = reserved(predicts ? held : (expected ?? 0));

  const asCounted = (usage: Usage): Usage =>
    countsCacheReads(provider, call.model) ? { ...usage, cachedInput: 0 } : usage;

  const durationMs = outputs.duration(key);
  const outlook =
    durationMs === null || expected === null
      ? null
      : { durationMs, cost: chargeFor(provider, usageOf(input, Math.round(expected))) };
  const count = (step: 1 | -1): void => {
    if (!predicts) return;
    const now = running.get(key) ?? { count: 0, held: 0 };
    const next = { count: now.count + step, held: now.held + step * held };
    if (next.count > 0) running.set(key, next);
    else running.delete(key);
  };
  return {
    cost,
    sentCap: sized?.sentCap ?? null,
    withCap: (sentCap) =>
      price(learning, call, { ...pricing, sized: sized && { ...sized, sentCap } }, counted),
    outlook,
    started: () => count(1),
    ended: () => count(-1),
    charge: (usage) => chargeFor(provider, asCounted(usage)),
    counted: (usage) =>
      chargeFor(provider, asCounted(usage), {
        input,
        maxOutput: cap,
        predictedOutput: expected ?? 0,
        promptCharacters,
      }),
    chargeSeen: (seen) => chargeFor(provider, usageOf(input, seen)),
    learn(usage, stoppedForLength, ms) {
      ratios.learn(key, counted, usage.input, density);
      if (!call.hasOutput) return;
      const { output } = usage;
      const sentCap = sized?.sentCap ?? cap;
      // An answer that only our cap has cut off says nothing of how it fills the client's.
      const cut = stoppedForLength || (sentCap !== null && output >= sentCap);
      const filled = sized === null || cut ? sentCap : sized.cap;
      outputs.learn(key, { cap: filled, input, output, durationMs: ms });
      if (sized !== null) needs.learn(sized.key, { ...sized, output, stoppedForLength });
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
