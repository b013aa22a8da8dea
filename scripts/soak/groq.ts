import type { Report } from "./report.ts";
import type { Saturation } from "./saturate.ts";
import { saturate, words } from "./saturate.ts";

const input = 100;
const output = 120;
const limit = 60_000;

/** Tokens a minute fill first, reserved with the cap and revised; limits of a day stand beside them. */
export const groqQuota: Saturation = {
  flags: `--profile groq --rpm 600 --rpd 14400 --tpm ${limit} --tpd 500000 --output-mean ${output} --output-sd 60 --chunk-interval 5ms`,
  quota: `name: groq, domain: api.groq.com, provider: groq, algorithm: token_bucket, rpm: 600, rpd: 14400, tpm: ${limit}, tpd: 500000`,
  call: (n) => ({
    host: "api.groq.com",
    path: "/openai/v1/chat/completions",
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Mock-Prompt-Tokens": `${input}` },
    body: JSON.stringify({
      model: "llama-3.1-8b-instant",
      messages: [{ role: "user", content: words(input - 10) }],
      max_completion_tokens: 400,
      stream: n % 2 === 0,
    }),
  }),
  limit,
  perCall: input + output,
  perExternal: 256 + output,
  notCounted: 0,
  notCountedOfExternal: 0,
};

/** Groq at twice its quota. */
export function groq(report: Report): Promise<void> {
  return saturate(report, groqQuota, null);
}
