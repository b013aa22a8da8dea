import { mischievous, randomFrom, startMischief } from "../../test/e2e/mischief.ts";
import type { Proxy } from "../../test/e2e/program.ts";
import { folder, memoryOf, startProxy, until } from "../../test/e2e/program.ts";
import type { Report } from "./report.ts";

const killEveryMs = 6_000;
const kills = 5;
const calmMs = 60_000;

/** Clients that leave, an upstream without manners, kill -9: nothing may stay reserved, and memory may not grow. */
export async function chaos(report: Report): Promise<void> {
  using at = folder();
  await using upstream = await startMischief();
  const yaml = `quotas:
  - { name: q, domain: api.test, provider: generic, rpm: 10000000, tpm: 1000000000, max_concurrency: 20, max_queue_depth: 1000, upstream: "${upstream.url}" }
`;
  let proxy: Proxy = await startProxy(yaml, { at });
  const { port } = proxy;
  const random = randomFrom(7);
  const ends = new Map<string, number>();
  let isOver = false;
  const client = async (): Promise<void> => {
    while (!isOver) {
      const end = await mischievous(port, random, 0.4);
      ends.set(end, (ends.get(end) ?? 0) + 1);
      // Also the pause that a client takes while the proxy is down.
      await Bun.sleep(20);
    }
  };
  const clients = Promise.all(Array.from({ length: 60 }, client));
  for (let kill = 0; kill < kills; kill++) {
    await Bun.sleep(killEveryMs);
    proxy.kill("SIGKILL");
    await proxy.ended;
    proxy = await startProxy(yaml, { at, args: ["--port", String(port)] });
  }
  await using last = proxy;
  await Bun.sleep(calmMs / 4);
  const early = memoryOf(last.pid).now;
  await Bun.sleep((3 * calmMs) / 4);
  const late = memoryOf(last.pid).now;
  isOver = true;
  await clients;
  report.note(JSON.stringify(Object.fromEntries(ends)));
  report.atMost("MB more memory after 45 s more of it", (late - early) / 1e6, 30);
  // What was in flight at a kill stays charged until its window ends.
  await until(
    async () => {
      const { windows, queue_depth } = await last.quota("q");
      return queue_depth === 0 && windows.every(({ reserved }) => reserved === 0);
    },
    "nothing waits and nothing is reserved",
    70_000,
  );
  report.check("nothing waits and nothing is reserved", true, "yes");
  await until(
    async () => (await last.quota("q")).windows.every(({ used }) => used === 0),
    "a minute later nothing is used",
    70_000,
  );
  report.check("a minute later nothing is used", true, "yes");
  report.check("no error of our own in the log", !/"level":"error"/.test(last.err), "none");
}
