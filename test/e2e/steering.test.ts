import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { ask, call } from "./client.ts";
import type { Answer } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Proxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const host = "api.test";

function yaml(url: string, rpm: number): string {
  return `quotas: [{ name: q, domain: ${host}, provider: generic, upstream: "${url}", rpm: ${rpm}, tpm: 100000 }]
rate_limits: [{ domain: "*.slow.test", requests_per_second: 0.01, upstream: "${url}" }]
`;
}

function patch(proxy: Proxy, name: string, change: unknown): Promise<Answer> {
  const body = JSON.stringify(change);
  return ask(proxy.port, { method: "PATCH", path: `/api/limits/${name}`, body });
}

async function limit(proxy: Proxy, name: string): Promise<Record<string, unknown>> {
  const { limits } = (await ask(proxy.port, { path: "/api/limits" })).json() as {
    limits: { name: string }[];
  };
  return { ...limits.find((one) => one.name === name) };
}

test("a raised rpm lets go what waits, is shown, logged, and survives a restart", async () => {
  using at = folder();
  await using upstream = startUpstream();
  {
    await using proxy = await startProxy(yaml(upstream.url, 2), { at });
    const calls = Array.from({ length: 5 }, (_, n) => call(proxy.port, { host, path: `/${n}` }));
    await until(async () => (await proxy.quota("q")).queue_depth === 3, "three wait");
    await until(() => upstream.seen.length === 2, "two have gone");
    const changed = await patch(proxy, "q", { rpm: 4 });
    expect([changed.status, changed.json().rpm, changed.json().changed]).toEqual([
      200,
      4,
      { rpm: 2 },
    ]);
    await until(() => upstream.seen.length === 4, "two of them go at once");
    await until(async () => (await proxy.quota("q")).queue_depth === 1, "one still waits");
    expect((await proxy.quota("q")).windows[0]).toMatchObject({ limit: 4, remaining: 0 });
    expect((await limit(proxy, "q"))["rpm"]).toBe(4);
    await proxy.said(/limit changed.*rpm 2 -> 4/);
    expect((await patch(proxy, "q", { rpm: 50 })).status).toBe(200);
    for (const { answer } of calls) expect((await answer).status).toBe(200);
    proxy.kill("SIGKILL");
    await proxy.ended;
  }
  await using proxy = await startProxy(yaml(upstream.url, 2), { at });
  await proxy.said(/as it was changed while running/);
  expect((await proxy.quota("q")).windows[0]).toMatchObject({ limit: 50 });
  expect(await limit(proxy, "q")).toMatchObject({ rpm: 50, tpm: 100_000, changed: { rpm: 2 } });
});

test("a lowered limit holds at once, and a request too large for it is refused", async () => {
  using at = folder();
  await using upstream = startUpstream(() => Response.json({ usage: { total_tokens: 90_000 } }));
  await using proxy = await startProxy(yaml(upstream.url, 100), { at });
  const chat = (max_tokens: number): ReturnType<typeof call> =>
    call(proxy.port, {
      host,
      path: "/v1/chat/completions",
      method: "POST",
      body: JSON.stringify({ model: "m", max_tokens, messages: [{ role: "user", content: "hi" }] }),
    });
  expect((await chat(90_000).answer).status).toBe(200);
  const waiting = chat(50_000);
  await until(async () => (await proxy.quota("q")).queue_depth === 1, "it waits");
  expect((await patch(proxy, "q", { tpm: 20_000 })).status).toBe(200);
  const refused = await waiting.answer;
  expect([refused.status, refused.json().error.code]).toEqual([400, "EXCEEDS_QUOTA"]);
});

test("a rule goes by its domain, wildcard and all", async () => {
  using at = folder();
  await using upstream = startUpstream();
  await using proxy = await startProxy(yaml(upstream.url, 2), { at });
  const calls = [1, 2, 3].map(() => call(proxy.port, { host: "a.slow.test" }));
  await until(async () => (await proxy.quota("*.slow.test")).queue_depth === 2, "two wait");
  expect((await patch(proxy, "*.slow.test", { requests_per_second: 100 })).status).toBe(200);
  for (const { answer } of calls) expect((await answer).status).toBe(200);
});

