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
/** Clients come one after the other: those that wait when caps begin to be lowered keep what they asked for. */
const joinMs = 60_000;
const countedMs = 90_000;

/**
 * Clients that always ask for 32,000 tokens of output and get a few hundred after ten seconds: passed through, each
 * holds 32,000 of a million meanwhile.
 */
export async function rightSize(report: Report): Promise<void> {
  const [plain, sized] = await Promise.all([largeCaps(false), largeCaps(true)]);
  for (const { rejected } of [plain, sized]) report.atMost("429 from the upstream", rejected, 0);
  report.note(`a minute: ${plain.perMinute} as asked, ${sized.perMinute} right-sized`);
  report.note(`until then: ${plain.before} and ${sized.before}`);
  report.atLeast("times the throughput of 32,000", sized.perMinute / plain.perMinute, 5);
  report.atMost("share of answers that were cut", sized.cut / sized.answered, 0.001);
}

interface Served {
  readonly perMinute: number;
  /** Answers before those that were counted, and in all. */
  readonly before: number;
  readonly answered: number;
  readonly cut: number;
  readonly rejected: number;
}

async function largeCaps(right: boolean): Promise<Served> {
  using at = folder();
  await using provider = await startProvider(
    "--rpm 10000 --rpd 0 --tpm 1000000 --output-mean 400 --output-sd 200 --latency 10s --jitter 2s --chunk-tokens 200",
  );
  const yaml = `quotas: [{ name: cerebras, domain: api.cerebras.ai, provider: cerebras, algorithm: token_bucket, rpm: 10000, tpm: 1000000, right_size_max_tokens: ${right}, max_queue_depth: 100000, upstream: "${provider.url}" }]\n`;
  await using proxy = await startProxy(yaml, { at, args: ["--log-level", "warn"] });
  const start = performance.now();
  const end = start + joinMs + countedMs;
  let before = 0;
  let answered = 0;
  let cut = 0;
  let isOver = false;
  const client = async (n: number): Promise<void> => {
    await Bun.sleep((n * joinMs) / clients);
    while (!isOver) {
      const answer = await ask(proxy.port, call(1, largestCap));
      if (isOver || answer.status !== 200) return;
      answered++;
      if (performance.now() < start + joinMs) before++;
      if (answer.text().includes('"length"')) cut++;
    }
  };
  // They end with the proxy.
  for (let n = 0; n < clients; n++) void client(n).catch(() => {});
  await Bun.sleep(end - performance.now());
  isOver = true;
  const { rejected_429: rejected } = await provider.stats();
  const perMinute = Math.round((answered - before) / (countedMs / 60_000));
  return { perMinute, before, answered, cut, rejected };
}
