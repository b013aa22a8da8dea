import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { ask, call } from "./client.ts";
import type { Answer, Ask, Call } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Proxy } from "./program.ts";
import { gate, startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(60_000);

const host = "api.test";

/** A quota for `api.test`; `rest` in YAML's flow form. */
function quota(url: string, rest: string): string {
  return `quotas: [{ name: q, domain: ${host}, provider: generic, upstream: "${url}", ${rest} }]\n`;
}

function key(name: string): Record<string, string> {
  return { "X-Cooldown-Key": name };
}

function chat(max_tokens: number, headers: Record<string, string> = {}): Ask {
  const messages = [{ role: "user", content: "hi" }];
  const body = JSON.stringify({ model: "m", max_tokens, messages });
  return { host, path: "/v1/chat/completions", method: "POST", headers, body };
}

/** A request that stands in the queue. */
async function queue(proxy: Proxy, what: Ask, count: number): Promise<Call[]> {
  const before = (await proxy.quota("q")).queue_depth;
  const calls = Array.from({ length: count }, () => call(proxy.port, { host, ...what }));
  const waiting = async (): Promise<boolean> =>
    (await proxy.quota("q")).queue_depth >= before + count;
  await until(waiting, `${count} more requests wait`, 20_000);
  return calls;
}

describe("RATE_LIMIT=60", () => {
  test("60 at once pass, the 61st does not, then one a second; nobody else is touched", async () => {
    using at = folder();
    await using upstream = startUpstream();
    const env = { RATE_LIMIT: "60", OPENAI_API_URL: upstream.url };
    await using proxy = await startProxy("", { at, env });
    const get = (headers: Record<string, string> = {}, address = "127.0.0.1"): Promise<Answer> =>
      ask(proxy.port, { path: "/v1/models", headers, address });
    const startedAt = performance.now();
    const first = await Promise.all(Array.from({ length: 60 }, () => get()));
    expect(first.map(({ status }) => status)).toEqual(Array.from({ length: 60 }, () => 200));
    const refused = await get();
    expect(refused.status).toBe(429);
    expect(refused.json().error).toMatchObject({
      code: "RATE_LIMIT_EXCEEDED",
      type: "rate_limit_error",
      message: "Rate limit exceeded. Please try again later.",
    });
    expect(refused.header("retry-after")).toBe("1");
    expect(refused.header("x-ratelimit-limit-rpm")).toBe("60");
    expect(refused.header("x-ratelimit-remaining-rpm")).toBe("0");
    // Another address, another key, and nothing that a stranger claims.
    expect((await get({ Authorization: "Bearer sk-other" })).status).toBe(200);
    expect((await get({}, "::1")).status).toBe(200);
    for (const forged of ["192.0.2.7", "127.0.0.1, 192.0.2.8", "::1"])
      expect((await get({ "X-Forwarded-For": forged })).status).toBe(429);
    // One a second.
    const passedAt: number[] = [];
    while (passedAt.length < 3) {
      if ((await get()).status === 200) passedAt.push(performance.now() - startedAt);
    }
    for (const [n, ms] of passedAt.entries())
      expect(ms).toBeWithin(n * 1_000 + 900, n * 1_000 + 1_900);
    expect(upstream.seen).toHaveLength(65);
    const { clients } = (await ask(proxy.port, { path: "/stats" })).json();
    // Those whose allowance is full again are forgotten.
    expect(clients.tracked).toBeWithin(1, 4);
    expect(clients.limited).toBeGreaterThan(4);
  });

  test("a proxy that is trusted names its clients, those behind it are told apart", async () => {
    using at = folder();
    await using upstream = startUpstream();
    const yaml = "server: { trusted_proxies: [127.0.0.1, 10.0.0.0/8] }\n";
    const env = { RATE_LIMIT: "1", OPENAI_API_URL: upstream.url };
    await using proxy = await startProxy(yaml, { at, env });
    const from = async (forwarded: string): Promise<number> =>
      (await ask(proxy.port, { path: "/v1/models", headers: { "X-Forwarded-For": forwarded } }))
        .status;
    expect(await from("192.0.2.1")).toBe(200);
    expect(await from("192.0.2.1")).toBe(429);
    expect(await from("192.0.2.2, 10.1.2.3")).toBe(200);
    // What stands left of the address that our proxy saw is a claim.
    expect(await from("192.0.2.99, 192.0.2.1")).toBe(429);
  });

  test.each(["sliding_window", "leaky_bucket"])("by %s, and burst", async (algorithm) => {
    using at = folder();
    await using upstream = startUpstream();
    const yaml = `clients: { rate_limit: 60, burst: 5, algorithm: ${algorithm} }\n`;
    await using proxy = await startProxy(yaml, { at, env: { OPENAI_API_URL: upstream.url } });
    const answers = await Promise.all(
      Array.from({ length: 70 }, () => ask(proxy.port, { path: "/v1/models" })),
    );
    const passed = answers.filter(({ status }) => status === 200).length;
    // A window has no burst of its own: its limit is it.
    expect(passed).toBeWithin(5, algorithm === "leaky_bucket" ? 8 : 61);
    expect(upstream.seen).toHaveLength(passed);
  });
});

test("a refused request costs the upstream's quota nothing, and one the quota refuses its client nothing", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = `${quota(upstream.url, "rpm: 3, request_timeout: 200ms")}clients: { rate_limit: 4 }\n`;
  await using proxy = await startProxy(yaml, { at });
  const get = (headers: Record<string, string> = {}): Promise<Answer> =>
    ask(proxy.port, { host, path: "/x", headers });
  const codes = [];
  for (let n = 0; n < 3; n++) codes.push((await get()).status);
  expect(codes).toEqual([200, 200, 200]);
  // The quota has no room: that is given back.
  for (let n = 0; n < 3; n++) expect((await get()).json().error.code).toBe("QUEUE_TIMEOUT");
  const shown = await ask(proxy.port, { path: "/api/clients/ip:127.0.0.1" });
  expect(shown.json().remaining).toBe(1);
  await ask(proxy.port, { path: "/api/limits/q", method: "PATCH", body: '{"rpm":100}' });
  expect((await get()).status).toBe(200);
  expect((await get()).json().error.code).toBe("RATE_LIMIT_EXCEEDED");
  expect((await proxy.quota("q")).windows[0]).toMatchObject({ used: 4, reserved: 0 });
});

