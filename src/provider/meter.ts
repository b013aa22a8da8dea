import type { Cost } from "../limit/cost.ts";
import type { Usage } from "./dialect.ts";
import type { Provider } from "./provider.ts";

/** How a provider's own meter counts. A new rule of a provider's is a field here and a line below. */
interface Meter {
  /** Whether cached input is left out of the main token limit (it always counts in `total_tokens`). */
  cachedInputFree: boolean;
}

/**
 * Sources: Cerebras limits uncached and all tokens apart (https://inference-docs.cerebras.ai/support/rate-limits);
 * the others are counted in full here, which is never less than what they count.
 */
const meters = {
  cerebras: { cachedInputFree: true },
  openai: { cachedInputFree: false },
  azure: { cachedInputFree: false },
  anthropic: { cachedInputFree: false },
  gemini: { cachedInputFree: false },
  groq: { cachedInputFree: false },
  mistral: { cachedInputFree: false },
  openrouter: { cachedInputFree: false },
  github: { cachedInputFree: false },
  generic: { cachedInputFree: false },
} satisfies Record<Provider, Meter>;

/** What is known of a call before it is made, in tokens. */
export interface Estimate {
  input: number;
  /** What the client allows; null where it sets no limit. */
  maxOutput: number | null;
  /** What calls like this one needed so far, or a default; 0 where the model writes nothing. */
  predictedOutput: number;
}

/** What to reserve before a call: the most that `provider` may count for it, as far as is known. */
export function reserveFor(
  _provider: Provider,
  { input, maxOutput, predictedOutput }: Estimate,
): Cost {
  // Nothing is known to be cached before the answer says so, so there is nothing to leave out yet.
  return costOf(input, maxOutput ?? predictedOutput, input + (maxOutput ?? predictedOutput), 0);
}

/** What `provider` finally charges for a call whose answer reported `usage`. */
export function chargeFor(provider: Provider, usage: Usage): Cost {
  return costOf(
    usage.input,
    usage.output,
    usage.total,
    meters[provider].cachedInputFree ? usage.cachedInput : 0,
  );
}

function costOf(input: number, output: number, total: number, free: number): Cost {
  return {
    requests: 1,
    tokens: Math.max(0, Math.ceil(total - free)),
    input_tokens: Math.ceil(input),
    output_tokens: Math.ceil(output),
    total_tokens: Math.ceil(total),
  };
}
