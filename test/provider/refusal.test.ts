import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { longestWaitMs } from "../../src/provider/hint-reset.ts";
import { providers } from "../../src/provider/provider.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { readRefusal } from "../../src/provider/refusal.ts";
import type { UpstreamRefusal } from "../../src/provider/refusal.ts";

/** A Saturday, 04:04:00.250 UTC: 20:04 on Friday in California, in winter. */
const now = Date.parse("2026-11-21T04:04:00.250Z");
const untilMidnightInCalifornia = 14_160_000;

function read(
  provider: Provider,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): UpstreamRefusal | null {
  const text = typeof body === "string" || body === null ? body : JSON.stringify(body);
  return readRefusal(provider, status, new Headers(headers), text, now);
}

/** As the providers send them; the numbers are made up. */
const openai = (message: string, type: string, code = "rate_limit_exceeded"): unknown => ({
  error: { message, type, param: null, code },
});
const anthropic = (type: string, message: string, details?: unknown): unknown => ({
  type: "error",
  error: { type, message, ...(details === undefined ? {} : { details }) },
  request_id: "req_1",
});
const cerebras = (message: string, code: string, param = "quota"): unknown => ({
  message,
  type: "too_many_requests_error",
  param,
  code,
});
const google = (message: string, ...details: unknown[]): unknown => ({
  error: { code: 429, message, status: "RESOURCE_EXHAUSTED", details },
});
const quotaFailure = (...violations: Record<string, string>[]): unknown => ({
  "@type": "type.googleapis.com/google.rpc.QuotaFailure",
  violations,
});
const retryInfo = (retryDelay: string): unknown => ({
  "@type": "type.googleapis.com/google.rpc.RetryInfo",
  retryDelay,
});
const perMinute = {
  quotaMetric: "generativelanguage.googleapis.com/generate_content_free_tier_requests",
  quotaId: "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
  quotaValue: "15",
};
const perDay = { ...perMinute, quotaId: "GenerateRequestsPerDayPerProjectPerModel-FreeTier" };
const inputPerMinute = {
  quotaMetric: "generativelanguage.googleapis.com/generate_content_free_tier_input_token_count",
  quotaId: "GenerateContentInputTokensPerModelPerMinute-FreeTier",
  quotaValue: "250000",
};

type Expected = Partial<UpstreamRefusal> | null;
type Case = [string, Provider, number, unknown, Record<string, string>, Expected];

