import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Figure, Findings } from "./figure.ts";
import { median, quantile } from "./figure.ts";
import type { Program } from "./program.ts";
import { startCooldown, startServer } from "./program.ts";

const rounds = 5;
const largeBytes = 100_000;
const largePerRound = 10;
const host = "stall.test";
const huge = 1_000_000_000;

/**
 * Whether counting the tokens of 100 KB holds anybody else up: latency of small requests one after the other, while
 * large ones arrive 20 ms apart, beside the same with large ones whose tokens nobody counts. What both share (reading
 * a body, a busy machine) is not counting.
 */
export async function benchStall(): Promise<Findings> {
  const folder = mkdtempSync(join(tmpdir(), "cooldown-bench-"));
  const running: Program[] = [];
  try {
    const upstream = await startServer("upstream");
    running.push(upstream);
    const config = join(folder, "config.yaml");
    writeFileSync(
      config,
      `quotas:
  - { name: counted, domain: ${host}, rpm: ${huge}, tpm: ${huge}, upstream: "${upstream.url}" }
  - { name: plain, domain: plain.test, rpm: ${huge}, upstream: "${upstream.url}" }
`,
    );
    const program = await startCooldown(config, "--store", ":memory:");
    running.push(program);
    const counted: number[] = [];
    const plain: number[] = [];
    // The first round starts the thread that counts, and warms up.
    for (let round = -1; round < rounds; round++) {
      const worst = {
        counted: await slowest(program, host),
        plain: await slowest(program, "plain.test"),
      };
      if (round < 0) continue;
      counted.push(worst.counted);
      plain.push(worst.plain);
    }
    const figure = (name: string, value: number, atMost: number | null): Figure => ({
      name,
      value,
      unit: "ms",
      atMost,
    });
    return {
      figures: [
        figure("p99 of small requests beside 100 KB that pass uncounted", median(plain), null),
        figure("p99 of small requests beside 100 KB that are counted", median(counted), null),
        figure("what counting adds", Math.max(0, median(counted) - median(plain)), 5),
      ],
      skipped: [],
    };
  } finally {
    await Promise.all(running.map((program) => program.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The 99th percentile of the latency of small requests, ms, while large ones go to `largeHost`. */
async function slowest({ url }: Program, largeHost: string): Promise<number> {
  let done = false;
  const large = (async () => {
    for (let i = 0; i < largePerRound; i++) {
      const answer = post(url, largeHost, textOf(largeBytes));
      await Bun.sleep(20);
      await answer;
    }
    done = true;
  })();
  const latencies: number[] = [];
  while (!done) {
    const start = performance.now();
    await post(url, host, "A short question.");
    latencies.push(performance.now() - start);
  }
  await large;
  return quantile(latencies, 0.99);
}

async function post(url: string, to: string, content: string): Promise<void> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { host: to, "content-type": "application/json" },
    body: JSON.stringify({
      model: "gpt-4o",
      max_completion_tokens: 16,
      messages: [{ role: "user", content }],
    }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status}: ${text}`);
}

/** Prose that was not there before, so that no count of it is kept. */
function textOf(bytes: number): string {
  const words: string[] = [];
  for (let length = 0; length < bytes;) {
    const word = Math.floor(Math.random() * 2 ** 32).toString(36);
    words.push("until the quota has room for", word);
    length += word.length + 30;
  }
  return words.join(" ");
}
