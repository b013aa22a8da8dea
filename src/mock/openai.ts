import { limitPhrase, pairHeaders } from "./limit-phrase.ts";
import { goDuration, wholeUnits } from "./duration.ts";
import { openAiError, readOpenAi } from "./openai-wire.ts";
import type { OpenAiWire } from "./openai-wire.ts";
import { retryAfter } from "./profile.ts";
import type { Profile } from "./profile.ts";

const wire: OpenAiWire = {
  basePath: "/v1",
  models: ["gpt-4.1", "gpt-4.1-mini", "gpt-4o-mini", "text-embedding-3-small"],
  hasResponses: true,
};

/** What the estimate assumes for the answer where the request sets no bound: small, as captures show. */
const defaultOutputTokens = 16;
const charactersPerToken = 4;
const windows = { second: "sec", minute: "min", hour: "hour", day: "day" };
const more = "Visit https://platform.openai.com/account/rate-limits to learn more.";

/**
 * OpenAI: requests and tokens a minute, requests a day. A call's tokens are the larger of its `max_tokens` and
 * an estimate from the number of its characters, taken at admission; that they are revised afterwards is not
 * documented, so they are not. Refused calls count as requests. Cached input counts. The headers speak of the
 * requests of a day where a day is limited (10,000 that reset in 8.64 s each, in captures), else of a minute.
 *
 * Sources: https://platform.openai.com/docs/guides/rate-limits ("unsuccessful requests contribute to your
 * per-minute limit"; "the maximum of max_tokens and the estimated number of tokens based on the character
 * count of your request") and 429 bodies as users report them.
 */
export const openai: Profile = {
  units: ["requests", "tokens"],
  algorithm: "token_bucket",
  limits: { rpm: 500, tpm: 200_000 },
  streamUsage: "asked",
  settling: "reserved",
  cachedIsFree: false,
  chargesRefused: true,
  idHeader: "x-request-id",

  read: (request, url, context) => readOpenAi(request, url.pathname, wire, context),

  reservedTokens(call) {
    const estimate = Math.ceil(call.characters / charactersPerToken);
    if (call.kind === "fixed") return Math.max(1, estimate);
    return Math.max(call.maxOutputTokens ?? defaultOutputTokens, estimate);
  },

  headers(state) {
    const find = (unit: string, window: string) =>
      state.find((limit) => limit.unit === unit && limit.window === window);
    return pairHeaders(
      find("requests", "day") ?? find("requests", "minute"),
      find("tokens", "minute") ?? find("tokens", "day"),
    );
  },

  refusal(refusal) {
    const { model, waitMs } = refusal;
    const where = `for ${model} in organization org-mock on ${limitPhrase(refusal, windows)}.`;
    const isTooLarge = waitMs === Infinity;
    const message = isTooLarge
      ? `Request too large ${where} The input or output tokens must be reduced in order to run successfully. ${more}`
      : `Rate limit reached ${where} Please try again in ${goDuration(waitMs)}. ${more}`;
    const type = refusal.by.unit === "requests" ? "requests" : "tokens";
    const precise = isTooLarge ? {} : { "retry-after-ms": String(wholeUnits(waitMs, 1)) };
    return Response.json(
      { error: { message, type, param: null, code: "rate_limit_exceeded" } },
      { status: 429, headers: { ...retryAfter(refusal), ...precise } },
    );
  },

  outOfCredit() {
    const message =
      "You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.";
    const type = "insufficient_quota";
    return Response.json({ error: { message, type, param: null, code: type } }, { status: 429 });
  },

  error: openAiError,
};