const limits: Case[] = [
  [
    "OpenAI: tokens a minute",
    "openai",
    429,
    openai(
      "Rate limit reached for gpt-4o in organization org-1 on tokens per min (TPM): Limit 30000, Used 29937, Requested 385. Please try again in 644ms. Visit https://platform.openai.com/account/rate-limits to learn more.",
      "tokens",
    ),
    {},
    { waitMs: 644, unit: "tokens", window: "minute", limit: 30_000, reason: "tokens" },
  ],
  [
    "OpenAI: requests a day; the full stop is no decimal point",
    "openai",
    429,
    openai(
      "Rate limit reached for gpt-4o in organization org-1 on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.",
      "requests",
    ),
    {},
    { waitMs: 432_000, unit: "requests", window: "day", limit: 200 },
  ],
  [
    "OpenAI: seconds with a fraction",
    "openai",
    429,
    openai(
      "Rate limit reached … (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 7.5s.",
      "tokens",
    ),
    {},
    { waitMs: 7_500, limit: 30_000 },
  ],
  [
    "OpenAI: the header is more exact than the text",
    "openai",
    429,
    openai(
      "Rate limit reached … (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
      "requests",
    ),
    { "retry-after": "20", "retry-after-ms": "19871" },
    { waitMs: 19_871, unit: "requests", window: "minute", limit: 3 },
  ],
  [
    "OpenAI: as it was, in other words",
    "openai",
    429,
    openai(
      "Rate limit reached for 10KTPM-200RPM in organization org-1 on tokens per min. Limit: 10,000 / min. Please try again in 6ms.",
      "tokens",
    ),
    {},
    { waitMs: 6, unit: "tokens", window: "minute", limit: 10_000 },
  ],
  [
    "OpenAI: images have a limit of their own",
    "openai",
    429,
    openai(
      "Rate limit reached … on images per minute (IPM): Limit 5, Used 5, Requested 1. Please try again in 12s.",
      "images",
    ),
    {},
    { waitMs: 12_000, unit: null, limit: 5, reason: "unspecified" },
  ],
  [
    "OpenAI: only headers, one of them used up",
    "openai",
    429,
    null,
    {
      "x-ratelimit-limit-requests": "500",
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "2s",
      "x-ratelimit-limit-tokens": "30000",
      "x-ratelimit-remaining-tokens": "20000",
      "x-ratelimit-reset-tokens": "40s",
    },
    { waitMs: 2_000, unit: "requests", window: "minute", limit: null, reason: "requests" },
  ],
  [
    "OpenAI: both used up: the later one",
    "openai",
    429,
    null,
    {
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "2s",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "6m0s",
    },
    { waitMs: 360_000, unit: "tokens" },
  ],
  [
    "OpenAI: the body names it, and some was left",
    "openai",
    429,
    openai("Rate limit reached … on tokens per min (TPM): Limit 30000.", "tokens"),
    {
      "x-ratelimit-remaining-requests": "0",
      "x-ratelimit-reset-requests": "50s",
      "x-ratelimit-remaining-tokens": "10",
      "x-ratelimit-reset-tokens": "9s",
    },
    { waitMs: 9_000, unit: "tokens", window: "minute", limit: 30_000 },
  ],
  ["a reset alone", "openai", 429, null, { "x-ratelimit-reset-requests": "2s" }, { waitMs: 2_000 }],
  ["nothing at all", "openai", 429, null, {}, { waitMs: null, unit: null, reason: "unspecified" }],
  ["a wait of 0 says nothing", "generic", 429, "", { "retry-after": "0" }, { waitMs: null }],
  ["a wait of a year neither", "generic", 429, "", { "retry-after": "31536000" }, { waitMs: null }],
  [
    "Groq: the body names requests, the headers tokens that are used up",
    "groq",
    429,
    openai("Slow down", "requests"),
    {
      "x-ratelimit-limit-tokens": "6000",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "1.4s",
    },
    { waitMs: 1_400, unit: "requests" },
  ],
  [
    "the body names requests, and of tokens something is left",
    "groq",
    429,
    openai("Slow down", "requests"),
    { "x-ratelimit-remaining-tokens": "100", "x-ratelimit-reset-tokens": "1.4s" },
    { waitMs: null, unit: "requests" },
  ],
  [
    "Groq: tokens a day",
    "groq",
    429,
    openai(
      "Rate limit reached for model `llama-3.3-70b-versatile` in organization `org_1` service tier `on_demand` on tokens per day (TPD): Limit 100000, Used 97050, Requested 3619. Please try again in 9m38.016s. Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing",
      "tokens",
    ),
    { "retry-after": "579" },
    { waitMs: 579_000, unit: "tokens", window: "day", limit: 100_000 },
  ],
  [
    "Cerebras: the code says it, the header how long",
    "cerebras",
    429,
    cerebras(
      "Tokens per minute limit exceeded - too many tokens processed.",
      "token_quota_exceeded",
    ),
    {
      "x-ratelimit-limit-tokens-minute": "60000",
      "x-ratelimit-remaining-tokens-minute": "100",
      "x-ratelimit-reset-tokens-minute": "11.382867097854614",
      "x-ratelimit-remaining-requests-day": "0",
      "x-ratelimit-reset-requests-day": "33011.38",
    },
    { waitMs: 11_382.867, unit: "tokens", window: "minute", limit: null },
  ],
  [
    "Cerebras: requests a second",
    "cerebras",
    429,
    cerebras(
      "Requests per second limit exceeded - too many requests sent.",
      "request_quota_exceeded",
    ),
    {},
    { waitMs: null, unit: "requests", window: "second" },
  ],
  [
    "Anthropic: input tokens",
    "anthropic",
    429,
    anthropic(
      "rate_limit_error",
      "This request would exceed the rate limit for your organization (org-1) of 20,000 input tokens per minute. For details, refer to: https://docs.anthropic.com/en/api/rate-limits. Please reduce the prompt length or the maximum tokens requested, or try again later.",
    ),
    { "retry-after": "23" },
    {
      waitMs: 23_000,
      unit: "input_tokens",
      window: "minute",
      limit: 20_000,
      reason: "input_tokens",
    },
  ],
  [
    "Anthropic: requests, though the advice speaks of tokens",
    "anthropic",
    429,
    anthropic(
      "rate_limit_error",
      "Number of requests has exceeded your per-minute rate limit (https://docs.anthropic.com/en/api/rate-limits); see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later.",
    ),
    {
      "anthropic-ratelimit-requests-remaining": "0",
      "anthropic-ratelimit-requests-reset": "2026-11-21T04:04:30Z",
      "anthropic-ratelimit-input-tokens-remaining": "0",
      "anthropic-ratelimit-input-tokens-reset": "2026-11-21T04:04:50Z",
    },
    { waitMs: 29_750, unit: "requests", window: "minute" },
  ],
  [
    "Anthropic: request tokens are those of the prompt",
    "anthropic",
    429,
    anthropic(
      "rate_limit_error",
      "Number of request tokens has exceeded your per-minute rate limit.",
    ),
    {},
    { unit: "input_tokens", window: "minute" },
  ],
  [
    "Anthropic: at once",
    "anthropic",
    429,
    anthropic("rate_limit_error", "Number of concurrent connections has exceeded your rate limit."),
    { "anthropic-ratelimit-requests-reset": "2026-11-21T04:04:30Z" },
    { waitMs: null, unit: "concurrency", window: null, reason: "concurrency" },
  ],
  [
    "Anthropic: too steep",
    "anthropic",
    429,
    anthropic(
      "rate_limit_error",
      "This request would exceed your organization's maximum usage increase rate for input tokens per minute.",
    ),
    { "retry-after": "5" },
    { waitMs: 5_000, unit: "input_tokens", reason: "acceleration" },
  ],
  [
    "Anthropic: a spend cap that says when it ends by waiting",
    "anthropic",
    429,
    anthropic("rate_limit_error", "…", { error_code: "workspace_spend_limit_reached" }),
    { "retry-after": "3600" },
    { waitMs: 3_600_000, reason: "spend_cap" },
  ],
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

const overloads: Case[] = [
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

const nevers: Case[] = [
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

describe.each([
  ["rate_limit", limits],
  ["overload", overloads],
  ["never", nevers],
] as const)("%s", (kind, cases) => {
  test.each([...cases])("%s", (_name, provider, status, body, headers, expected) => {
    expect(read(provider, status, body, headers)).toMatchObject({ kind, ...expected });
  });
});

describe("no refusal", () => {
  const words = "Rate limit reached: Limit 1, Used 1. Please try again in 1s.";
  test.each([
    ["200", "openai", 200, openai(words, "tokens"), {}],
    [
      "500",
      "anthropic",
      500,
      anthropic("api_error", "Internal server error"),
      { "retry-after": "3" },
    ],
    ["502", "openai", 502, "<html>Bad gateway</html>", {}],
    ["504", "openai", 504, null, {}],
    ["498 of others", "openai", 498, null, {}],
    ["a wrong request", "openai", 400, openai(words, "invalid_request_error", "invalid_value"), {}],
    [
      "one that quotes",
      "anthropic",
      400,
      anthropic("invalid_request_error", 'messages.0: "insufficient credits"'),
      {},
    ],
    ["a body too long for the server", "generic", 413, "Payload too large", {}],
    [
      "no permission",
      "github",
      403,
      { message: "Resource not accessible by integration" },
      { "x-ratelimit-remaining": "12" },
    ],
    [
      "no permission elsewhere",
      "openai",
      403,
      openai(words, "x", "model_not_found"),
      { "retry-after": "3" },
    ],
    ["a wrong key", "openai", 401, null, { "retry-after": "3" }],
  ] as [string, Provider, number, unknown, Record<string, string>][])(
    "%s",
    (_name, provider, status, body, headers) => {
      expect(read(provider, status, body, headers)).toBeNull();
    },
  );
});

describe("whatever arrives", () => {
  const statuses = fc.constantFrom(200, 400, 402, 403, 413, 429, 498, 500, 503, 529);
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom("429", "rate_limit_exceeded", "insufficient_quota", "__proto__", "constructor"),
    fc.stringMatching(
      /^(Limit|Requested|try again in|retry after|limit:|per min|\(TPM\)| |[0-9.,hms]){0,12}$/,
    ),
  );
  const { body } = fc.letrec((tie) => ({
    body: fc.oneof(
      { maxDepth: 4 },
      text,
      fc.double(),
      fc.constant(null),
      fc.array(tie("body"), { maxLength: 3 }),
      fc.dictionary(
        fc.oneof(
          fc.constantFrom(
            "error",
            "type",
            "code",
            "message",
            "details",
            "metadata",
            "headers",
            "raw",
          ),
          fc.constantFrom("violations", "quotaId", "quotaValue", "retryDelay", "X-RateLimit-Reset"),
          text,
        ),
        tie("body"),
        { maxKeys: 6 },
      ),
    ),
  }));
  const fields = fc.dictionary(
    fc.constantFrom(
      "retry-after",
      "retry-after-ms",
      "x-ratelimit-reset-tokens",
      "x-ratelimit-remaining",
      "date",
    ),
    fc.stringMatching(/^[ -~]{0,40}$/),
  );

  test("nothing is thrown and every wait is plausible", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...providers),
        statuses,
        fc.oneof(
          text,
          body.map((value) => JSON.stringify(value) ?? ""),
        ),
        fields,
        (provider, status, body, headers) => {
          const refusal = readRefusal(provider, status, new Headers(headers), body, now);
          if (refusal === null) return;
          expect(refusal.limit ?? 1).toBeGreaterThan(0);
          if (refusal.waitMs === null) return;
          expect(refusal.waitMs).toBeGreaterThan(0);
          expect(refusal.waitMs).toBeLessThanOrEqual(longestWaitMs);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  const long = (piece: string): string => piece.repeat(Math.floor(65_000 / piece.length));
  test.each([
    ["digits", long("9")],
    ["brackets", long("[")],
    ["objects", long('{"error":')],
    ["spaces", long(" ")],
    ["a message of digits", JSON.stringify(openai(`Limit ${long("9")}`, "tokens"))],
    ["a message of waits", JSON.stringify(openai(long("try again in 1.1m1.1s1."), "tokens"))],
    ["a message of commas", JSON.stringify(openai(`of ${long("1,")}`, "tokens"))],
    ["a message of tokens", JSON.stringify(openai(long("input tokens requests "), "tokens"))],
    [
      "details",
      JSON.stringify(
        google("", ...Array.from({ length: 160 }, () => quotaFailure(perMinute, perDay))),
      ),
    ],
    [
      "violations",
      JSON.stringify(google("", quotaFailure(...Array.from({ length: 300 }, () => perDay)))),
    ],
  ])("64 KB of %s take no time", (_what, body) => {
    const before = performance.now();
    readRefusal("gemini", 429, new Headers(), body, now);
    expect(performance.now() - before).toBeLessThan(25);
  });
});
