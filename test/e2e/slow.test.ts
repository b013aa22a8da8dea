import { expect, setDefaultTimeout, test } from "bun:test";
import { ask } from "./client.ts";
import { folder, runProgram, startProxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// These wait most of the time, so they wait together.
setDefaultTimeout(60_000);

test.concurrent("an answer that takes 14 s arrives", async () => {
  using at = folder();
  await using upstream = startUpstream(async () => {
    await Bun.sleep(14_000);
    return new Response("late");
  });
  await using proxy = await startProxy(
    `rate_limits: [{ domain: api.test, upstream: "${upstream.url}" }]\n`,
    { at },
  );
  const answer = await ask(proxy.port, { host: "api.test" });
  expect([answer.status, answer.text()]).toEqual([200, "late"]);
});

test.concurrent("a wait that cannot succeed answers QUEUE_TIMEOUT within 0.5 s, its Retry-After exact to a second", async () => {
  using at = folder();
  await using upstream = startUpstream();
  // The bucket's next turn is 8 s after the last, and nothing can be refunded.
  const yaml = `rate_limits: [{ domain: api.test, requests_per_second: 0.125, upstream: "${upstream.url}" }]\n`;
  await using proxy = await startProxy(yaml, { at });
  await ask(proxy.port, { host: "api.test" });
  const turn = performance.now() + 8_000;
  for (const headers of [
    { "X-Cooldown-Timeout": "2s" },
    { "X-Cooldown-Timeout": "500ms" },
    { "X-Stainless-Read-Timeout": "3" },
    { "X-Stainless-Timeout": "3" },
  ]) {
    const start = performance.now();
    const refused = await ask(proxy.port, { host: "api.test", headers });
    expect(performance.now() - start).toBeLessThan(500);
    expect([refused.status, refused.json().error.code]).toEqual([429, "QUEUE_TIMEOUT"]);
    const exact = (turn - start) / 1_000;
    expect(Math.abs(Number(refused.header("retry-after")) - exact)).toBeLessThan(1.05);
  }
  const last = await ask(proxy.port, {
    host: "api.test",
    headers: { "X-Cooldown-Timeout": "20s" },
  });
  expect(last.status).toBe(200);
  expect(Math.abs(performance.now() - turn)).toBeLessThan(200);
});

test.concurrent("0.5/s is one each two seconds", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = `rate_limits: [{ domain: api.test, requests_per_second: 0.5, upstream: "${upstream.url}" }]\n`;
  await using proxy = await startProxy(yaml, { at });
  await Promise.all(Array.from({ length: 4 }, () => ask(proxy.port, { host: "api.test" })));
  const times = upstream.seen.map(({ at: time }) => time);
  expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeWithin(6_000 * 0.98, 6_000 * 1.02);
});

test.concurrent("the demo needs no network and shows a queue that drains without a 429", async () => {
  using at = folder();
  const { code, out, err } = await runProgram(["demo"], { cwd: at.path });
  expect([code, err]).toEqual([0, ""]);
  expect(out).toMatch(/429/);
}, 40_000);