const tiers = `clients:
  require_key: true
  tiers: { small: { rpm: 3, tpm: 1000, priority: low }, large: { priority: high } }
  keys: [{ name: s, key: virtual-small, tier: small }, { name: l, key: virtual-large, tier: large }]
`;

describe("tiers", () => {
  test("requests and tokens a minute, as reserved and then as used; more than there ever is is said so", async () => {
    using at = folder();
    await using upstream = startUpstream(() =>
      Response.json({ usage: { prompt_tokens: 10, completion_tokens: 90, total_tokens: 100 } }),
    );
    await using proxy = await startProxy(quota(upstream.url, "rpm: 1000") + tiers, { at });
    const { port } = proxy;
    const small = key("virtual-small");
    expect((await ask(port, chat(900, small))).status).toBe(200);
    const remaining = async (): Promise<unknown> =>
      (await ask(port, { path: "/api/clients/key:s" })).json();
    // 900 and some were taken, and all but 100 given back.
    await until(
      async () => ((await remaining()) as { tokens_remaining: number }).tokens_remaining >= 900,
      "settled",
    );
    const tooLarge = await ask(port, chat(2_000, small));
    expect([tooLarge.status, tooLarge.json().error.code]).toEqual([400, "EXCEEDS_QUOTA"]);
    expect((await ask(port, chat(850, small))).status).toBe(200);
    const refused = await ask(port, chat(990, small));
    expect([refused.status, refused.json().error.code]).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
    expect(refused.header("x-ratelimit-limit-tpm")).toBe("1000");
    // What was refused has cost no request either.
    expect(await remaining()).toMatchObject({ limit: 3, remaining: 1 });
    expect((await ask(port, chat(990, key("virtual-large")))).status).toBe(200);
    expect(upstream.seen).toHaveLength(3);
  });

  test("what finds no upstream has cost nothing, no tokens either", async () => {
    using at = folder();
    // Nobody listens there.
    await using proxy = await startProxy(quota("http://127.0.0.1:1", "rpm: 1000") + tiers, { at });
    const answer = await ask(proxy.port, chat(900, key("virtual-small")));
    expect([answer.status, answer.json().error.code]).toEqual([502, "UPSTREAM_UNREACHABLE"]);
    const client = await ask(proxy.port, { path: "/api/clients/key:s" });
    expect(client.json()).toMatchObject({ remaining: 3, tokens_remaining: 1_000 });
    expect((await proxy.quota("q")).windows[0]).toMatchObject({ used: 0, reserved: 0 });
  });

  test("a key is required: without one 401, in the words of the API that is called", async () => {
    using at = folder();
    await using upstream = startUpstream();
    await using proxy = await startProxy(quota(upstream.url, "rpm: 1000") + tiers, { at });
    const none = await ask(proxy.port, chat(5));
    expect([none.status, none.json().error.code]).toEqual([401, "UNAUTHORIZED"]);
    const wrong = await ask(proxy.port, chat(5, { Authorization: "Bearer sk-real" }));
    expect(wrong.status).toBe(401);
    const anthropic = await ask(proxy.port, {
      ...chat(5, { "x-api-key": "wrong", "anthropic-version": "2023-06-01" }),
      path: "/v1/messages",
    });
    expect([anthropic.status, anthropic.json().error.type]).toEqual([401, "authentication_error"]);
    expect(upstream.seen).toHaveLength(0);
    for (const name of [
      "Authorization",
      "x-api-key",
      "api-key",
      "x-goog-api-key",
      "X-Cooldown-Key",
    ]) {
      const value = name === "Authorization" ? "Bearer virtual-large" : "virtual-large";
      expect((await ask(proxy.port, chat(5, { [name]: value }))).status).toBe(200);
    }
  });

  test("their priority is theirs: high goes before low, and asking for more does not help", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    await using proxy = await startProxy(quota(upstream.url, "max_concurrency: 1") + tiers, { at });
    const first = call(proxy.port, { host, path: "/first", headers: key("virtual-large") });
    await until(() => held.length === 1, "the first is in flight");
    const asked = { ...key("virtual-small"), "X-Cooldown-Priority": "high" };
    const calls = await queue(proxy, { path: "/small", headers: asked }, 1);
    calls.push(...(await queue(proxy, { path: "/large", headers: key("virtual-large") }, 1)));
    open();
    for (const { answer: done } of [first, ...calls]) expect((await done).status).toBe(200);
    expect(upstream.seen.map(({ target }) => target)).toEqual(["/first", "/large", "/small"]);
  });
});