describe("until the file changes it", () => {
  test("what the file says anew holds, what it says as before does not", async () => {
    using at = folder();
    await using upstream = startUpstream();
    await using proxy = await startProxy(yaml(upstream.url, 2), { at });
    await patch(proxy, "q", { rpm: 5, tpm: 777 });
    const reloaded = async (text: string, times: number): Promise<void> => {
      proxy.configure(text);
      const count = (): number => proxy.err.match(/configuration reloaded/g)?.length ?? 0;
      await until(() => count() === times, "it has reloaded");
    };
    await reloaded(`${yaml(upstream.url, 2)}coalesce: true\n`, 1);
    expect(await limit(proxy, "q")).toMatchObject({ rpm: 5, tpm: 777 });
    await reloaded(yaml(upstream.url, 3), 2);
    expect(await limit(proxy, "q")).toMatchObject({ rpm: 3, tpm: 777, changed: { tpm: 100_000 } });
    expect((await proxy.quota("q")).windows[0]).toMatchObject({ limit: 3 });
    await proxy.said(/as the file says again.*q rpm/);
    // The file as it was does not bring back what is over.
    await reloaded(yaml(upstream.url, 2), 3);
    expect(await limit(proxy, "q")).toMatchObject({ rpm: 2, tpm: 777 });
    // Back by hand.
    const back = await patch(proxy, "q", { tpm: 100_000 });
    expect(back.json().changed).toBeUndefined();
  });
});

test("what is wrong is 400, what is not there 404, and nothing has changed", async () => {
  using at = folder();
  await using upstream = startUpstream();
  await using proxy = await startProxy(yaml(upstream.url, 2), { at });
  for (const change of [{ rpm: -1 }, { rpm: "many" }, { rpmm: 5 }, { domain: "x" }, {}, 5, null]) {
    const answer = await patch(proxy, "q", change);
    expect([answer.status, answer.json().error.code]).toEqual([400, "INVALID_REQUEST"]);
  }
  expect((await patch(proxy, "q", { rpm: -1 })).json().error.message).toContain("rpm");
  const unknown = await patch(proxy, "other", { rpm: 5 });
  expect([unknown.status, unknown.json().error.code]).toEqual([404, "NOT_FOUND"]);
  expect(await limit(proxy, "q")).toMatchObject({ rpm: 2 });
});

test("a page of another origin changes nothing", async () => {
  using at = folder();
  await using proxy = await startProxy(yaml("http://127.0.0.1:9", 2), { at });
  const headers = { Origin: "https://evil.test" };
  const ways = [
    { method: "PATCH", path: "/api/limits/q", body: '{"rpm":9}' },
    { method: "DELETE", path: "/api/clients/ip:127.0.0.1" },
    { method: "DELETE", path: "/cache" },
  ];
  for (const way of ways) {
    const answer = await ask(proxy.port, { ...way, headers });
    expect([answer.status, answer.json().error.code]).toEqual([403, "ORIGIN_NOT_ALLOWED"]);
  }
  expect((await proxy.quota("q")).windows[0]?.limit).toBe(2);
});

test("a client's allowance is shown and given back", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const clients =
    "clients: { rate_limit: 2, keys: [{ name: ci, key: k1, tier: t }], tiers: { t: { rpm: 5, tpm: 1000 } } }\n";
  await using proxy = await startProxy(yaml(upstream.url, 100) + clients, { at });
  const get = (headers: Record<string, string> = {}): Promise<Answer> =>
    ask(proxy.port, { host, path: "/x", headers });
  const client = (id: string, method = "GET"): Promise<Answer> =>
    ask(proxy.port, { path: `/api/clients/${id}`, method });
  expect([(await get()).status, (await get()).status, (await get()).status]).toEqual([
    200, 200, 429,
  ]);
  const shown = await client("ip:127.0.0.1");
  expect(shown.json()).toMatchObject({
    id: "ip:127.0.0.1",
    tier: null,
    algorithm: "token_bucket",
    limit: 2,
    remaining: 0,
  });
  expect(shown.json().reset_seconds).toBeWithin(50, 61);
  expect((await client("ip:127.0.0.1", "DELETE")).status).toBe(200);
  await proxy.said(/client reset/);
  expect((await get()).status).toBe(200);
  expect((await get({ "X-Cooldown-Key": "k1" })).status).toBe(200);
  expect((await client("key:ci")).json()).toMatchObject({ tier: "t", limit: 5, remaining: 4 });
  const digest = new Bun.CryptoHasher("sha256").update("some key").digest("hex").slice(0, 12);
  expect((await get({ Authorization: "Bearer some key" })).status).toBe(200);
  expect((await client(`anon:${digest}`)).json()).toMatchObject({ limit: 2, remaining: 1 });
  const nobody = await client("ip:192.0.2.1");
  expect([nobody.status, nobody.json().error.code]).toEqual([404, "NOT_FOUND"]);
});
