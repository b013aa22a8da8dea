import { ask } from "../../test/e2e/client.ts";
import type { Proxy } from "../../test/e2e/program.ts";
import { folder, startProxy } from "../../test/e2e/program.ts";
import { chat } from "./chat.ts";
import { peak, spans, startProvider } from "./provider.ts";
import type { Report } from "./report.ts";

const limit = 900;
const runMs = 125_000;

/** Three kill -9 in the first four seconds under load, each followed by a restart on the same store. */
export async function crash(report: Report): Promise<void> {
  using at = folder();
  await using provider = await startProvider(
    `--rpm ${limit} --rpd 0 --tpm 0 --algorithm sliding_window`,
  );
  const yaml = `cerebras_limits: { rpm_limit: ${limit}, tpm_limit: 100000000, max_queue_depth: 1000, upstream: "${provider.url}" }\n`;
  let proxy: Proxy = await startProxy(yaml, { at });
  const { port } = proxy;
  const start = performance.now();
  let refused = 0;
  const client = async (): Promise<void> => {
    while (performance.now() - start < runMs) {
      try {
        const { status } = await ask(port, chat(5, 50, { timeoutMs: 50_000 }));
        if (status !== 200) {
          refused++;
          await Bun.sleep(1_000);
        }
      } catch {
        await Bun.sleep(50);
      }
    }
  };
  const clients = Promise.all(Array.from({ length: 60 }, client));
  for (const killAt of [1_000, 2_300, 3_600]) {
    await Bun.sleep(Math.max(0, killAt - (performance.now() - start)));
    proxy.kill("SIGKILL");
    await proxy.ended;
    const { admitted } = await provider.stats();
    proxy = await startProxy(yaml, { at, args: ["--port", String(port)] });
    const [window] = (await proxy.quota("cerebras")).windows;
    report.note(
      `killed after ${killAt} ms: ${admitted} counted by then, ${window?.used} used and ${window?.reserved} open after the restart`,
    );
  }
  await clients;
  await using last = proxy;
  const log = await provider.log();
  report.atMost("429 from the upstream", (await provider.stats()).rejected_429, 0);
  report.atMost("most in any 60 s", peak(log, 60_000), limit);
  for (const [n, count] of spans(log, 60_000, 2).entries()) {
    report.atLeast(`share used in window ${n + 1}`, count / limit, 0.95);
  }
  report.note(`${refused} refused by their own timeout of 50 s; pid ${last.pid}`);
}
