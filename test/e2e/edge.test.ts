import { expect, setDefaultTimeout, test } from "bun:test";
import { ask } from "./client.ts";
import { folder, runProgram, startProxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

test("a second Cooldown does not share the first one's port", async () => {
  using at = folder();
  await using first = await startProxy("", { at });
  const args = ["--store", ":memory:", "--port", String(first.port)];
  const { code, err } = await runProgram(args, { cwd: at.path });
  expect(code).toBe(1);
  expect(err).toContain(`Port ${first.port} on 127.0.0.1 is in use`);
});

test.each(["urgent", "constructor", "__proto__", ""])(
  "priority %p is refused, not queued for ever",
  async (priority) => {
    using at = folder();
    await using upstream = startUpstream();
    const rule = `rate_limits: [{ domain: api.test, requests_per_second: 100, upstream: "${upstream.url}" }]\n`;
    await using proxy = await startProxy(rule, { at });
    const headers = { "X-Cooldown-Priority": priority };
    const { status } = await ask(proxy.port, { host: "api.test", headers });
    expect(status).toBe(400);
    expect((await ask(proxy.port, { host: "api.test" })).status).toBe(200);
  },
);

test.skipIf(Bun.which("curl") === null)(
  "the body of a GET is refused, since the runtime would drop it",
  async () => {
    using at = folder();
    await using upstream = startUpstream();
    const rule = `rate_limits: [{ domain: api.test, requests_per_second: 100, upstream: "${upstream.url}" }]\n`;
    await using proxy = await startProxy(rule, { at });
    const url = `http://127.0.0.1:${proxy.port}/_search`;
    const child = Bun.spawn(["curl", "-s", "-X", "GET", "-H", "Host: api.test", "-d", "{}", url]);
    expect(JSON.parse(await new Response(child.stdout).text())).toMatchObject({
      error: { code: "INVALID_REQUEST" },
    });
    expect(upstream.seen).toEqual([]);
  },
);

test("a model's name of any length is cut where it is shown", async () => {
  using at = folder();
  await using upstream = startUpstream(() => Response.json({ choices: [] }));
  const quota =
    `quotas: [{ name: q, domain: api.test, provider: generic, upstream: "${upstream.url}", ` +
    "per: [model], rpm: 100 }]\n";
  await using proxy = await startProxy(quota, { at });
  const body = JSON.stringify({ model: "m".repeat(200_000), messages: [] });
  const answer = await ask(proxy.port, {
    method: "POST",
    host: "api.test",
    path: "/v1/chat/completions",
    headers: { "Content-Type": "application/json" },
    body,
  });
  expect(answer.status).toBe(200);
  const stats = await ask(proxy.port, { path: "/stats" });
  expect(stats.text().length).toBeLessThan(2_000);
});

test("a fragment in a target is refused: what stands behind it is not for servers", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const rule = `rate_limits: [{ domain: api.test, requests_per_second: 100, upstream: "${upstream.url}" }]\n`;
  await using proxy = await startProxy(rule, { at });
  for (const path of ["/a#b", "/a?x#y", "/a#"]) {
    const answer = await ask(proxy.port, { host: "api.test", path });
    expect([path, answer.status, answer.header("x-cooldown-error")]).toEqual([
      path,
      400,
      "INVALID_REQUEST",
    ]);
  }
  expect((await ask(proxy.port, { path: "/health#x" })).status).toBe(400);
  expect((await ask(proxy.port, { host: "api.test", path: "/a%23b" })).status).toBe(200);
  expect(upstream.seen.map(({ target }) => target)).toEqual(["/a%23b"]);
});