describe("fair shares", () => {
  const weights = `clients:
  tiers: { one: { weight: 1 }, three: { weight: 3 } }
  keys: [{ name: a, key: key-a, tier: one }, { name: b, key: key-b, tier: three }]
`;

  test("weights 1 and 3 on a saturated quota get 25 % and 75 %", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    const rest = "max_concurrency: 1, max_queue_depth: 1000";
    await using proxy = await startProxy(quota(upstream.url, rest) + weights, { at });
    const first = call(proxy.port, { host, path: "/first" });
    await until(() => held.length === 1, "the first is in flight");
    const calls = [
      ...(await queue(proxy, { path: "/a", headers: key("key-a") }, 300)),
      ...(await queue(proxy, { path: "/b", headers: key("key-b") }, 300)),
    ];
    open();
    await Promise.all([first, ...calls].map((one) => one.answer));
    // Both have requests waiting for so long.
    const while400 = upstream.seen.slice(1, 381);
    const ofA = while400.filter(({ target }) => target === "/a").length / while400.length;
    expect(ofA).toBeWithin(0.22, 0.28);
    // And not only in the mean.
    for (let start = 0; start + 40 <= while400.length; start += 40) {
      const part = while400.slice(start, start + 40);
      expect(part.filter(({ target }) => target === "/a").length).toBeWithin(8, 13);
    }
  });

  test("500 waiting requests of one client delay another's first by one of its turns", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    const rest = "max_concurrency: 1, max_queue_depth: 1000";
    await using proxy = await startProxy(quota(upstream.url, rest), { at });
    const greedy = { Authorization: "Bearer greedy" };
    const first = call(proxy.port, { host, path: "/greedy", headers: greedy });
    await until(() => held.length === 1, "the first is in flight");
    const calls = await queue(proxy, { path: "/greedy", headers: greedy }, 500);
    // Some turns later, so that it is no matter of who begins.
    for (let n = 0; n < 10; n++) {
      held[n]?.release();
      await until(() => held.length > n + 1, "the next is in flight");
    }
    const modest = { Authorization: "Bearer modest" };
    calls.push(...(await queue(proxy, { path: "/modest", headers: modest }, 1)));
    const before = upstream.seen.length;
    open();
    await Promise.all([first, ...calls].map((one) => one.answer));
    const at2 = upstream.seen.findIndex(({ target }) => target === "/modest");
    expect(at2 - before).toBeWithin(0, 2);
  });
});

