import { goDuration } from "./duration.ts";
import { limitPhrase, pairHeaders } from "./limit-phrase.ts";
import { openAiError, readOpenAi } from "./openai-wire.ts";
import type { OpenAiWire } from "./openai-wire.ts";
import { retryAfter } from "./profile.ts";
import type { Profile } from "./profile.ts";

const wire: OpenAiWire = {
  basePath: "/openai/v1",
  models: ["llama-3.1-8b-instant", "llama-3.3-70b-versatile", "openai/gpt-oss-120b"],
  hasResponses: true,
  // A stream names its request in the first chunk and tells its usage in the last, asked for or not.
  extra: (at, usage, { index }) => ({
    x_groq: { id: `req_mock_${index}`, ...(at === "last" ? { usage } : {}) },
  }),
};

const windows = { second: "second", minute: "minute", hour: "hour", day: "day" };
const upgrade =
  "Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing";

/**
 * Groq: requests a minute and a day, tokens a minute and a day. Input and the answer's bound are taken at
 * admission (where there is no bound, the input alone: what Groq assumes then is not documented) and revised to
 * the use, cached input left out. A call over the whole of a token limit is 413. The headers speak of requests a
 * *day* and tokens a *minute*, whichever limits there are; `retry-after` comes with 429 alone.
 *
 * Sources: https://console.groq.com/docs/rate-limits, https://console.groq.com/docs/prompt-caching, and answers
 * as users report them.
 */
export const groq: Profile = {
  units: ["requests", "tokens"],
  algorithm: "token_bucket",
  limits: { rpm: 30, rpd: 14_400, tpm: 6000, tpd: 500_000 },
  streamUsage: "asked",
  settling: "actual",
  cachedIsFree: true,
  chargesRefused: false,
  idHeader: "x-request-id",

  read: (request, url, context) => readOpenAi(request, url.pathname, wire, context),

  reservedTokens: (call) =>
    call.kind === "fixed" ? call.promptTokens : call.promptTokens + (call.maxOutputTokens ?? 0),

  headers: (state) =>
    pairHeaders(
      state.find(({ unit, window }) => unit === "requests" && window === "day"),
      state.find(({ unit, window }) => unit === "tokens" && window === "minute"),
    ),

  refusal(refusal) {
    const { model, waitMs } = refusal;
    const where = `for model \`${model}\` in organization \`org_mock\` service tier \`on_demand\` on ${limitPhrase(refusal, windows)}`;
    const isTooLarge = waitMs === Infinity;
    const message = isTooLarge
      ? `Request too large ${where}, please reduce your message size and try again. ${upgrade}`
      : `Rate limit reached ${where}. Please try again in ${goDuration(waitMs)}. ${upgrade}`;
    const type = refusal.by.unit === "requests" ? "requests" : "tokens";
    return Response.json(
      { error: { message, type, code: "rate_limit_exceeded" } },
      { status: isTooLarge ? 413 : 429, headers: retryAfter(refusal) },
    );
  },
  outOfCredit: null,

  error: openAiError,
};
