import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { ask } from "./client.ts";
import type { Answer, Ask } from "./client.ts";
import type { Folder, Proxy } from "./program.ts";
import { folder, startProxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";
import type { Upstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** An address of this machine that is not loopback: who calls it is, to the server, another machine. */
const outside = Object.values(networkInterfaces())
  .flatMap((list) => list ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

describe("control routes", () => {
  let at: Folder;
  let upstream: Upstream;
  let proxy: Proxy;
  const get = (path: string, more: Ask = {}): Promise<Answer> => ask(proxy.port, { path, ...more });

  beforeAll(async () => {
    at = folder();
    upstream = startUpstream(() =>
      Response.json({ usage: { prompt_tokens: 9, completion_tokens: 1 } }),
    );
    proxy = await startProxy(
      `server: { host: 0.0.0.0, admin_token: open-sesame }
cerebras_limits: { rpm_limit: 7, tpm_limit: 5000, upstream: "${upstream.url}" }
`,
      { at },
    );
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    at[Symbol.dispose]();
  });

  test("/health", async () => {
    const { status, json } = await get("/health");
    expect(status).toBe(200);
    expect(json()).toEqual({
      status: "healthy",
      service: "cooldown",
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      uptime_seconds: expect.any(Number),
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
    expect((await get("/health?ready=1")).status).toBe(200);
  });

  test("/stats and /metrics tell of a request that was made", async () => {
    const made = await get("/v1/chat/completions", {
      host: "api.cerebras.ai",
      method: "POST",
      body: '{"model":"m","max_completion_tokens":90,"messages":[{"role":"user","content":"Hello"}]}',
    });
    expect(made.status).toBe(200);
    expect(made.header("x-ratelimit-limit-rpm")).toBe("7");
    expect(made.header("x-ratelimit-remaining-rpm")).toBe("6");
    expect(made.header("x-ratelimit-limit-tpm")).toBe("5000");
    const reserved = Number(made.header("x-cooldown-tokens"));
    expect(reserved).toBeGreaterThan(90);
    expect(made.header("x-ratelimit-remaining-tpm")).toBe(String(5_000 - reserved));
    expect(made.header("ratelimit-policy")).toBe('"cerebras-minute";q=7;w=60');
    expect(made.header("ratelimit")).toBe('"cerebras-minute";r=6');

    const stats = (await get("/stats")).json();
    expect(stats).toMatchObject({
      cache: { item_count: 0, size_bytes: 0, hits: 0, misses: 0 },
      rate_limit: 0,
      proxy_url: null,
      openai_url: expect.stringContaining("https://api.openai.com"),
      clients: { tracked: expect.any(Number), limited: 0 },
    });
    expect(stats.quotas).toContainEqual(
      expect.objectContaining({
        name: "cerebras",
        queue_depth: 0,
        circuit: "closed",
        windows: [
          { unit: "requests", window: "minute", limit: 7, used: 1, reserved: 0, remaining: 6 },
          { unit: "tokens", window: "minute", limit: 5000, used: 10, reserved: 0, remaining: 4990 },
        ],
      }),
    );
    const text = (await get("/metrics")).text();
    expect(text).toMatch(/^cooldown_requests_total\{[^}]*upstream="api\.cerebras\.ai"[^}]*\} 1$/m);
    expect(text).toMatch(/^cooldown_quota_limit\{[^}]*quota="cerebras"[^}]*\} 7$/m);
    expect(text).toContain('cooldown_queue_depth{quota="cerebras"} 0');
    const flat = (await get("/metrics", { headers: { Accept: "application/json" } })).json();
    expect(flat).toMatchObject({
      cerebras_queue_depth: 0,
      cerebras_rpm_usage: 1 / 7,
      cerebras_tpm_usage: 10 / 5000,
      cerebras_circuit_breaker_open: false,
    });
  });

  test("unknown routes are 404 and other methods 405", async () => {
    const unknown = await get("/nothing");
    expect([unknown.status, unknown.json().error.code]).toEqual([404, "NOT_FOUND"]);
    expect((await get("/stats", { method: "POST" })).status).toBe(405);
  });

  test("a page of another origin is refused without a CORS header", async () => {
    const answer = await get("/stats", { headers: { Origin: "https://evil.test" } });
    expect([answer.status, answer.json().error.code]).toEqual([403, "ORIGIN_NOT_ALLOWED"]);
    expect(answer.headers.filter(([name]) => /^access-control/i.test(name))).toEqual([]);
  });

  test.skipIf(outside === undefined)(
    "from another machine all but /health needs the token",
    async () => {
      const address = outside ?? "";
      const host = `${address}:${proxy.port}`;
      const from = (path: string, token?: string): Promise<Answer> =>
        get(path, {
          address,
          host,
          headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
        });
      expect((await from("/health")).status).toBe(200);
      expect((await from("/stats")).status).toBe(401);
      expect((await from("/stats", "wrong")).status).toBe(401);
      expect((await from("/stats", "open-sesame")).status).toBe(200);
      expect((await from("/metrics")).status).toBe(401);
      expect((await from("/proxy/api.cerebras.ai/v1/models")).status).toBe(200);
    },
  );

  test("bound to all addresses, a domain without a rule is refused", async () => {
    const answer = await get("/", { host: "unknown.test" });
    expect([answer.status, answer.json().error.code]).toEqual([403, "DOMAIN_NOT_ALLOWED"]);
    expect(answer.json().error.message).toContain("server.hostnames");
  });
});

test.skipIf(outside === undefined)("with no token set, other machines get 403", async () => {
  using at = folder();
  await using proxy = await startProxy("server: { host: 0.0.0.0 }\n", { at });
  const address = outside ?? "";
  const answer = await ask(proxy.port, {
    address,
    path: "/stats",
    host: `${address}:${proxy.port}`,
  });
  expect(answer.status).toBe(403);
});