test("what a key's holder has used is known after a restart, and after kill -9", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = `${quota(upstream.url, "rpm: 1000")}clients: { rate_limit: 5, keys: [{ name: k, key: key-k }] }\n`;
  const get = async (proxy: Proxy): Promise<number> =>
    (await ask(proxy.port, { host, path: "/x", headers: key("key-k") })).status;
  {
    await using proxy = await startProxy(yaml, { at });
    for (let n = 0; n < 5; n++) expect(await get(proxy)).toBe(200);
    // Written a little behind.
    await Bun.sleep(500);
    proxy.kill("SIGKILL");
    await proxy.ended;
  }
  {
    await using proxy = await startProxy(yaml, { at });
    expect(await get(proxy)).toBe(429);
    proxy.kill("SIGTERM");
    await proxy.ended;
  }
  await using proxy = await startProxy(yaml, { at });
  expect(await get(proxy)).toBe(429);
});

test("a virtual key never goes upstream, is in no log and in no store; a key of ours goes in its place", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const hash = new Bun.CryptoHasher("sha256").update("virtual-by-hash").digest("hex");
  const yaml = `
server: { log_level: debug }
cache: { enabled: true }
coalesce: true
clients:
  rate_limit: 1000
  keys: [{ name: plain, key: "\${VIRTUAL}" }, { name: hashed, key_sha256: "${hash}" }]
quotas:
  - { name: own, domain: own.test, provider: openai, upstream: "${upstream.url}", rpm: 1000, api_keys: [real-key] }
  - { name: q, domain: ${host}, provider: openai, upstream: "${upstream.url}", rpm: 1000, per: [credential] }
`;
  const secret = "virtual-in-clear";
  await using proxy = await startProxy(yaml, { at, env: { VIRTUAL: secret } });
  for (const virtual of [secret, "virtual-by-hash"]) {
    for (const header of [
      "Authorization",
      "x-api-key",
      "api-key",
      "x-goog-api-key",
      "X-Cooldown-Key",
    ]) {
      const value = header === "Authorization" ? `Bearer ${virtual}` : virtual;
      for (const to of ["own.test", host]) {
        const answer = await ask(proxy.port, { ...chat(5, { [header]: value }), host: to });
        expect(answer.status).toBe(200);
      }
    }
    const both = { "X-Cooldown-Key": virtual, Authorization: "Bearer sk-theirs" };
    expect((await ask(proxy.port, { host, path: "/both", headers: both })).status).toBe(200);
  }
  const sent = upstream.seen.map(({ headers }) => JSON.stringify([...headers]));
  expect(sent.filter((text) => text.includes("virtual-"))).toEqual([]);
  expect(sent.filter((text) => text.includes("Bearer real-key"))).toHaveLength(10);
  const both = upstream.seen.filter(({ target }) => target === "/both");
  expect(both.map(({ headers }) => headers.get("authorization"))).toEqual([
    "Bearer sk-theirs",
    "Bearer sk-theirs",
  ]);
  await proxy.said(/"key:plain"/);
  await proxy.said(/"key:hashed"/);
  const told = [];
  for (const path of ["/stats", "/metrics", "/api/limits", "/api/clients/key:plain"])
    told.push((await ask(proxy.port, { path })).text());
  proxy.kill("SIGTERM");
  await proxy.ended;
  const files = readdirSync(at.path).filter((name) => name !== "config.yaml");
  const stored = files.map((name) => readFileSync(at.file(name), "latin1"));
  for (const text of [proxy.err, proxy.out, ...told, ...stored]) {
    expect(text).not.toContain("virtual-");
    expect(text).not.toContain("real-key");
    expect(text).not.toContain("sk-theirs");
  }
});
