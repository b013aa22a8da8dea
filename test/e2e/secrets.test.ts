import { expect, setDefaultTimeout, test } from "bun:test";
import { ask } from "./client.ts";
import { folder, runProgram, startProxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

test("secrets of clients and of the configuration are in no log, statistic or metric", async () => {
  using at = folder();
  await using upstream = startUpstream((request) => {
    const { pathname } = new URL(request.url);
    if (pathname.endsWith("/fails")) return new Response("secret-answer", { status: 500 });
    if (pathname.endsWith("/turned-away"))
      return Response.json({ error: { message: "secret-answer" } }, { status: 429 });
    return Response.json({ choices: [{ message: { content: "secret-answer" } }] });
  });
  const yaml = `
server: { admin_token: secret-admin, log_level: debug }
upstream_proxy: "http://user:secret-proxy@127.0.0.1:1"
no_proxy: [127.0.0.1]
clients:
  keys: [{ name: ci, key: secret-virtual }]
quotas:
  - { name: own, domain: own.test, provider: openai, upstream: "${upstream.url}", rpm: 100, tpm: 100000, api_keys: [secret-own-key] }
  - { name: q, domain: api.test, provider: openai, upstream: "${upstream.url}", rpm: 100, tpm: 100000, per: [credential], request_timeout: 1s }
  - { name: down, domain: down.test, provider: anthropic, upstream: "https://elsewhere.test", rpm: 100 }
`;
  await using proxy = await startProxy(yaml, { at, args: ["--log-level", "debug"] });
  const headers = {
    Authorization: "Bearer secret-bearer",
    "x-api-key": "secret-x-api-key",
    "api-key": "secret-api-key",
    "X-Cooldown-Key": "secret-virtual",
    Cookie: "session=secret-cookie",
    "Proxy-Authorization": "Basic secret-basic",
    "X-Goog-Api-Key": "secret-goog",
    "X-Cooldown-Timeout": "300ms",
  };
  const bodies = [
    '{"model":"gpt-4o","messages":[{"role":"user","content":"secret-body"}],"max_tokens":5}',
    '{"model":"gpt-4o","messages":"secret-body',
    "secret-body",
  ];
  const hosts = ["own.test", "api.test", "down.test", "unknown.invalid", "127.1:1", "bad host"];
  const paths = ["/v1/chat/completions", "/v1/messages", "/fails", "/turned-away"];
  const query = "?key=secret-query&access_token=secret-query";
  const targets = hosts.flatMap((host) =>
    paths.flatMap((path) =>
      bodies.map((body) => ({ host, path: path + query, method: "POST", headers, body })),
    ),
  );
  const answers = await Promise.all(targets.map((target) => ask(proxy.port, target)));
  const statuses = new Set(answers.map(({ status }) => status));
  const key = "dGhlIHNhbXBsZSBub25jZQ==";
  const upgrade = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13" };
  await ask(proxy.port, {
    host: "api.test",
    path: "/v1/realtime?key=secret-query",
    headers: { ...headers, ...upgrade, "Sec-WebSocket-Key": key },
  });
  await ask(proxy.port, { path: "/nothing-here?token=secret-query", headers });
  await ask(proxy.port, { path: "/proxy/api.test/x?token=secret-query", headers });
  proxy.configure(`${yaml}\nbroken: secret-broken\n`);
  await proxy.said(/not reloaded/);
  proxy.configure(`${yaml}\nclients: { keys: [{ name: x, key: secret-broken }] }\n`);
  await proxy.said(/not reloaded[^]*not reloaded/);
  // There is something to be found, and some of it went wrong.
  expect([...statuses]).toEqual(expect.arrayContaining([200, 400, 403, 500, 502]));
  const pages = await Promise.all(
    [
      { path: "/stats" },
      { path: "/metrics" },
      { path: "/metrics", headers: { Accept: "application/json" } },
      { path: "/api/limits" },
      { path: "/api/clients/key:ci" },
      { path: "/dashboard" },
      { path: "/health" },
    ].map(async (what) => (await ask(proxy.port, what)).text()),
  );
  const check = await runProgram(["check", "--config", at.write("good.yaml", yaml)]);
  expect(check.code).toBe(0);
  for (const text of [...pages, proxy.out, proxy.err, check.out, check.err])
    expect(text.match(/.{0,80}secret-.{0,40}/g) ?? []).toEqual([]);
});
