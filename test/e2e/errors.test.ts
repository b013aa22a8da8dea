import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { ask, brokenOff } from "./client.ts";
import type { Folder, Proxy } from "./program.ts";
import { folder, startProxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";
import type { Upstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

describe("errors of our own", () => {
  let at: Folder;
  let upstream: Upstream;
  let proxy: Proxy;

  beforeAll(async () => {
    at = folder();
    upstream = startUpstream(async (request) => new Response(`${(await request.bytes()).length}`));
    proxy = await startProxy(
      `server: { max_body_size: 100KB }
quotas:
  - { name: openai, domain: api.openai.com, provider: openai, tpm: 1000, upstream: "${upstream.url}" }
  - { name: anthropic, domain: api.anthropic.com, provider: anthropic, input_tpm: 1000, output_tpm: 1000, upstream: "${upstream.url}" }
rate_limits:
  - { domain: gone.test, requests_per_second: 100, burst: 100, upstream: "http://127.0.0.1:1" }
  - { domain: plain.test, requests_per_second: 100, burst: 100, upstream: "${upstream.url}" }
`,
      { at },
    );
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    at[Symbol.dispose]();
  });

  test("have the shape that OpenAI's SDK reads", async () => {
    const answer = await ask(proxy.port, {
      host: "api.openai.com",
      path: "/v1/chat/completions",
      method: "POST",
      body: '{"model":"gpt-4o","max_tokens":2000,"messages":[{"role":"user","content":"Hello"}]}',
    });
    expect(answer.status).toBe(400);
    expect(answer.header("content-type")).toContain("application/json");
    expect(answer.json()).toEqual({
      error: {
        message: expect.any(String),
        type: "invalid_request_error",
        code: "EXCEEDS_QUOTA",
        request_id: answer.header("x-cooldown-request-id"),
      },
    });
    expect(answer.header("x-cooldown-error")).toBe("EXCEEDS_QUOTA");
    expect(answer.header("x-proxy")).toMatch(/^cooldown\//);
  });

  test("have the shape that Anthropic's SDK reads", async () => {
    const answer = await ask(proxy.port, {
      host: "api.anthropic.com",
      path: "/v1/messages",
      method: "POST",
      headers: { "anthropic-version": "2023-06-01" },
      // Input alone: output counts as it is written there, so a large cap keeps nobody waiting.
      body: JSON.stringify({
        model: "claude-x",
        max_tokens: 20,
        messages: [{ role: "user", content: "Hello ".repeat(1_500) }],
      }),
    });
    expect(answer.status).toBe(400);
    expect(answer.json()).toEqual({
      type: "error",
      error: { type: "invalid_request_error", message: expect.any(String) },
      request_id: answer.header("x-cooldown-request-id"),
    });
    expect(answer.header("x-cooldown-error")).toBe("EXCEEDS_QUOTA");
  });

  test.each([
    ["gone.test", {}, 502, "UPSTREAM_UNREACHABLE"],
    ["plain.test", { body: "x".repeat(100_001), method: "POST" }, 413, "BODY_TOO_LARGE"],
    ["api.openai.com", { body: "{", method: "POST" }, 400, "INVALID_REQUEST"],
    ["plain.test", { headers: { "X-Cooldown-Priority": "urgent" } }, 400, "INVALID_REQUEST"],
    ["plain.test", { headers: { "X-Cooldown-Timeout": "soon" } }, 400, "INVALID_REQUEST"],
    ["127.0.0.1", {}, 403, "ADDRESS_NOT_ALLOWED"],
    ["169.254.169.254", {}, 403, "ADDRESS_NOT_ALLOWED"],
    ["[::ffff:10.0.0.1]", {}, 403, "ADDRESS_NOT_ALLOWED"],
    ["0x7f.1", {}, 403, "ADDRESS_NOT_ALLOWED"],
    ["a b", {}, 400, "INVALID_REQUEST"],
  ] as const)("%s %j is %d %s", async (host, more, status, code) => {
    const answer = await ask(proxy.port, { host, path: "/v1/chat/completions", ...more });
    expect([answer.status, answer.header("x-cooldown-error")]).toEqual([status, code]);
    expect(answer.json().error.code).toBe(code);
  });

  test.each(["api.openai.com", "plain.test"])(
    "a chunked body for %s that gets too large is 413 as soon as it is, read or streamed",
    async (host) => {
      const answered = Promise.withResolvers<void>();
      async function* tooMuch(): AsyncGenerator<Uint8Array> {
        for (let n = 0; n < 11; n++) yield new Uint8Array(10_000);
        await answered.promise;
      }
      const path = "/v1/chat/completions";
      const answer = await ask(proxy.port, { host, path, method: "POST", body: tooMuch() });
      answered.resolve();
      expect([answer.status, answer.header("x-cooldown-error")]).toEqual([413, "BODY_TOO_LARGE"]);
    },
  );

  test("the log has a line for each request, without what is secret", async () => {
    await ask(proxy.port, {
      host: "plain.test",
      path: "/secret/path?api_key=very-secret",
      method: "POST",
      headers: { Authorization: "Bearer very-secret", "X-Api-Key": "very-secret" },
      body: "very-secret",
    });
    const [line] = await proxy.said(/^.*\/secret\/path.*$/m);
    expect(JSON.parse(line)).toMatchObject({
      upstream: "plain.test",
      method: "POST",
      path: "/secret/path",
      status: 200,
      outcome: "ok",
      wait_ms: expect.any(Number),
      upstream_ms: expect.any(Number),
      total_ms: expect.any(Number),
      request_id: expect.any(String),
    });
    expect(proxy.err + proxy.out).not.toContain("very-secret");
  });
});

test("an upstream that gives no answer in time is 504 UPSTREAM_TIMEOUT, one that goes silent breaks off", async () => {
  using at = folder();
  await using upstream = startUpstream((_, { target }) => {
    if (target === "/never") return new Promise<Response>(() => {});
    return new Response(
      (async function* () {
        yield Buffer.from("first");
        await Bun.sleep(30_000);
        yield Buffer.from("second");
      })(),
    );
  });
  await using proxy = await startProxy(
    `upstream_timeouts: { first_byte: 500ms, idle: 500ms }
rate_limits: [{ domain: api.test, requests_per_second: 100, burst: 100, upstream: "${upstream.url}" }]
`,
    { at },
  );
  const start = performance.now();
  const late = await ask(proxy.port, { host: "api.test", path: "/never" });
  expect([late.status, late.json().error.code]).toEqual([504, "UPSTREAM_TIMEOUT"]);
  await brokenOff(ask(proxy.port, { host: "api.test", path: "/silent" }));
  expect(performance.now() - start).toBeWithin(1_000, 3_000);
});
