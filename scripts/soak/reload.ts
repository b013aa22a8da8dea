import { call } from "../../test/e2e/client.ts";
import { folder, startProxy, until } from "../../test/e2e/program.ts";
import { startUpstream } from "../../test/e2e/upstream.ts";
import type { Report } from "./report.ts";

/** A saturated 120 a minute, lowered to 60 after 20 s and raised again after 90 s by editing the file. */
export async function reload(report: Report): Promise<void> {
  using at = folder();
  const countedAt: number[] = [];
  await using upstream = startUpstream(async () => {
    const latencyMs = 50 + Math.random() * 350;
    const beforeMs = Math.random() * latencyMs;
    await Bun.sleep(beforeMs);
    countedAt.push(performance.now());
    await Bun.sleep(latencyMs - beforeMs);
    return new Response("ok");
  });
  const yaml = (rpm: number): string =>
    `quotas: [{ name: q, domain: api.test, provider: generic, rpm: ${rpm}, max_queue_depth: 1000, upstream: "${upstream.url}" }]\n`;
  await using proxy = await startProxy(yaml(120), { at });
  const start = performance.now();
  const sleepTo = (ms: number): Promise<void> => Bun.sleep(start + ms - performance.now());
  const answers: Promise<{ status: number }>[] = [];
  for (let n = 0; n < 250; n++) {
    // One after the other, so that it is known who came first.
    const { answer } = call(proxy.port, { host: "api.test", path: `/${n}` });
    answers.push(answer);
    await until(async () => {
      const { queue_depth } = await proxy.quota("q");
      return upstream.seen.length + queue_depth > n;
    }, `request ${n} is in`);
  }
  await sleepTo(20_000);
  proxy.configure(yaml(60));
  await until(async () => (await proxy.quota("q")).windows[0]?.limit === 60, "60 is in force");
  const loweredAt = performance.now();
  await sleepTo(90_000);
  const before = countedAt.length;
  const raisedAt = performance.now();
  proxy.configure(yaml(120));
  await until(() => countedAt.length >= before + 60, "raising lets 60 more go", 2_000).catch(
    () => {},
  );
  report.atLeast("let go at once by raising", countedAt.length - before, 59);
  const statuses = (await Promise.all(answers)).map(({ status }) => status);

  report.check(
    "answers of 200",
    statuses.every((status) => status === 200),
    statuses.length,
  );
  const most = (from: number, to: number): number =>
    Math.max(
      0,
      ...countedAt.map((time, n) =>
        time < from || time >= to
          ? 0
          : countedAt.filter((other, m) => m <= n && other > time - 60_000).length,
      ),
    );
  report.atMost("most in any 60 s", most(0, Infinity), 120);
  report.atMost("most in any 60 s while lowered", most(loweredAt + 500, raisedAt), 60);
  const times = upstream.seen.map(({ at: time, target }) => ({ time, n: Number(target.slice(1)) }));
  const late = times.map(({ time, n }, index) =>
    Math.max(0, ...times.slice(index + 1).map((other) => (other.n < n ? other.time - time : 0))),
  );
  report.atMost("ms by which a later one came first", Math.max(...late), 50);
}
