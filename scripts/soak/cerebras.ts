import { ask } from "../../test/e2e/client.ts";
import { folder, startProxy } from "../../test/e2e/program.ts";
import { startProvider } from "./provider.ts";
import type { Report } from "./report.ts";
import type { Saturation } from "./saturate.ts";
import { saturate, words } from "./saturate.ts";

const input = 80;
const output = 120;
const limit = 100_000;

function call(n: number, cap: number): ReturnType<Saturation["call"]> {
  return {
    host: "api.cerebras.ai",
    path: "/v1/chat/completions",
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Mock-Prompt-Tokens": `${input}` },
    body: JSON.stringify({
      model: "llama3.1-8b",
      messages: [{ role: "user", content: words(input - 10) }],
      max_completion_tokens: cap,
      stream: n % 2 === 0,
    }),
  };
}

/** Tokens fill first, reserved with the cap and revised to what was used. */
export const cerebrasQuota: Saturation = {
  flags: `--rpm 1000 --tpm ${limit} --output-mean ${output} --output-sd 60 --chunk-interval 5ms`,
  quota: `name: cerebras, domain: api.cerebras.ai, provider: cerebras, algorithm: token_bucket, rpm: 1000, tpm: ${limit}`,
  call: (n) => call(n, 400),
  limit,
  perCall: input + output,
  perExternal: 256 + output,
  notCounted: 0,
  notCountedOfExternal: 0,
};

/** Cerebras at twice its quota. */
export function cerebras(report: Report): Promise<void> {
  return saturate(report, cerebrasQuota, null);
}

const largestCap = 32_000;
const clients = 400;
const rightSizeMs = 150_000;

/**
 * Clients that always ask for 32,000 tokens of output and get a few hundred after ten seconds: passed through, each
 * holds 32,000 of a million meanwhile.
 */
export async function rightSize(report: Report): Promise<void> {
  const served = await Promise.all([largeCaps(false), largeCaps(true)]);
  const [plain = 0, sized = 0] = served.map(({ answered }) => answered);
  for (const { rejected } of served) report.atMost("429 from the upstream", rejected, 0);
  const cut = served[1]?.cut ?? 0;
  report.note(`${plain} answers as asked, ${sized} right-sized, of which ${cut} were cut`);
  report.atLeast("times the throughput of passing 32,000 through", sized / plain, 5);
  report.atMost("share of answers that were cut", cut / sized, 0.001);
}

async function largeCaps(
  right: boolean,
): Promise<{ answered: number; rejected: number; cut: number }> {
  using at = folder();
  await using provider = await startProvider(
    "--rpm 1000 --tpm 1000000 --output-mean 400 --output-sd 200 --latency 10s --jitter 2s",
  );
  const yaml = `quotas: [{ name: cerebras, domain: api.cerebras.ai, provider: cerebras, algorithm: token_bucket, rpm: 1000, tpm: 1000000, right_size_max_tokens: ${right}, max_queue_depth: 100000, upstream: "${provider.url}" }]\n`;
  await using proxy = await startProxy(yaml, { at, args: ["--log-level", "warn"] });
  const start = performance.now();
  let answered = 0;
  let cut = 0;
  const client = async (): Promise<void> => {
    for (let n = 0; performance.now() - start < rightSizeMs; n++) {
      const what = { ...call(1, largestCap) };
      const left = rightSizeMs - (performance.now() - start);
      const headers = { ...what.headers, "X-Cooldown-Timeout": `${Math.ceil(left)}ms` };
      const answer = await ask(proxy.port, { ...what, headers });
      if (answer.status !== 200 || performance.now() - start > rightSizeMs) continue;
      answered++;
      if (answer.text().includes('"length"')) cut++;
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return { answered, rejected: (await provider.stats()).rejected_429, cut };
}
