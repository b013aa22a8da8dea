import { openAiError, readOpenAi } from "./openai-wire.ts";
import type { Profile } from "./profile.ts";

/**
 * Cerebras: continuous token buckets; estimated input plus `max_completion_tokens` taken before processing
 * and revised to the actual use after; usage in the last chunk of every stream; float seconds in the reset
 * headers. Left out: caching, and with it the second bucket of total tokens.
 *
 * Sources: https://inference-docs.cerebras.ai/support/rate-limits and 429 bodies as users report them.
 */
export const cerebras: Profile = {
  metersTokens: true,
  algorithm: "token_bucket",
  limits: { rpm: 1000, rpd: 1_440_000, tpm: 1_000_000 },
  streamUsage: "always",

  read: (request, url, context) =>
    readOpenAi(request, url.pathname, ["gpt-oss-120b", "llama3.1-8b", "zai-glm-4.7"], context),

  reservedTokens: (call, assumedOutputTokens) =>
    call.kind === "fixed"
      ? call.promptTokens
      : call.promptTokens + (call.maxOutputTokens ?? assumedOutputTokens),

  headers(state) {
    const headers: Record<string, string> = {};
    for (const { unit, window, limit, remaining, resetMs } of state) {
      headers[`x-ratelimit-limit-${unit}-${window}`] = String(limit);
      headers[`x-ratelimit-remaining-${unit}-${window}`] = String(Math.floor(remaining));
      headers[`x-ratelimit-reset-${unit}-${window}`] = String(resetMs / 1000);
    }
    return headers;
  },

  refusal({ unit, window }) {
    const isRequests = unit === "requests";
    const unitName = isRequests ? "Requests" : "Tokens";
    const body = {
      message: `${unitName} per ${window} limit exceeded - too many ${isRequests ? "requests sent" : "tokens processed"}.`,
      type: `too_many_${unit}_error`,
      param: "quota",
      code: isRequests ? "request_quota_exceeded" : "token_quota_exceeded",
    };
    return Response.json(body, { status: 429 });
  },

  error: openAiError,
};
