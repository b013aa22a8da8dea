import {
  now,
  openai,
  anthropic,
  cerebras,
  google,
  quotaFailure,
  retryInfo,
  perMinute,
  perDay,
} from "./refusal-bodies.ts";
import type { Case } from "./refusal-bodies.ts";

/** The upstream is overloaded. */
export const overloads: readonly Case[] = [
  ["503", "openai", 503, null, {}, { waitMs: null, reason: "overloaded" }],
  ["503 that says how long", "azure", 503, null, { "retry-after": "4" }, { waitMs: 4_000 }],
  ["529", "anthropic", 529, anthropic("overloaded_error", "Overloaded"), {}, { waitMs: null }],
  ["Gemini's 503", "gemini", 503, { error: { code: 503, status: "UNAVAILABLE" } }, {}, {}],
  [
    "Groq's flex tier",
    "groq",
    498,
    openai("Flex tier capacity exceeded", "", "capacity_exceeded"),
    {},
    {},
  ],
  [
    "Cerebras: the queue",
    "cerebras",
    429,
    cerebras(
      "We're experiencing high traffic right now! Please try again soon.",
      "queue_exceeded",
      "queue",
    ),
    {},
    { reason: "queue_exceeded" },
  ],
  [
    "Mistral: the tier",
    "mistral",
    429,
    {
      object: "error",
      message: "Service tier capacity exceeded for this model.",
      type: "invalid_request_error",
      code: null,
    },
    {},
    {},
  ],
  [
    "Gemini: the model",
    "gemini",
    429,
    google("No capacity available for model gemini-3 on the server", {
      reason: "MODEL_CAPACITY_EXHAUSTED",
    }),
    {},
    {},
  ],
  [
    "OpenRouter: the provider behind it",
    "openrouter",
    429,
    {
      error: {
        message: "Provider returned error",
        code: 429,
        metadata: {
          raw: "x/y:free is temporarily rate-limited upstream. Please retry shortly.",
          provider_name: "Z",
        },
      },
    },
    {},
    { reason: "upstream_limited" },
  ],
];

/** What waiting cannot mend. */
export const nevers: readonly Case[] = [
  [
    "OpenAI: no quota left to pay for",
    "openai",
    429,
    openai(
      "You exceeded your current quota, please check your plan and billing details.",
      "insufficient_quota",
      "insufficient_quota",
    ),
    { "retry-after": "1" },
    { reason: "insufficient_quota", waitMs: null },
  ],
  [
    "OpenAI: the hard limit",
    "openai",
    400,
    openai(
      "Billing hard limit has been reached",
      "invalid_request_error",
      "billing_hard_limit_reached",
    ),
    {},
    { reason: "billing" },
  ],
  [
    "OpenAI: one request beyond the limit",
    "openai",
    429,
    openai(
      "Request too large for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Requested 31538. The input or output tokens must be reduced in order to run successfully.",
      "tokens",
    ),
    {},
    { reason: "request_too_large", unit: "tokens", window: "minute", limit: 30_000 },
  ],
  [
    "Groq: likewise, as 413",
    "groq",
    413,
    openai(
      "Request too large for model `llama-3.3-70b-versatile` … on tokens per minute (TPM): Limit 12000, Requested 14137, please reduce your message size and try again.",
      "tokens",
    ),
    {},
    { reason: "request_too_large", unit: "tokens", window: "minute", limit: 12_000 },
  ],
  [
    "Anthropic: the tier's spend cap",
    "anthropic",
    429,
    anthropic(
      "rate_limit_error",
      "You have reached your API usage limits: your organization has crossed its monthly API usage threshold, set based on your organization's API tier. You will regain access on 2026-12-01 at 00:00 UTC.",
      { error_code: "enforced_spend_limit_reached" },
    ),
    {},
    { reason: "spend_cap", waitMs: Date.parse("2026-12-01T00:00:00Z") - now },
  ],
  [
    "Anthropic: one's own spend cap",
    "anthropic",
    400,
    anthropic(
      "invalid_request_error",
      "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
    ),
    {},
    { reason: "spend_cap" },
  ],
  [
    "Anthropic: no credit",
    "anthropic",
    400,
    anthropic(
      "invalid_request_error",
      "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    {},
    { reason: "billing" },
  ],
  [
    "Anthropic: something to be bought",
    "anthropic",
    429,
    anthropic("rate_limit_error", "Extra usage is required for long context requests."),
    {},
    { reason: "billing" },
  ],
  [
    "OpenRouter: no credit",
    "openrouter",
    402,
    {
      error: {
        message: "Insufficient credits. Add more using https://openrouter.ai/credits",
        code: 402,
      },
    },
    {},
    { reason: "billing" },
  ],
  [
    "Gemini: a quota of 0",
    "gemini",
    429,
    google(
      "You exceeded your current quota.",
      quotaFailure({ ...perDay, quotaValue: "0" }, perMinute),
      retryInfo("45s"),
    ),
    {},
    { reason: "no_quota", unit: "requests", window: "day" },
  ],
  [
    "Gemini: a quota of 0, by its text",
    "gemini",
    429,
    google(
      "You exceeded your current quota. \n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: gemini-3-pro\nPlease retry in 45.578569677s.",
    ),
    {},
    { reason: "no_quota" },
  ],
];
