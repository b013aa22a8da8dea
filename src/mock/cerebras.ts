import { openAiError, readOpenAi } from "./openai-wire.ts";
import type { OpenAiWire } from "./openai-wire.ts";
import { retryAfter } from "./profile.ts";
import type { Profile } from "./profile.ts";

const wire: OpenAiWire = {
  basePath: "/v1",
  models: ["gpt-oss-120b", "llama3.1-8b", "zai-glm-4.7"],
  hasResponses: false,
};

/** How many times the ordinary token limit the limit of all tokens is, where it is not set itself. */
const totalShare = 3;

/**
 * Cerebras: continuous token buckets; two of tokens, independent of each other: those that had to be computed,
 * and all, cached input included; estimated input plus `max_completion_tokens` taken from both before processing
 * and revised to the actual use after; usage in the last chunk of every stream; float seconds in the reset
 * headers. What its headers say of the second bucket is not documented, so they speak of the first alone.
 *
 * Sources: https://inference-docs.cerebras.ai/support/rate-limits ("Uncached vs. Total Tokens") and 429 bodies
 * as users report them.
 */
export const cerebras: Profile = {
  units: ["requests", "tokens", "total_tokens"],
  algorithm: "token_bucket",
  limits: { rpm: 1000, rpd: 1_440_000, tpm: 1_000_000 },
  derivedLimits: ({ tpm }) => (tpm === undefined ? {} : { total_tpm: tpm * totalShare }),
  streamUsage: "always",
  settling: "actual",
  cachedIsFree: true,
  chargesRefused: false,
  idHeader: "x-request-id",

  read: (request, url, context) => readOpenAi(request, url.pathname, wire, context),

  reservedTokens: (call, assumedOutputTokens) =>
    call.kind === "fixed"
      ? call.promptTokens
      : call.promptTokens + (call.maxOutputTokens ?? assumedOutputTokens),

  headers(state) {
    const headers: Record<string, string> = {};
    for (const { unit, window, limit, remaining, resetMs } of state) {
      if (unit !== "requests" && unit !== "tokens") continue;
      headers[`x-ratelimit-limit-${unit}-${window}`] = String(limit);
      headers[`x-ratelimit-remaining-${unit}-${window}`] = String(Math.floor(remaining));
      headers[`x-ratelimit-reset-${unit}-${window}`] = String(resetMs / 1000);
    }
    return headers;
  },

  refusal(refusal) {
    const { unit, window } = refusal.by;
    const isRequests = unit === "requests";
    const unitName = { requests: "Requests", total_tokens: "Total tokens" }[unit as string];
    const body = {
      message: `${unitName ?? "Tokens"} per ${window} limit exceeded - too many ${isRequests ? "requests sent" : "tokens processed"}.`,
      type: isRequests ? "too_many_requests_error" : "too_many_tokens_error",
      param: "quota",
      code: isRequests ? "request_quota_exceeded" : "token_quota_exceeded",
    };
    return Response.json(body, { status: 429, headers: retryAfter(refusal) });
  },
  outOfCredit: null,

  error: openAiError,
};
