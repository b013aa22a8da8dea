import type { Cost } from "../limit/cost.ts";
import { noCost, oneRequest } from "../limit/cost.ts";
import type { LimitSpec, WindowName } from "../limit/limit.ts";
import type { Usage } from "./dialect.ts";
import type { Provider } from "./provider.ts";

/** How a provider's own meter counts. A new rule of a provider's is a field here and a line below. */
interface Meter {
  /**
   * What its plain token limit counts when a call arrives: the input and all the output that the call allows; the
   * larger of that output and the input; the input, with output as it is written; or the input and nothing else ever.
   */
  onArrival: "input_and_cap" | "larger_of_input_and_cap" | "input_then_output" | "input_only";
  /** Whether the count made on arrival stays when the answer turns out smaller. */
  keepsArrival: boolean;
  /** Cached input: `counted` like other; `free` in the plain limit; `free_everywhere` in the one on input too. */
  cachedInput: "counted" | "free" | "free_everywhere";
  /** Whether a call that it refuses with a 429 counts as a request; true where that is not known. */
  countsRefused: boolean;
  /** Whether a call that failed with a fault of the provider's counts as no more than a request. */
  faultsFree: boolean;
}

/** What is counted in full, and nothing given back but what an answer's usage says: never less than any provider. */
const cautious: Meter = {
  onArrival: "input_and_cap",
  keepsArrival: false,
  cachedInput: "counted",
  countsRefused: true,
  faultsFree: false,
};

const meters = {
  /**
   * Two token limits side by side, of uncached and of all tokens. Both reserve the estimated input plus
   * `max_completion_tokens`, or an estimate of their own, and are revised to what was used. What would exceed them is
   * refused before it is processed. https://inference-docs.cerebras.ai/support/rate-limits
   */
  cerebras: { ...cautious, cachedInput: "free", countsRefused: false },
  /**
   * Counts the larger of `max_tokens` and an estimate of the input from its characters; nothing says that this is
   * revised afterwards. Calls that fail count. Cached input does too.
   * https://platform.openai.com/docs/guides/rate-limits, https://platform.openai.com/docs/guides/prompt-caching
   */
  openai: { ...cautious, onArrival: "larger_of_input_and_cap", keepsArrival: true },
  /**
   * Counts an estimate of the prompt plus `max_tokens` (times `best_of`) when the request is received, which is said
   * to differ from what is billed in the end.
   * https://learn.microsoft.com/azure/ai-services/openai/how-to/quota#understanding-rate-limits
   */
  azure: { ...cautious, keepsArrival: true },
  /**
   * Input is estimated on arrival and revised, cache reads free (but see `countsCacheReads`); output counts as it is
   * written, `max_tokens` plays no part. Buckets fill continuously, so a refused call takes nothing.
   * https://docs.anthropic.com/en/api/rate-limits
   */
  anthropic: {
    onArrival: "input_then_output",
    keepsArrival: false,
    cachedInput: "free_everywhere",
    countsRefused: false,
    faultsFree: false,
  },
  /**
   * Tokens a minute are input alone; a call that fails counts as a request, its tokens not.
   * https://ai.google.dev/gemini-api/docs/rate-limits, https://ai.google.dev/gemini-api/docs/billing
   */
  gemini: { ...cautious, onArrival: "input_only", faultsFree: true },
  /**
   * Cached tokens count towards no limit. A call of more than the limit, its `max_completion_tokens` included, gets
   * a 413. https://console.groq.com/docs/rate-limits
   */
  groq: { ...cautious, cachedInput: "free_everywhere" },
  /** Tokens a minute, without a word on how. https://docs.mistral.ai/deployment/ai-studio/tier */
  mistral: cautious,
  /** Requests alone, failed ones included. https://openrouter.ai/docs/api-reference/limits */
  openrouter: cautious,
  /** Requests by the hour for its REST API (see `plainCost` for what it counts beside), by the minute for models. */
  github: cautious,
  generic: cautious,
} satisfies Record<Provider, Meter>;

/** What is known of a call before it is made, in tokens. */
export interface Estimate {
  input: number;
  /** What the client allows for all its answers together; null where it sets no limit. */
  maxOutput: number | null;
  /** What calls like this one needed so far, or a default; 0 where the model writes nothing. */
  predictedOutput: number;
  /** Characters of the prompt, for providers that count those. */
  promptCharacters?: number;
}

/**
 * What to reserve before a call: the most that `provider` may count for it, as far as is known. Where the cap on
 * output plays no part in what it counts, that is what the answer should need.
 */
export function reserveFor(provider: Provider, call: Estimate): Cost {
  const { input, maxOutput, predictedOutput } = call;
  const { onArrival }: Meter = meters[provider];
  const allowed = maxOutput ?? predictedOutput;
  const needed = Math.min(allowed, predictedOutput);
  const output = onArrival === "input_then_output" || onArrival === "input_only" ? needed : allowed;
  // Nothing is known to be cached before the answer says so, so there is nothing to leave out yet.
  const tokens = {
    input_and_cap: input + output,
    larger_of_input_and_cap: Math.max(countedOnArrival(provider, call), input + needed),
    input_then_output: input + output,
    input_only: input,
  }[onArrival];
  return costOf(tokens, input, output, input + output);
}

