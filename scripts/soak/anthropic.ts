import type { Report } from "./report.ts";
import type { Saturation } from "./saturate.ts";
import { saturate, words } from "./saturate.ts";

const input = 100;
const output = 120;

/** Output fills first: it is counted as it is written, and the cap that clients send plays no part. */
export const anthropicQuota: Saturation = {
  flags: `--profile anthropic --rpm 1000 --input-tpm 450000 --output-tpm 60000 --output-mean ${output} --output-sd 60 --chunk-interval 5ms`,
  quota:
    "name: anthropic, domain: api.anthropic.com, provider: anthropic, algorithm: token_bucket, rpm: 1000, input_tpm: 450000, output_tpm: 60000",
  call: (n) => ({
    host: "api.anthropic.com",
    path: "/v1/messages",
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "Anthropic-Version": "2023-06-01",
      "X-Mock-Prompt-Tokens": `${input}`,
    },
    body: JSON.stringify({
      model: "claude-sonnet-4-5",
      messages: [{ role: "user", content: words(input - 10) }],
      max_tokens: 4_096,
      stream: n % 2 === 0,
    }),
  }),
  limit: 60_000,
  perCall: output,
  perExternal: output,
  notCounted: input,
  notCountedOfExternal: 256,
};

/** Anthropic at twice its quota. */
export function anthropic(report: Report): Promise<void> {
  return saturate(report, anthropicQuota, null);
}
