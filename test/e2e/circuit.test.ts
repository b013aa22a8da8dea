import { expect, setDefaultTimeout, test } from "bun:test";
import type { Ask } from "./client.ts";
import { ask, call } from "./client.ts";
import type { Proxy } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Upstream } from "./upstream.ts";
import { gate, startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const failures = 10;

function quotas(upstream: Upstream, other: Upstream): string {
  return `quotas:
  - { name: q, domain: api.test, provider: openai, rpm: 1000, upstream: "${upstream.url}" }
  - { name: other, domain: other.test, provider: openai, rpm: 1000, upstream: "${other.url}" }
`;
}

const post = (headers: Record<string, string> = {}): Ask => ({
  host: "api.test",
  path: "/x",
  method: "POST",
  headers,
  body: "{}",
});

const circuitOf = async (proxy: Proxy): Promise<unknown> =>
  ((await proxy.quota("q")) as unknown as { circuit: string }).circuit;

/** The `cooldown_circuit_state` of an upstream, null where there is none. */
async function stateMetric(proxy: Proxy, upstream: string): Promise<number | null> {
  const text = (await ask(proxy.port, { path: "/metrics" })).text();
  const value = new RegExp(`^cooldown_circuit_state\\{upstream="${upstream}"\\} (\\S+)$`, "m").exec(
    text,
  )?.[1];
  return value === undefined ? null : Number(value);
}

test("ten that are turned away together and can wait do not open the circuit", async () => {
  using at = folder();
  const { answer, held, open } = gate();
  await using upstream = startUpstream(answer);
  await using other = startUpstream();
  await using proxy = await startProxy(quotas(upstream, other), { at });
  const calls = Array.from({ length: failures + 2 }, () => call(proxy.port, post()));
  await until(() => held.length === calls.length, "all are in flight");
  for (const { release } of held) {
    release(Response.json({}, { status: 429, headers: { "Retry-After": "1" } }));
  }
  await until(async () => (await proxy.quota("q")).queue_depth === calls.length, "all wait");
  expect(await circuitOf(proxy)).toBe("closed");
  open();
  for (const { answer: done } of calls) expect((await done).status).toBe(200);
  expect(await circuitOf(proxy)).toBe("closed");
});

test("ten that cannot wait open it; other upstreams do not notice", async () => {
  using at = folder();
  const { answer, held } = gate();
  await using upstream = startUpstream(answer);
  await using other = startUpstream();
  await using proxy = await startProxy(quotas(upstream, other), { at });
  const headers = { "X-Cooldown-Timeout": "2s" };
  const calls = Array.from({ length: failures }, () => call(proxy.port, post(headers)));
  await until(() => held.length === failures, "all are in flight");
  for (const { release } of held) {
    release(Response.json({ of: "upstream" }, { status: 429, headers: { "Retry-After": "30" } }));
  }
  for (const { answer: done } of calls) {
    const { status, json, header } = await done;
    expect([status, json()]).toEqual([429, { of: "upstream" }]);
    expect(Number(header("retry-after"))).toBeWithin(29, 31);
  }
  expect(await circuitOf(proxy)).toBe("open");
  // The quota is held for longer than this request's time, too: the circuit is what is told.
  const start = performance.now();
  const next = await ask(proxy.port, post(headers));
  expect(performance.now() - start).toBeLessThan(500);
  expect([next.status, next.json().error.code]).toEqual([503, "CIRCUIT_OPEN"]);
  expect(Number(next.header("retry-after"))).toBeWithin(55, 61);
  expect(upstream.seen).toHaveLength(failures);
  expect(await stateMetric(proxy, "api.test")).toBeGreaterThan(0);

  expect((await ask(proxy.port, { ...post(), host: "other.test" })).status).toBe(200);
  expect([null, 0]).toContain(await stateMetric(proxy, "other.test"));
});

test("a client that leaves and an answer of 400 count for nothing", async () => {
  using at = folder();
  let status = 429;
  await using upstream = startUpstream((request) =>
    request.url.endsWith("/never")
      ? new Promise<Response>(() => {})
      : Response.json({ error: { code: "insufficient_quota" } }, { status }),
  );
  await using other = startUpstream();
  await using proxy = await startProxy(quotas(upstream, other), { at });
  for (let n = 0; n < failures - 1; n++) expect((await ask(proxy.port, post())).status).toBe(429);
  status = 400;
  for (let n = 0; n < 3; n++) expect((await ask(proxy.port, post())).status).toBe(400);
  const leaving = call(proxy.port, { ...post(), path: "/never" });
  await until(() => upstream.seen.at(-1)?.target === "/never", "it is under way");
  leaving.abort();
  await until(() => upstream.seen.at(-1)?.aborted === true, "it is cancelled");
  expect(await circuitOf(proxy)).toBe("closed");
  // A success begins the count anew.
  status = 200;
  expect((await ask(proxy.port, post())).status).toBe(200);
  status = 429;
  for (let n = 0; n < failures - 1; n++) await ask(proxy.port, post());
  expect(await circuitOf(proxy)).toBe("closed");
  await ask(proxy.port, post());
  expect(await circuitOf(proxy)).toBe("open");
});
