import { ask } from "../../test/e2e/client.ts";
import { folder, startProxy } from "../../test/e2e/program.ts";
import { chat } from "./chat.ts";
import { peak, spans, startProvider } from "./provider.ts";
import type { Report } from "./report.ts";

const limit = 100_000;
const runMs = 185_000;

/** 60 clients in a loop, one in five large, on tokens that are reserved in full and used to a quarter. */
export async function tpm(report: Report): Promise<void> {
  using at = folder();
  await using provider = await startProvider(
    `--rpm 0 --rpd 0 --tpm ${limit} --algorithm sliding_window --output-fraction 0.25`,
  );
  const yaml = `cerebras_limits: { rpm_limit: 1000000, tpm_limit: ${limit}, max_queue_depth: 1000, upstream: "${provider.url}" }\n`;
  await using proxy = await startProxy(yaml, { at });
  const waits = { small: [] as number[], large: [] as number[] };
  const refused: number[] = [];
  const end = performance.now() + runMs;
  const client = async (n: number): Promise<void> => {
    for (let round = n; performance.now() < end; round++) {
      const size = round % 5 === 0 ? "large" : "small";
      const options = { timeoutMs: Math.max(1_000, end - performance.now()) };
      const request = size === "large" ? chat(1_200, 2_000, options) : chat(100, 400, options);
      const answer = await ask(proxy.port, request);
      if (answer.status === 200) waits[size].push(Number(answer.header("x-cooldown-wait")));
      else if (answer.header("x-cooldown-error") !== "QUEUE_TIMEOUT") refused.push(answer.status);
    }
  };
  await Promise.all(Array.from({ length: 60 }, (_, n) => client(n)));

  const log = await provider.log();
  const stats = await provider.stats();
  const tokens = (entry: { tokens: number }): number => entry.tokens;
  report.atMost("429 from the upstream", stats.rejected_429, 0);
  report.atMost("most tokens in any 60 s", peak(log, 60_000, tokens), limit);
  const full = Math.floor(runMs / 60_000);
  for (const [n, sum] of spans(log, 60_000, full, tokens).entries()) {
    report.atLeast(`share of the tokens really used in window ${n + 1}`, sum / limit, 0.97);
  }
  report.check(
    "refused for another reason than the end of the run",
    refused.length === 0,
    refused.length,
  );
  report.atLeast("large requests served", waits.large.length, 30);
  for (const [size, times] of Object.entries(waits)) report.note(`${size}: ${describe(times)}`);
  report.atMost("longest wait of a large request, s", Math.max(...waits.large), 125);
}

function describe(times: number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.floor(share * (sorted.length - 1))] ?? 0).toFixed(1);
  return `${times.length} served, waited ${at(0.5)} s (median), ${at(0.95)} s (95 %), ${at(1)} s (longest)`;
}
