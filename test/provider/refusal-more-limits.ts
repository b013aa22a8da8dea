import {
  now,
  untilMidnightInCalifornia,
  google,
  quotaFailure,
  retryInfo,
  perMinute,
  perDay,
  inputPerMinute,
} from "./refusal-bodies.ts";
import type { Case } from "./refusal-bodies.ts";

/** Limits that were met: what the others send. */
export const moreLimits: readonly Case[] = [
  [
    "Gemini: the delay is in the details",
    "gemini",
    429,
    google(
      "You exceeded your current quota, please check your plan and billing details.",
      quotaFailure(perMinute),
      retryInfo("37s"),
    ),
    {},
    { waitMs: 37_000, unit: "requests", window: "minute", limit: 15, reason: "requests" },
  ],
  [
    "Gemini: streamed errors come in an array",
    "gemini",
    429,
    [google("You exceeded your current quota.", quotaFailure(inputPerMinute), retryInfo("37.5s"))],
    {},
    { waitMs: 37_500, unit: "input_tokens", window: "minute", limit: 250_000 },
  ],
  [
    "Gemini: a day's quota, until midnight in California",
    "gemini",
    429,
    google(
      "You exceeded your current quota.",
      retryInfo("37s"),
      quotaFailure(inputPerMinute, { ...perDay, quotaValue: "50" }),
    ),
    {},
    { waitMs: untilMidnightInCalifornia, unit: "requests", window: "day", limit: 50 },
  ],
  [
    "Gemini: no details but the text",
    "gemini",
    429,
    google(
      "Quota exceeded for metric: x/generate_content_requests, limit: 20, model: gemini-3. Please retry in 45.578569677s.",
    ),
    {},
    { waitMs: 45_578.57, limit: 20 },
  ],
  [
    "Vertex: nothing said",
    "gemini",
    429,
    google("Resource exhausted. Please try again later."),
    {},
    { waitMs: null, reason: "unspecified" },
  ],
  [
    "Mistral",
    "mistral",
    429,
    { message: "Requests rate limit exceeded" },
    {},
    { waitMs: null, unit: "requests", window: null },
  ],
  [
    "Mistral, in a later shape",
    "mistral",
    429,
    {
      object: "error",
      message: "Rate limit exceeded",
      type: "rate_limited",
      param: null,
      code: "1300",
    },
    { "x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-req-minute": "0" },
    { waitMs: null, unit: "requests", window: "minute" },
  ],
  [
    "Azure: calls",
    "azure",
    429,
    {
      error: {
        code: "429",
        message:
          "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-08-01-preview have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 6 seconds.",
      },
    },
    {},
    { waitMs: 6_000, unit: "requests", window: null, limit: null },
  ],
  [
    "Azure: tokens; the header knows better than the text",
    "azure",
    429,
    {
      error: {
        code: "429",
        message:
          "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-08-01-preview have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 86400 seconds.",
      },
    },
    { "retry-after-ms": "4210", "x-ratelimit-reset-tokens": "0", "x-ratelimit-limit-tokens": "-1" },
    { waitMs: 4_210, unit: "tokens" },
  ],
  [
    "OpenRouter: its headers are in the body",
    "openrouter",
    429,
    {
      error: {
        message:
          "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        code: 429,
        metadata: {
          headers: {
            "X-RateLimit-Limit": "50",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": String(now + 60_000_000),
          },
        },
      },
    },
    {},
    { waitMs: 60_000_000, unit: "requests", window: "day", reason: "requests" },
  ],
  [
    "GitHub: the hour is used up",
    "github",
    403,
    {
      message: "API rate limit exceeded for user ID 1.",
      documentation_url: "https://docs.github.com/",
    },
    {
      "x-ratelimit-limit": "5000",
      "x-ratelimit-remaining": "0",
      "x-ratelimit-reset": String((now + 90_000) / 1_000),
      "x-ratelimit-resource": "search",
    },
    { waitMs: 90_000, unit: "requests", window: "hour" },
  ],
  [
    "GitHub: a secondary limit",
    "github",
    403,
    {
      message:
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
    },
    { "retry-after": "30", "x-ratelimit-remaining": "4987" },
    { waitMs: 30_000, reason: "secondary" },
  ],
  [
    "GitHub: a secondary limit without a time is a minute",
    "github",
    429,
    { message: "You have exceeded a secondary rate limit." },
    {},
    { waitMs: 60_000, reason: "secondary" },
  ],
  [
    "GitHub Models",
    "github",
    429,
    {
      error: {
        code: "RateLimitReached",
        message:
          "Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 57000 seconds before retrying.",
      },
    },
    {},
    { waitMs: 57_000_000, window: "day", limit: 50 },
  ],
  [
    "a page of HTML",
    "generic",
    429,
    "<html>Too many requests</html>",
    { "retry-after": "1" },
    { waitMs: 1_000 },
  ],
  [
    "an error that is only text",
    "generic",
    429,
    { error: "Too many. Please try again in 3s." },
    {},
    { waitMs: 3_000 },
  ],
  [
    "an IETF header alone",
    "generic",
    429,
    null,
    { RateLimit: '"default";r=0;t=7', "RateLimit-Policy": '"default";q=10;w=60' },
    { waitMs: 7_000, unit: "requests", window: "minute" },
  ],
];
