import type { HeaderReader } from "../header-fields.ts";
import type { HintUnit, HintWindow } from "./hint-shape.ts";
import type { Provider } from "./provider.ts";

/** The names of the headers about one limit, and what they count. */
export interface Dimension {
  unit: HintUnit;
  window: HintWindow | null;
  /** Whether the numbers may show another window: from how fast it fills up, or from how far off its reset is. */
  guess: "fill" | "reset" | null;
  limit: string;
  remaining: string;
  reset: string;
}

/** `names` has a star where the headers say limit, remaining and reset. */
function dimension(
  unit: HintUnit,
  window: HintWindow | null,
  names: string,
  guess: Dimension["guess"] = null,
): Dimension {
  const name = (field: string): string => names.replace("*", field);
  return {
    unit,
    window,
    guess,
    limit: name("limit"),
    remaining: name("remaining"),
    reset: name("reset"),
  };
}

/**
 * OpenAI's names, which most compatible servers use. Resets are durations: `1s`, `6m0s`.
 * Source: https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers.
 */
function openaiNames(
  requests: HintWindow | null,
  tokens: HintWindow | null,
  guess: Dimension["guess"] = null,
): readonly Dimension[] {
  return [
    dimension("requests", requests, "x-ratelimit-*-requests", guess),
    dimension("tokens", tokens, "x-ratelimit-*-tokens"),
    dimension("tokens", tokens, "x-ratelimit-*-project-tokens"),
  ];
}

const windows = ["minute", "hour", "day"] as const;

/** Resets in seconds with a fraction. Source: https://inference-docs.cerebras.ai/support/rate-limits. */
const cerebrasNames = windows.flatMap((window) => [
  dimension("requests", window, `x-ratelimit-*-requests-${window}`),
  dimension("tokens", window, `x-ratelimit-*-tokens-${window}`),
]);

/**
 * Resets in RFC 3339. Source: https://platform.claude.com/docs/en/api/rate-limits (response headers): all limits
 * there are per minute.
 */
const anthropicNames = [
  dimension("requests", "minute", "anthropic-ratelimit-requests-*"),
  dimension("tokens", "minute", "anthropic-ratelimit-tokens-*"),
  dimension("input_tokens", "minute", "anthropic-ratelimit-input-tokens-*"),
  dimension("output_tokens", "minute", "anthropic-ratelimit-output-tokens-*"),
];

/** Captured: https://github.com/mistralai/client-ts/issues/169; `bysize` is what older answers have. No resets. */
const mistralNames = [
  dimension("requests", "minute", "x-ratelimit-*-req-minute"),
  dimension("tokens", "minute", "x-ratelimit-*-tokens-minute"),
  dimension("tokens", "minute", "x-ratelimitbysize-*-minute"),
];

/**
 * Resets in seconds since 1970; an hour for all that is not a single resource's.
 * Source: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api (checking the status).
 */
const githubNames = [dimension("requests", "hour", "x-ratelimit-*")];

/** Gateways (Kong) that count requests in windows of the clock. */
const gatewayNames = (["second", ...windows] as const).map((window) =>
  dimension("requests", window, `x-ratelimit-*-${window}`),
);

/** What each provider sends. Gemini sends nothing. */
export const dimensionsOf = {
  cerebras: cerebrasNames,
  openai: openaiNames("minute", "minute", "fill"),
  // Whole seconds until the window ends. Source: https://learn.microsoft.com/azure/ai-services/openai/how-to/quota.
  azure: openaiNames("minute", "minute"),
  anthropic: anthropicNames,
  gemini: [],
  // "Always refers to Requests Per Day", tokens to a minute. Source: https://console.groq.com/docs/rate-limits.
  groq: openaiNames("day", "minute"),
  mistral: mistralNames,
  // Milliseconds since 1970, on refusals only. Source: https://openrouter.ai/docs/api/reference/limits.
  openrouter: [dimension("requests", null, "x-ratelimit-*", "reset"), ...openaiNames(null, null)],
  // GitHub Models speaks like OpenAI beside it.
  github: [...githubNames, ...openaiNames(null, null)],
} satisfies Record<Exclude<Provider, "generic">, readonly Dimension[]>;

/** What an unknown server may send, by every header's name. */
const byName = new Map(
  [
    ...openaiNames(null, null),
    ...cerebrasNames,
    ...mistralNames,
    ...anthropicNames,
    ...gatewayNames,
    dimension("requests", null, "x-ratelimit-*"),
    dimension("requests", null, "x-rate-limit-*"),
  ].flatMap((dimension) =>
    [dimension.limit, dimension.remaining, dimension.reset].map(
      (name) => [name, dimension] as const,
    ),
  ),
);
const nothing: readonly Dimension[] = [];

/** What an unknown server's answer speaks of: asking for every name would cost more than looking at those there. */
export function genericDimensions(headers: HeaderReader): readonly Dimension[] {
  let found: Dimension[] | null = null;
  for (const name of headers.keys()) {
    if (!name.startsWith("x-rate") && !name.startsWith("anthropic-rate")) continue;
    const dimension = byName.get(name);
    if (dimension === undefined) continue;
    if (found === null) found = [dimension];
    else if (!found.includes(dimension)) found.push(dimension);
  }
  return found ?? nothing;
}
