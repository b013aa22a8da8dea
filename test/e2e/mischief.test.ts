import { expect, setDefaultTimeout, test } from "bun:test";
import { ask } from "./client.ts";
import { mischievous, randomFrom, startMischief } from "./mischief.ts";
import { folder, memoryOf, startProxy, until } from "./program.ts";
import type { Proxy } from "./program.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

function yaml(upstream: string): string {
  return `quotas:
  - { name: q, domain: api.test, provider: generic, rpm: 1000000, tpm: 100000000, max_concurrency: 20, max_queue_depth: 1000, upstream: "${upstream}" }
`;
}

/** Sends `count` requests, 80 at a time, and resolves with how many ended in which way. */
async function storm(
  proxy: Proxy,
  count: number,
  aborts: number,
  seed: number,
): Promise<Record<string, number>> {
  const random = randomFrom(seed);
  const ends: Record<string, number> = {};
  let left = count;
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const end = await mischievous(proxy.port, random, aborts);
      ends[end] = (ends[end] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: 80 }, client));
  return ends;
}

async function settled(proxy: Proxy): Promise<{ requests: number; tokens: number }> {
  await until(async () => {
    const { windows, queue_depth } = await proxy.quota("q");
    return queue_depth === 0 && windows.every(({ reserved }) => reserved === 0);
  }, "nothing waits and nothing is reserved");
  const { windows } = await proxy.quota("q");
  return { requests: windows[0]?.used ?? 0, tokens: windows[1]?.used ?? 0 };
}

test("whatever an upstream does, each request is charged once and nothing stays reserved", async () => {
  using at = folder();
  await using upstream = await startMischief();
  await using proxy = await startProxy(yaml(upstream.url), { at });
  const ends = await storm(proxy, 1_000, 0, 1);
  const used = await settled(proxy);
  expect(used.requests).toBe(upstream.counted);
  expect(used.tokens).toBeGreaterThan(0);
  expect(Object.values(ends).reduce((a, b) => a + b)).toBe(1_000);
  expect(ends["500"] ?? 0).toBeGreaterThan(0);
  expect(proxy.err).not.toMatch(/"level":"error"/);
});

test("clients that leave at any moment leave nothing behind: no slot, no reservation, no place, no memory", async () => {
  using at = folder();
  await using upstream = await startMischief();
  await using proxy = await startProxy(yaml(upstream.url), { at });
  await storm(proxy, 1_500, 0.7, 2);
  await settled(proxy);
  const before = process.platform === "linux" ? memoryOf(proxy.pid).now : 0;
  const ends = await storm(proxy, 1_500, 0.7, 3);
  const used = await settled(proxy);
  expect(ends["left"] ?? 0).toBeGreaterThan(100);
  // A call that was cancelled on its way may have been counted: it stays charged.
  expect(used.requests).toBeGreaterThanOrEqual(upstream.counted);
  expect(used.requests).toBeLessThan(upstream.counted + 0.2 * 3_000);
  if (process.platform === "linux") {
    expect((memoryOf(proxy.pid).now - before) / 1e6).toBeLessThan(40);
  }

  // Every slot is free again: as many as there are go at once.
  const path = "/v1/chat/completions?slow";
  const slots = await Promise.all(
    Array.from({ length: 20 }, () =>
      ask(proxy.port, {
        host: "api.test",
        path,
        method: "POST",
        body: '{"model":"m","messages":[]}',
      }),
    ),
  );
  for (const { status, header } of slots) {
    expect([status, header("x-cooldown-wait")]).toEqual([200, "0.000"]);
  }
  expect(proxy.err).not.toMatch(/"level":"error"/);
});
