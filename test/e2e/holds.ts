/** What an upstream answers, made at the moment when it answers. */
export type Refusing = () => Response;

export interface Hold {
  readonly name: string;
  readonly provider: string;
  /** The wait that it asks for, ms; a function where only the moment tells. */
  readonly waitMs: number | ((at: number) => number);
  readonly refuse: Refusing;
  readonly limits?: string;
}

/** A refusal with these headers. */
export const refusal = (
  headers: Record<string, string>,
  body: unknown = {},
  status = 429,
): Refusing => {
  return () => Response.json(body, { status, headers });
};
/** As OpenAI says it. */
export const openAiError = (message: string, code = "rate_limit_exceeded"): unknown => ({
  error: { message, type: "requests", param: null, code },
});
/** The first whole second at least 1.2 s from `at`, ms since the epoch. */
const wholeSecond = (at: number): number => Math.ceil((at + 1_200) / 1_000) * 1_000;
const untilWhole = (at: number): number => wholeSecond(at) - at;
/** Limits that nothing here meets. */
export const limited = "rpm: 1000, tpm: 1000000";

/** Everything that says how long to wait. */
export const holds: readonly Hold[] = [
  {
    name: "Retry-After in seconds",
    provider: "generic",
    waitMs: 2_000,
    refuse: refusal({ "Retry-After": "2" }),
  },
  {
    name: "retry-after-ms before Retry-After",
    provider: "openai",
    waitMs: 1_500,
    refuse: refusal({ "retry-after-ms": "1500", "Retry-After": "3" }),
  },
  {
    name: "Retry-After as an HTTP-date",
    provider: "generic",
    waitMs: untilWhole,
    refuse: () =>
      new Response("slow down", {
        status: 429,
        headers: { "Retry-After": new Date(wholeSecond(Date.now())).toUTCString() },
      }),
  },
  {
    name: "OpenAI's reset headers alone",
    provider: "openai",
    waitMs: 1_200,
    refuse: refusal(
      {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1.2s",
        "x-ratelimit-limit-tokens": "1000000",
        "x-ratelimit-remaining-tokens": "999000",
        "x-ratelimit-reset-tokens": "6ms",
      },
      openAiError("Rate limit reached for requests"),
    ),
  },
  {
    name: "Anthropic's reset headers alone",
    provider: "anthropic",
    limits: "rpm: 1000, input_tpm: 1000000",
    waitMs: untilWhole,
    refuse: () =>
      Response.json(
        { type: "error", error: { type: "rate_limit_error", message: "Number of request tokens" } },
        {
          status: 429,
          headers: {
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": new Date(wholeSecond(Date.now())).toISOString(),
          },
        },
      ),
  },
  {
    name: "Groq's reset headers alone",
    provider: "groq",
    waitMs: 1_250,
    refuse: refusal({
      "x-ratelimit-limit-tokens": "1000000",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "1.25s",
    }),
  },
  {
    name: "Cerebras's reset headers alone",
    provider: "cerebras",
    waitMs: 1_337,
    refuse: refusal({
      "x-ratelimit-limit-tokens-minute": "1000000",
      "x-ratelimit-remaining-tokens-minute": "0",
      "x-ratelimit-reset-tokens-minute": "1.337",
    }),
  },
  {
    name: "Azure's reset headers alone",
    provider: "azure",
    limits: "tpm: 1000000",
    waitMs: 1_000,
    refuse: refusal({
      "x-ratelimit-limit-tokens": "1000000",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "1",
    }),
  },
  {
    name: "OpenRouter's reset header alone",
    provider: "openrouter",
    waitMs: 1_100,
    refuse: () =>
      Response.json(openAiError("Rate limit exceeded"), {
        status: 429,
        headers: {
          "X-RateLimit-Limit": "1000",
          "X-RateLimit-Remaining": "0",
          "X-RateLimit-Reset": String(Date.now() + 1_100),
        },
      }),
  },
  {
    name: "GitHub's reset header alone, with a 403",
    provider: "github",
    limits: "rph: 5000",
    waitMs: untilWhole,
    refuse: () =>
      Response.json(
        { message: "API rate limit exceeded" },
        {
          status: 403,
          headers: {
            "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": String(wholeSecond(Date.now()) / 1_000),
            "X-RateLimit-Resource": "core",
          },
        },
      ),
  },
  {
    name: "OpenAI's text alone",
    provider: "openai",
    waitMs: 1_200,
    refuse: refusal(
      {},
      openAiError(
        "Rate limit reached for m in organization o on tokens per min (TPM): Limit 1000000, Used 999999, Requested 300. Please try again in 1.2s.",
      ),
    ),
  },
  {
    name: "Gemini's retryDelay",
    provider: "gemini",
    limits: "rpm: 1000",
    waitMs: 1_300,
    refuse: refusal(
      {},
      {
        error: {
          code: 429,
          status: "RESOURCE_EXHAUSTED",
          message: "You exceeded your current quota.",
          details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "1.3s" }],
        },
      },
    ),
  },
  {
    name: "Mistral's Retry-After, compressed body",
    provider: "mistral",
    waitMs: 1_000,
    refuse: () =>
      new Response(Bun.gzipSync(JSON.stringify({ message: "Requests rate limit exceeded" })), {
        status: 429,
        headers: { "Retry-After": "1", "Content-Encoding": "gzip" },
      }),
  },
];
