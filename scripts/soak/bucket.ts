import { ask } from "../../test/e2e/client.ts";
import { folder, startProxy } from "../../test/e2e/program.ts";
import { chat } from "./chat.ts";
import { startProvider } from "./provider.ts";
import type { Report } from "./report.ts";

const rpm = 240;
const tokens = 60_000;
const runMs = 100_000;

/** A provider with continuous token buckets, calls streamed and not, with and without a bound on their output. */
export async function bucket(report: Report): Promise<void> {
  using at = folder();
  await using provider = await startProvider(
    `--rpm ${rpm} --rpd 0 --tpm ${tokens} --chunk-interval 5ms --output-mean 120 --output-sd 60 --assumed-output 400`,
  );
  await using proxy = await startProxy(
    `quotas:
  - { name: cerebras, domain: api.cerebras.ai, provider: cerebras, algorithm: token_bucket, rpm: ${rpm}, tpm: ${tokens}, max_queue_depth: 1000, upstream: "${provider.url}" }
`,
    { at },
  );
  const start = performance.now();
  const statuses = new Map<string, number>();
  const client = async (n: number): Promise<void> => {
    for (let round = n; performance.now() - start < runMs; round++) {
      const left = Math.max(1_000, runMs - (performance.now() - start));
      const options = { stream: round % 2 === 0, timeoutMs: left };
      const answer = await ask(proxy.port, chat(20 + (round % 7) * 30, 400, options));
      const key = `${answer.status} ${answer.header("x-cooldown-error") ?? ""}`.trim();
      statuses.set(key, (statuses.get(key) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: 40 }, (_, n) => client(n)));
  const stats = await provider.stats();
  const minutes = (performance.now() - start) / 60_000;
  report.note(JSON.stringify(Object.fromEntries(statuses)));
  report.atMost("429 from the upstream", stats.rejected_429, 0);
  const requestShare = stats.admitted / (rpm * (1 + minutes));
  const tokenShare = stats.tokens_used / (tokens * (1 + minutes));
  report.note(
    `requests ${requestShare.toFixed(3)}, tokens ${tokenShare.toFixed(3)} of what the buckets gave`,
  );
  report.atLeast("share of the tighter bucket used", Math.max(requestShare, tokenShare), 0.95);
}
