import { goDuration } from "./duration.ts";
import type { Unit, WindowName } from "./limit.ts";
import type { LimitState } from "./quota.ts";
import type { Refusal } from "./profile.ts";

const unitWords: Record<Unit, string> = {
  requests: "requests",
  tokens: "tokens",
  total_tokens: "tokens",
  input_tokens: "input tokens",
  output_tokens: "output tokens",
};
const unitLetters: Record<Unit, string> = {
  requests: "R",
  tokens: "T",
  total_tokens: "T",
  input_tokens: "IT",
  output_tokens: "OT",
};

/**
 * What OpenAI and Groq write into a 429 about the limit that was hit, in this form:
 * `tokens per min (TPM): Limit 30000, Used 29937, Requested 385`. The use is left out of a call over the whole
 * limit.
 *
 * @param windows the provider's word for each window.
 */
export function limitPhrase(refusal: Refusal, windows: Record<WindowName, string>): string {
  const { unit, window, limit, used } = refusal.by;
  const letters = `${unitLetters[unit]}P${window.charAt(0).toUpperCase()}`;
  const usedPart = refusal.waitMs === Infinity ? "" : ` Used ${Math.ceil(used)},`;
  return `${unitWords[unit]} per ${windows[window]} (${letters}): Limit ${limit},${usedPart} Requested ${refusal.requested}`;
}

/** The `x-ratelimit-*` headers that OpenAI and Groq have in common, of one limit each for requests and tokens. */
export function pairHeaders(
  requests: LimitState | undefined,
  tokens: LimitState | undefined,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, state] of [
    ["requests", requests],
    ["tokens", tokens],
  ] as const) {
    if (!state) continue;
    headers[`x-ratelimit-limit-${name}`] = String(state.limit);
    headers[`x-ratelimit-remaining-${name}`] = String(Math.floor(state.remaining));
    headers[`x-ratelimit-reset-${name}`] = goDuration(state.resetMs);
  }
  return headers;
}
