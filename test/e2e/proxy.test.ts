import { expect, setDefaultTimeout, test } from "bun:test";
import { cert, key } from "../upstream/self-signed.ts";
import { ask } from "./client.ts";
import { startOutgoing } from "./outgoing.ts";
import { folder, startProxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const rate = "requests_per_second: 1000, burst: 100";

/** An upstream with the certificate of `localhost`. */
function startSecure() {
  return Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    tls: { cert, key },
    fetch: (request) => new Response(request.headers.get("host")),
  });
}

test.each([false, true])(
  "upstreams are reached through a proxy with credentials (its own TLS: %p)",
  async (tls) => {
    using at = folder();
    using secure = startSecure();
    await using plain = startUpstream();
    await using outgoing = await startOutgoing({ tls, credentials: "me:p@ss:word" });
    const authority = `localhost:${outgoing.port}`;
    const yaml = `
upstream_proxy: "${tls ? "https" : "http"}://me:p%40ss%3Aword@${authority}"
extra_ca: ${at.write("ca.pem", cert)}
rate_limits:
  - { domain: secure.test, upstream: "https://localhost:${secure.port}", ${rate} }
  - { domain: plain.test, upstream: "http://plain.test:${plain.port}/base", ${rate} }
`;
    await using proxy = await startProxy(yaml, { at });
    const one = await ask(proxy.port, { host: "secure.test" });
    expect([one.status, one.text()]).toEqual([200, `localhost:${secure.port}`]);
    expect(outgoing.heads.pop()).toStartWith(`CONNECT localhost:${secure.port} HTTP/1.1\r\n`);
    const two = await ask(proxy.port, { host: "plain.test", path: "/a?b=c" });
    expect([two.status, plain.seen[0]?.target]).toEqual([200, "/base/a?b=c"]);
    const head = `GET http://plain.test:${plain.port}/base/a?b=c HTTP/1.1\r\n`;
    expect(outgoing.heads.pop()).toStartWith(head);
    const stats = await ask(proxy.port, { path: "/stats" });
    expect(stats.json().proxy_url).not.toContain("ss");
    expect(proxy.err).not.toContain("p%40ss");
  },
);

test.each([
  ["it refuses", 403],
  ["it fails", 502],
  ["it wants a password", 407],
])("502 UPSTREAM_UNREACHABLE where %s, and no word of the password", async (_, refuses) => {
  using at = folder();
  await using outgoing = await startOutgoing({ refuses });
  const yaml = `
upstream_proxy: "http://me:sesame@127.0.0.1:${outgoing.port}"
rate_limits: [{ domain: api.test, upstream: "https://elsewhere.test", ${rate} }]
`;
  await using proxy = await startProxy(yaml, { at });
  const { status, ...answer } = await ask(proxy.port, { host: "api.test" });
  expect([status, answer.json().error.code]).toEqual([502, "UPSTREAM_UNREACHABLE"]);
  expect(answer.json().error.message).toContain(`127.0.0.1:${outgoing.port} answered ${refuses}`);
  expect(answer.text() + proxy.err).not.toContain("sesame");
});

test("a proxy that is down is named, and what was reserved is given back", async () => {
  using at = folder();
  const yaml = `
upstream_proxy: "http://me:sesame@127.0.0.1:1"
quotas: [{ name: q, domain: api.test, provider: generic, upstream: "https://elsewhere.test", rpm: 5 }]
`;
  await using proxy = await startProxy(yaml, { at });
  const answer = await ask(proxy.port, { host: "api.test" });
  expect([answer.status, answer.json().error.code]).toEqual([502, "UPSTREAM_UNREACHABLE"]);
  expect(answer.json().error.message).toContain("The outgoing proxy 127.0.0.1:1");
  expect((await proxy.quota("q")).windows[0]).toMatchObject({ used: 0, reserved: 0 });
});

test("names that do not resolve here are the proxy's to judge; addresses and guarded names are ours", async () => {
  using at = folder();
  await using outgoing = await startOutgoing({ refuses: 403 });
  const yaml = `upstream_proxy: "http://127.0.0.1:${outgoing.port}"\n`;
  await using proxy = await startProxy(yaml, { at });
  const unknown = await ask(proxy.port, { host: "nowhere.invalid" });
  expect(unknown.json().error.message).toContain("answered 403");
  expect(outgoing.heads).toHaveLength(1);
  for (const host of ["127.1", "[::1]", "localhost.", "169.254.169.254"]) {
    const { status } = await ask(proxy.port, { host });
    expect([host, status]).toEqual([host, 403]);
  }
  expect(outgoing.heads).toHaveLength(1);
});

test("NO_PROXY, PROXY_URL and a reload", async () => {
  using at = folder();
  await using upstream = startUpstream();
  await using outgoing = await startOutgoing();
  const yaml = ["direct.localhost", "127.0.0.1", "localhost", "via.test"]
    .map(
      (name, i) => `{ domain: n${i}.test, upstream: "http://${name}:${upstream.port}", ${rate} }`,
    )
    .join(", ");
  const env = {
    PROXY_URL: `http://127.0.0.1:${outgoing.port}`,
    NO_PROXY: `.test:1, 127.0.0.0/8, localhost:${upstream.port}`,
  };
  await using proxy = await startProxy(`rate_limits: [${yaml}]\n`, { at, env });
  for (const host of ["n1.test", "n2.test"])
    expect((await ask(proxy.port, { host })).status).toBe(200);
  expect(outgoing.heads).toHaveLength(0);
  expect((await ask(proxy.port, { host: "n3.test" })).status).toBe(200);
  expect(outgoing.heads).toHaveLength(1);
  // What the environment says goes before the file.
  proxy.configure(`upstream_proxy: "http://127.0.0.1:1"\nrate_limits: [${yaml}]\n`);
  await proxy.said(/configuration reloaded/);
  expect((await ask(proxy.port, { host: "n3.test" })).status).toBe(200);
});
