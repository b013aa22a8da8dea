import { anthropicError, readAnthropic } from "./anthropic-wire.ts";
import type { Unit } from "./limit.ts";
import { retryAfter } from "./profile.ts";
import type { Profile } from "./profile.ts";
import type { LimitState } from "./quota.ts";

const models = ["claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5"];
const unitWords: Partial<Record<Unit, string>> = {
  input_tokens: "input tokens",
  output_tokens: "output tokens",
};

/**
 * Anthropic: token buckets for requests, input and output tokens a minute, apart. The estimated input is taken
 * at admission and revised to what was not read from the cache; output is metered as it is produced, and
 * `max_tokens` plays no part. The headers round tokens to the nearest thousand, as documented, and `tokens` is
 * the sum of input and output. Left out: the acceleration limits, which have no documented numbers.
 *
 * Source: https://docs.anthropic.com/en/api/rate-limits
 */
export const anthropic: Profile = {
  units: ["requests", "input_tokens", "output_tokens"],
  algorithm: "token_bucket",
  limits: { rpm: 1000, input_tpm: 450_000, output_tpm: 90_000 },
  streamUsage: "always",
  settling: "actual",
  cachedIsFree: true,
  chargesRefused: false,
  idHeader: "request-id",

  read: (request, url, context) => readAnthropic(request, url.pathname, models, context),

  reservedTokens: (call) => call.promptTokens,

  headers(state, now) {
    const headers: Record<string, string> = {};
    const tell = (name: string, limits: readonly LimitState[]): void => {
      if (limits.length === 0) return;
      const limit = limits.reduce((sum, each) => sum + each.limit, 0);
      const remaining = limits.reduce((sum, each) => sum + each.remaining, 0);
      const resetMs = Math.max(...limits.map((each) => each.resetMs));
      headers[`anthropic-ratelimit-${name}-limit`] = String(limit);
      headers[`anthropic-ratelimit-${name}-remaining`] = String(
        name === "requests"
          ? Math.floor(remaining)
          : Math.min(limit, Math.round(remaining / 1000) * 1000),
      );
      headers[`anthropic-ratelimit-${name}-reset`] = rfc3339(now + resetMs);
    };
    const ofMinute = (unit: Unit): LimitState[] =>
      state.filter((each) => each.unit === unit && each.window === "minute");
    const [input, output] = [ofMinute("input_tokens"), ofMinute("output_tokens")];
    tell("requests", ofMinute("requests"));
    tell("input-tokens", input);
    tell("output-tokens", output);
    tell("tokens", [...input, ...output]);
    return headers;
  },

  refusal(refusal, id) {
    const { unit, window, limit } = refusal.by;
    const amount = `${limit.toLocaleString("en-US")} ${unitWords[unit] ?? unit} per ${window}`;
    const message = `This request would exceed your organization's rate limit of ${amount} (org: org_mock, model: ${refusal.model}). For details, refer to: https://docs.claude.com/en/api/rate-limits. You can see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later.`;
    return anthropicError(429, message, id, retryAfter(refusal));
  },

  outOfCredit: (id) =>
    anthropicError(
      400,
      "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
      id,
    ),

  error: anthropicError,
};

/** To the second, and not before `time`. */
function rfc3339(time: number): string {
  return new Date(Math.ceil(time / 1000) * 1000).toISOString().replace(".000Z", "Z");
}
