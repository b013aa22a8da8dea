import { expect, setDefaultTimeout, test } from "bun:test";
import { ask, call } from "./client.ts";
import type { Ask, Call } from "./client.ts";
import type { Proxy } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import { gate, startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** A quota for `api.test`; `rest` in YAML's flow form. */
function quota(upstream: string, rest: string): string {
  return `quotas: [{ name: q, domain: api.test, provider: generic, upstream: "${upstream}", ${rest} }]\n`;
}

/** Asks and resolves when the request stands in the queue. */
async function queue(proxy: Proxy, what: Ask): Promise<Call> {
  const before = (await proxy.quota("q")).queue_depth;
  const asked = call(proxy.port, { host: "api.test", ...what });
  await until(async () => (await proxy.quota("q")).queue_depth > before, "the request waits");
  return asked;
}

test("high goes before normal before low, each first come first served", async () => {
  using at = folder();
  const { answer, held } = gate();
  await using upstream = startUpstream(answer);
  const yaml = quota(upstream.url, "max_concurrency: 1");
  await using proxy = await startProxy(yaml, { at });
  const first = call(proxy.port, { host: "api.test", path: "/first" });
  await until(() => held.length === 1, "the first is in flight");
  const calls = [first];
  for (const name of ["low-1", "normal-1", "high-1", "low-2", "-2", "high-2"]) {
    const [priority = ""] = name.split("-");
    const headers: Record<string, string> =
      priority === "" ? {} : { "X-Cooldown-Priority": priority };
    calls.push(await queue(proxy, { path: `/${name}`, headers }));
  }
  for (let n = 0; n < calls.length; n++) {
    await until(() => held.length > n, `request ${n} has left`);
    held[n]?.release();
  }
  for (const { answer: done } of calls) expect((await done).status).toBe(200);
  expect(upstream.seen.map(({ target }) => target)).toEqual([
    "/first",
    "/high-1",
    "/high-2",
    "/normal-1",
    "/-2",
    "/low-1",
    "/low-2",
  ]);
});

test("a full queue answers 429 QUEUE_FULL at once", async () => {
  using at = folder();
  const { answer, held, open } = gate();
  await using upstream = startUpstream(answer);
  const yaml = quota(upstream.url, "max_concurrency: 1, max_queue_depth: 2");
  await using proxy = await startProxy(yaml, { at });
  const calls = [call(proxy.port, { host: "api.test" })];
  await until(() => held.length === 1, "the first is in flight");
  for (let n = 0; n < 2; n++) calls.push(await queue(proxy, {}));
  const start = performance.now();
  const refused = await ask(proxy.port, { host: "api.test" });
  expect(performance.now() - start).toBeLessThan(200);
  expect(refused.status).toBe(429);
  expect(refused.json().error).toMatchObject({ code: "QUEUE_FULL", type: "rate_limit_error" });
  expect(Number(refused.header("retry-after"))).toBeGreaterThan(0);
  open();
  for (const { answer: done } of calls) expect((await done).status).toBe(200);
});

test("a queue that one client has filled takes a newcomer, who is served in its turn", async () => {
  using at = folder();
  const { answer, held } = gate();
  await using upstream = startUpstream(answer);
  const yaml = quota(upstream.url, "max_concurrency: 1, max_queue_depth: 20");
  await using proxy = await startProxy(yaml, { at });
  const greedy: Ask = { path: "/greedy", headers: { Authorization: "Bearer greedy" } };
  const first = call(proxy.port, { host: "api.test", ...greedy });
  await until(() => held.length === 1, "the first is in flight");
  const calls: Call[] = [];
  for (let n = 0; n < 20; n++) calls.push(await queue(proxy, greedy));
  // Its own are refused as ever.
  expect((await ask(proxy.port, { host: "api.test", ...greedy })).status).toBe(429);

  const modest = call(proxy.port, {
    host: "api.test",
    path: "/modest",
    headers: { Authorization: "Bearer modest" },
  });
  const refused = await calls.pop()?.answer;
  expect([refused?.status, refused?.json().error.code]).toEqual([429, "QUEUE_FULL"]);
  expect(Number(refused?.header("retry-after"))).toBeGreaterThan(0);
  expect((await proxy.quota("q")).queue_depth).toBe(20);
  for (let n = 0; n < 21; n++) {
    await until(() => held.length > n, `request ${n} has left`);
    held[n]?.release();
  }
  for (const { answer: done } of [first, modest, ...calls]) expect((await done).status).toBe(200);
  // One turn of the greedy one at most.
  expect(upstream.seen.findIndex(({ target }) => target === "/modest")).toBeLessThanOrEqual(2);
  expect(upstream.seen).toHaveLength(21);
});

test("a minute's window tells when it has room, and says so only where retrying helps", async () => {
  using at = folder();
  await using upstream = startUpstream();
  await using proxy = await startProxy(quota(upstream.url, "rpm: 2"), { at });
  const start = performance.now();
  for (let n = 0; n < 2; n++) await ask(proxy.port, { host: "api.test" });
  const refused = await ask(proxy.port, {
    host: "api.test",
    headers: { "X-Cooldown-Timeout": "5s" },
  });
  expect([refused.status, refused.json().error.code]).toEqual([429, "QUEUE_TIMEOUT"]);
  expect(performance.now() - start).toBeLessThan(500);
  expect(Math.abs(Number(refused.header("retry-after")) - 60)).toBeLessThanOrEqual(1);
  // A wait that ends within its deadline is made, however long: this one is given up by its client.
  const waits = await queue(proxy, { headers: { "X-Cooldown-Timeout": "70s" } });
  const behind = await ask(proxy.port, {
    host: "api.test",
    headers: { "X-Cooldown-Timeout": "5s" },
  });
  expect(behind.status).toBe(429);
  waits.abort();
  await until(async () => (await proxy.quota("q")).queue_depth === 0, "it has left the queue");
});

test("a wait that only running requests can end is refused when its time is up, not before", async () => {
  using at = folder();
  const { answer, held, open } = gate();
  await using upstream = startUpstream(answer);
  await using proxy = await startProxy(quota(upstream.url, "max_concurrency: 1"), { at });
  const first = call(proxy.port, { host: "api.test" });
  await until(() => held.length === 1, "the first is in flight");
  const start = performance.now();
  const refused = await ask(proxy.port, {
    host: "api.test",
    headers: { "X-Cooldown-Timeout": "1s" },
  });
  expect(performance.now() - start).toBeWithin(950, 1_300);
  expect(refused.json().error.code).toBe("QUEUE_TIMEOUT");
  expect(Number(refused.header("retry-after"))).toBeGreaterThan(0);
  // What it waited is said, and none of it is time that was spent on it.
  expect(Number(refused.header("x-cooldown-wait"))).toBeWithin(0.95, 1.3);
  const metrics = (await ask(proxy.port, { path: "/metrics" })).text();
  expect(Number(/^cooldown_overhead_seconds_sum (\S+)$/m.exec(metrics)?.[1])).toBeLessThan(0.5);
  open();
  expect((await first.answer).status).toBe(200);
});

test("a client that leaves the queue frees its place", async () => {
  using at = folder();
  const { answer, held, open } = gate();
  await using upstream = startUpstream(answer);
  const yaml = quota(upstream.url, "max_concurrency: 1, max_queue_depth: 1");
  await using proxy = await startProxy(yaml, { at });
  const first = call(proxy.port, { host: "api.test" });
  await until(() => held.length === 1, "the first is in flight");
  for (let n = 0; n < 3; n++) {
    const leaving = await queue(proxy, { path: "/left" });
    leaving.abort();
    await until(async () => (await proxy.quota("q")).queue_depth === 0, "its place is free", 500);
  }
  const stays = await queue(proxy, { path: "/stays" });
  open();
  expect((await stays.answer).status).toBe(200);
  expect((await first.answer).status).toBe(200);
  expect(upstream.seen.map(({ target }) => target)).toEqual(["/", "/stays"]);
});

test("a request over the whole limit is 400 EXCEEDS_QUOTA, and nothing is charged for it", async () => {
  using at = folder();
  await using upstream = startUpstream(() => Response.json({ usage: { total_tokens: 10 } }));
  await using proxy = await startProxy(quota(upstream.url, "tpm: 1000"), { at });
  const body = JSON.stringify({
    model: "m",
    max_tokens: 1_001,
    messages: [{ role: "user", content: "hi" }],
  });
  const answer = await ask(proxy.port, {
    host: "api.test",
    path: "/v1/chat/completions",
    method: "POST",
    body,
  });
  expect([answer.status, answer.json().error.code]).toEqual([400, "EXCEEDS_QUOTA"]);
  expect(answer.header("retry-after")).toBeNull();
  expect(upstream.seen).toHaveLength(0);
  expect((await proxy.quota("q")).windows[0]).toMatchObject({ used: 0, reserved: 0 });
});

test("a small request passes a large one only where that does not delay it", async () => {
  using at = folder();
  const { answer, held, open } = gate();
  await using upstream = startUpstream(answer);
  await using proxy = await startProxy(quota(upstream.url, "tpm: 10000, priority_threshold: 1"), {
    at,
  });
  const chat = (path: string, max_tokens: number): Ask => ({
    host: "api.test",
    path: `/v1/chat/completions?${path}`,
    method: "POST",
    body: JSON.stringify({ model: "m", max_tokens, messages: [{ role: "user", content: "hi" }] }),
  });
  const first = call(proxy.port, chat("first", 7_000));
  await until(() => held.length === 1, "the first is in flight");
  const large = await queue(proxy, chat("large", 9_000));
  // Beside the large one there is room for 1,000 when it starts, and for 3,000 now.
  const small = call(proxy.port, chat("small", 300));
  await until(() => held.length === 2, "the small one passes");
  const middle = await queue(proxy, chat("middle", 2_000));
  held[1]?.release(Response.json({ usage: { prompt_tokens: 10, completion_tokens: 290 } }));
  held[0]?.release(Response.json({ usage: { prompt_tokens: 10, completion_tokens: 90 } }));
  await until(() => held.length === 3, "the refund starts the large one");
  expect(upstream.seen.map(({ target }) => target.split("?")[1])).toEqual([
    "first",
    "small",
    "large",
  ]);
  held[2]?.release(Response.json({ usage: { prompt_tokens: 10, completion_tokens: 90 } }));
  open();
  for (const { answer: done } of [first, large, small, middle]) {
    expect((await done).status).toBe(200);
  }
});
