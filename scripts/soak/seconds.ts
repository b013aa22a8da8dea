import { ask } from "../../test/e2e/client.ts";
import { folder, startProxy } from "../../test/e2e/program.ts";
import { chat } from "./chat.ts";
import { peak, spans, startProvider } from "./provider.ts";
import type { Report } from "./report.ts";

const runMs = 80_000;

/** Two windows at once: 20 a second and 600 a minute. */
export async function seconds(report: Report): Promise<void> {
  using at = folder();
  await using provider = await startProvider(
    "--rps 20 --rpm 600 --rpd 0 --tpm 0 --algorithm sliding_window",
  );
  await using proxy = await startProxy(
    `quotas:
  - { name: q, domain: api.cerebras.ai, provider: cerebras, rps: 20, rpm: 600, arrival_margin: 1s, max_queue_depth: 1000, upstream: "${provider.url}" }
`,
    { at },
  );
  const start = performance.now();
  const client = async (): Promise<void> => {
    while (performance.now() - start < runMs) await ask(proxy.port, chat(5, 20));
  };
  void Array.from({ length: 60 }, () => client().catch(() => {}));
  await Bun.sleep(runMs);
  const log = await provider.log();
  report.atMost("429 from the upstream", (await provider.stats()).rejected_429, 0);
  report.atMost("most in any second", peak(log, 1_000), 20);
  report.atMost("most in any 60 s", peak(log, 60_000), 600);
  report.atLeast("share of the minute used", (spans(log, 60_000, 1)[0] ?? 0) / 600, 0.99);
  const busy = spans(log, 20_000, 1)[0] ?? 0;
  report.note(`${busy} in the first 20 s, of 400 that the seconds alone would allow`);
}
