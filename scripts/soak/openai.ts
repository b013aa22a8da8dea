import type { Report } from "./report.ts";
import type { Saturation } from "./saturate.ts";
import { saturate, words } from "./saturate.ts";

const cap = 500;

/** Tokens fill first. What the provider counts is the cap, which stays counted when the answer is shorter. */
export const openaiQuota: Saturation = {
  flags:
    "--profile openai --rpm 1000 --tpm 200000 --output-mean 120 --output-sd 60 --chunk-interval 5ms",
  quota:
    "name: openai, domain: api.openai.com, provider: openai, algorithm: token_bucket, rpm: 1000, tpm: 200000",
  call: (n) => ({
    host: "api.openai.com",
    path: "/v1/chat/completions",
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: words(40 + (n % 7) * 20) }],
      max_completion_tokens: cap,
      ...(n % 2 === 0 ? { stream: true, stream_options: { include_usage: true } } : {}),
    }),
  }),
  limit: 200_000,
  perCall: cap,
  perExternal: 256,
  notCounted: 0,
  notCountedOfExternal: 0,
};

/** OpenAI at twice its quota. */
export function openai(report: Report): Promise<void> {
  return saturate(report, openaiQuota, null);
}