/**
 * Whether `provider` counts cached input of `model`, though of most it does not: of Claude Haiku 3.5, which
 * Anthropic's table of limits marks for it.
 * https://docs.anthropic.com/en/api/rate-limits (cache-aware ITPM)
 */
export function countsCacheReads(provider: Provider, model: string): boolean {
  return provider === "anthropic" && /claude-(?:3[-.]5-haiku|haiku-3[-.]5)/i.test(model);
}

/**
 * What `provider` finally charges for a call whose answer reported `usage`.
 *
 * @param call as it was reserved: where the provider does not take back what it counted on arrival (OpenAI, Azure),
 *   `tokens` are at least that. Without it they are what the usage says.
 */
export function chargeFor(provider: Provider, usage: Usage, call?: Estimate): Cost {
  const { onArrival, keepsArrival, cachedInput }: Meter = meters[provider];
  const cached = Math.min(usage.cachedInput, usage.input);
  const used =
    onArrival === "input_only"
      ? usage.input
      : usage.total - (cachedInput === "counted" ? 0 : cached);
  const tokens =
    keepsArrival && call !== undefined ? Math.max(used, countedOnArrival(provider, call)) : used;
  const input = cachedInput === "free_everywhere" ? usage.input - cached : usage.input;
  return costOf(tokens, input, usage.output, usage.total);
}

/**
 * What `provider` charges for a call that it answered with a status of 400 or more, without usage.
 *
 * A call that was refused as wrong, over a limit or for lack of capacity reached no model: it counts as a request, or
 * not even that; GitHub's points are a request's. After a fault on the way, or a time-out, nobody knows how far it came: it stays charged as reserved.
 */
export function chargeFailed(provider: Provider, status: number, reserved: Readonly<Cost>): Cost {
  const { countsRefused, faultsFree }: Meter = meters[provider];
  const points = provider === "github" && reserved.total_tokens === 0 ? reserved.tokens : 0;
  const request: Cost = { ...noCost, requests: reserved.requests, tokens: points };
  if (status === 429) return countsRefused ? request : { ...noCost };
  const isOverload = status === 503 || status === 529;
  const isFault = status === 408 || (status >= 500 && !isOverload);
  return isFault && !faultsFree ? { ...reserved } : request;
}

/** Whether a lower cap on output frees quota at `provider`. */
export function reservesMaxOutput(provider: Provider): boolean {
  const { onArrival }: Meter = meters[provider];
  return onArrival === "input_and_cap" || onArrival === "larger_of_input_and_cap";
}

/**
 * What a call costs that asks no model for anything: a request.
 *
 * GitHub's REST API counts points beside requests, 900 a minute (2,000 for GraphQL): 1 to read, 5 to write. They are
 * what `tpm` counts there. A GraphQL query counts 1 and a mutation 5; which it is stands in the body, so it is taken
 * for a mutation.
 * https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#calculating-points-for-the-secondary-rate-limit
 */
export function plainCost(provider: Provider, method: string): Readonly<Cost> {
  if (provider !== "github") return oneRequest;
  return reads.has(method) ? read : written;
}

const reads: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
const read: Readonly<Cost> = Object.freeze({ ...oneRequest, tokens: 1 });
const written: Readonly<Cost> = Object.freeze({ ...oneRequest, tokens: 5 });

/** A limit as far as it matters here: so many of `unit` in `window`. */
export interface GivenLimit {
  readonly unit: string;
  readonly window: WindowName;
  readonly limit: number;
}

/**
 * Limits that `provider` holds a client to beside those it states.
 *
 * Azure looks at its requests a minute in spans of 1 or 10 seconds, without saying in which, and refuses what comes
 * faster than evenly (https://learn.microsoft.com/azure/ai-services/openai/how-to/quota#understanding-rate-limits).
 * Requests that leave evenly spaced stay within the share of any span, and lose nothing of the minute's limit, as a
 * window of a second would where the limit is not a multiple of 60. A quota with a limit by the second is left alone.
 */
export function extraLimits(provider: Provider, limits: readonly GivenLimit[]): LimitSpec[] {
  if (provider !== "azure") return [];
  const requests = limits.filter(({ unit }) => unit === "requests");
  const perMinute = requests.find(({ window }) => window === "minute");
  if (perMinute === undefined || requests.some(({ window }) => window === "second")) return [];
  return [{ kind: "leaky_bucket", requestsPerSecond: perMinute.limit / 60, burst: 1 }];
}

/** What the plain token limit has counted once a call has arrived, in tokens. */
function countedOnArrival(
  provider: Provider,
  { input, maxOutput, promptCharacters = 0 }: Estimate,
): number {
  const cap = maxOutput ?? 0;
  if (meters[provider].onArrival !== "larger_of_input_and_cap") return input + cap;
  return Math.max(cap, input, promptCharacters / charactersPerToken);
}

/** OpenAI's rule of thumb for the tokens of a text. */
const charactersPerToken = 4;

function costOf(tokens: number, input: number, output: number, total: number): Cost {
  return {
    requests: 1,
    tokens: Math.max(0, Math.ceil(tokens)),
    input_tokens: Math.ceil(input),
    output_tokens: Math.ceil(output),
    total_tokens: Math.ceil(total),
  };
}
