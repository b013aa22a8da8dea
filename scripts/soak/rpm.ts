import { ask } from "../../test/e2e/client.ts";
import { folder, startProxy } from "../../test/e2e/program.ts";
import { chat } from "./chat.ts";
import { peak, startProvider } from "./provider.ts";
import type { Report } from "./report.ts";

/** 300 requests at once on 120 a minute: all are answered, none too early, none too late. */
export async function rpm(report: Report): Promise<void> {
  using at = folder();
  await using provider = await startProvider(
    "--rpm 120 --rpd 0 --tpm 0 --algorithm sliding_window",
  );
  const yaml = `cerebras_limits: { rpm_limit: 120, tpm_limit: 100000000, max_queue_depth: 1000, upstream: "${provider.url}" }\n`;
  await using proxy = await startProxy(yaml, { at });
  const answers = await Promise.all(
    Array.from({ length: 300 }, () => ask(proxy.port, chat(5, 50))),
  );
  const log = await provider.log();
  const start = log[0]?.at ?? 0;
  const between = (from: number, to: number): number =>
    log.filter((entry) => entry.at - start >= from && entry.at - start < to).length;
  report.check(
    "answers of 200",
    answers.every(({ status }) => status === 200),
    answers.filter(({ status }) => status === 200).length,
  );
  report.atMost("429 from the upstream", (await provider.stats()).rejected_429, 0);
  report.atMost("most in any 60 s", peak(log, 60_000), 120);
  report.atLeast("share used in the first second", between(0, 1_000) / 120, 0.99);
  const second = log.find((entry) => entry.at - start >= 30_000)?.at ?? 0;
  report.note(
    `the second window's first request came after ${((second - start) / 1_000).toFixed(2)} s`,
  );
  report.atLeast(
    "share used in the second after that",
    between(second - start, second - start + 1_000) / 120,
    0.99,
  );
  report.atMost("seconds from window to window", (second - start) / 1_000, 61);
}
