import { expect, setDefaultTimeout, test } from "bun:test";
import { ask, brokenOff, call } from "./client.ts";
import type { Proxy } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import { gate, startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

function quota(upstream: string, rest: string): string {
  return `quotas: [{ name: q, domain: api.test, provider: generic, upstream: "${upstream}", max_queue_depth: 1000, ${rest} }]\n`;
}

test("after kill -9 nothing that had left is forgotten: what was settled, and what was in flight", async () => {
  using at = folder();
  const { answer, held, open } = gate();
  await using upstream = startUpstream((request, seen) =>
    seen.target === "/held" ? answer(request, seen) : new Response("ok"),
  );
  const yaml = quota(upstream.url, "rpm: 20");
  const before = await startProxy(yaml, { at });
  for (let n = 0; n < 9; n++) await ask(before.port, { host: "api.test" });
  const lost = [1, 2, 3].map(() => call(before.port, { host: "api.test", path: "/held" }));
  await until(() => held.length === 3, "three are in flight");
  before.kill("SIGKILL");
  await before.ended;
  for (const { answer: never } of lost) await brokenOff(never);

  await using after = await startProxy(yaml, { at });
  const [window] = (await after.quota("q")).windows;
  expect((window?.used ?? 0) + (window?.reserved ?? 0)).toBe(12);
  open();
  for (let n = 0; n < 8; n++)
    expect((await ask(after.port, { host: "api.test" })).status).toBe(200);
  const waits = call(after.port, { host: "api.test" });
  await until(async () => (await after.quota("q")).queue_depth === 1, "the 21st waits");
  expect(upstream.seen).toHaveLength(20);
  waits.abort();
});

test("killed again and again under load: never more than the quota in any second", async () => {
  using at = folder();
  await using upstream = startUpstream(async () => {
    await Bun.sleep(Math.random() * 30);
    return new Response("ok");
  });
  const limit = 20;
  const yaml = quota(upstream.url, `rps: ${limit}, arrival_margin: 200ms`);
  let proxy: Proxy = await startProxy(yaml, { at });
  const { port } = proxy;
  let isOver = false;
  const clients = Array.from({ length: 30 }, async () => {
    while (!isOver) {
      // Refused while it is down; cut off when it is killed.
      await ask(port, { host: "api.test" }).catch(() => Bun.sleep(20));
    }
  });
  for (let kill = 0; kill < 4; kill++) {
    const count = upstream.seen.length;
    await until(() => upstream.seen.length > count + 3, "requests pass again");
    proxy.kill("SIGKILL");
    await proxy.ended;
    proxy = await startProxy(yaml, { at, args: ["--port", String(port)] });
  }
  await using last = proxy;
  isOver = true;
  await Promise.all(clients);
  const times = upstream.seen.map(({ at: time }) => time);
  expect(times.length).toBeGreaterThan(2 * limit);
  for (const [n, time] of times.entries()) {
    const inWindow = times.filter((other, m) => m <= n && other > time - 1_000).length;
    expect(inWindow).toBeLessThanOrEqual(limit);
  }
  await until(async () => {
    const [window] = (await last.quota("q")).windows;
    return window?.reserved === 0 && window.used === 0;
  }, "a second later all is free again");
});
