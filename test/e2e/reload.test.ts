import { expect, setDefaultTimeout, test } from "bun:test";
import { ask, call } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Program } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** How a key of `api_keys` is named. */
function firstHex(key: string): string {
  return new Bun.CryptoHasher("sha256").update(key).digest("hex").slice(0, 12);
}

/** Resolves when the program has reloaded, or refused to, once more than `before` times. */
async function reloads(program: Program, what: RegExp, before: number): Promise<void> {
  const count = (): number => program.err.match(what)?.length ?? 0;
  await until(() => count() > before, `it says ${what}`);
}

test("a saturated quota lowered and raised by editing the file: order kept, nobody lost, limit held", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = (rps: number): string =>
    `quotas: [{ name: q, domain: api.test, provider: generic, upstream: "${upstream.url}", rps: ${rps}, arrival_margin: 500ms }]\n`;
  await using proxy = await startProxy(yaml(20), { at });
  const calls = [];
  for (let n = 0; n < 90; n++) {
    calls.push(call(proxy.port, { host: "api.test", path: `/${n}` }));
    await until(async () => {
      const { queue_depth } = await proxy.quota("q");
      return upstream.seen.length + queue_depth > n;
    }, `request ${n} is in`);
  }
  await until(() => upstream.seen.length >= 30, "it runs");
  proxy.configure(yaml(10));
  await reloads(proxy, /configuration reloaded/g, 0);
  const loweredAt = performance.now() + 50;
  expect((await proxy.quota("q")).windows[0]?.limit).toBe(10);
  await until(() => upstream.seen.length >= 55, "it goes on");
  const raisedAt = performance.now();
  proxy.configure(yaml(20));
  await reloads(proxy, /configuration reloaded/g, 1);
  for (const { answer } of calls) expect((await answer).status).toBe(200);

  const times = upstream.seen.map(({ at: time }) => time);
  for (const [n, time] of times.entries()) {
    const inWindow = times.filter((other, m) => m <= n && other > time - 1_000).length;
    expect(inWindow).toBeLessThanOrEqual(time > loweredAt && time < raisedAt ? 10 : 20);
  }
  // Those that left in one moment may arrive in any order.
  for (const [n, { target }] of upstream.seen.entries()) {
    const later = upstream.seen.slice(n + 1).find((other) => order(other.target) < order(target));
    if (later !== undefined) expect(later.at - (times[n] ?? 0)).toBeLessThan(50);
  }
});

function order(target: string): number {
  return Number(target.slice(1));
}

test("a broken file keeps the old configuration and says why; SIGHUP reads it again", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = (rest: string): string =>
    `rate_limits:\n  - { domain: api.test, requests_per_second: 100, upstream: "${upstream.url}" }\n${rest}`;
  await using proxy = await startProxy(yaml(""), { at });
  proxy.configure(yaml("default_ratelimit: { requests_per_second: 5 }\n"));
  await reloads(proxy, /not reloaded/g, 0);
  expect(proxy.err).toMatch(
    /config\.yaml:3:1: .*default_ratelimit.*did you mean.*default_rate_limit/,
  );
  expect((await ask(proxy.port, { host: "api.test" })).status).toBe(200);
  proxy.kill("SIGHUP");
  await reloads(proxy, /not reloaded/g, 1);
  proxy.configure(yaml("default_rate_limit: { requests_per_second: 5 }\n"));
  await reloads(proxy, /configuration reloaded/g, 0);
  proxy.kill("SIGHUP");
  await reloads(proxy, /configuration reloaded/g, 1);
  expect((await ask(proxy.port, { host: "api.test" })).status).toBe(200);
});

test("what can never fit any more is refused when the limit is lowered; the rest goes on waiting", async () => {
  using at = folder();
  await using upstream = startUpstream(() => Response.json({ usage: { total_tokens: 4_900 } }));
  const yaml = (tpm: number): string =>
    `quotas: [{ name: q, domain: api.test, provider: generic, upstream: "${upstream.url}", tpm: ${tpm} }]\n`;
  await using proxy = await startProxy(yaml(5_000), { at });
  const chat = (max_tokens: number): ReturnType<typeof call> =>
    call(proxy.port, {
      host: "api.test",
      path: "/v1/chat/completions",
      method: "POST",
      body: JSON.stringify({ model: "m", max_tokens, messages: [{ role: "user", content: "hi" }] }),
    });
  expect((await chat(4_900).answer).status).toBe(200);
  const large = chat(4_000);
  const small = chat(1_000);
  await until(async () => (await proxy.quota("q")).queue_depth === 2, "two wait");
  proxy.configure(yaml(3_000));
  const refused = await large.answer;
  expect([refused.status, refused.json().error.code]).toEqual([400, "EXCEEDS_QUOTA"]);
  expect((await proxy.quota("q")).queue_depth).toBe(1);
  proxy.configure(yaml(50_000));
  expect((await small.answer).status).toBe(200);
  expect((await proxy.quota("q")).windows[0]?.limit).toBe(50_000);
});

test("what needs a restart says so, and nothing else of the file is lost", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const rule = `rate_limits: [{ domain: api.test, requests_per_second: 100, upstream: "${upstream.url}" }]\n`;
  await using proxy = await startProxy("", { at });
  proxy.configure(`server: { host: 127.0.0.1 }\n${rule}`);
  await proxy.said(/needs a restart to change: server\.host/);
  await reloads(proxy, /configuration reloaded/g, 0);
  expect((await ask(proxy.port, { host: "api.test" })).status).toBe(200);
});

test.each([
  ["by itself", ""],
  ["with keys of its own", ", api_keys: [one]"],
])("what waits for a quota that is renamed, %s, is charged to the new name", async (_, more) => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = (name: string, rest = ""): string =>
    `quotas: [{ name: ${name}, domain: api.test, provider: generic, upstream: "${upstream.url}", rpm: 2${rest} }]\n`;
  await using proxy = await startProxy(yaml("before"), { at });
  const calls = [1, 2, 3, 4, 5].map((n) =>
    call(proxy.port, { host: "api.test", path: `/${n}`, headers: { Authorization: "own" } }),
  );
  await until(async () => (await proxy.quota("before")).queue_depth === 3, "three wait");
  proxy.configure(yaml("after", more));
  await until(() => upstream.seen.length === 4, "two of them go");
  for (const { headers } of upstream.seen.slice(2))
    expect(headers.get("authorization")).toBe(more === "" ? "own" : "Bearer one");
  await until(async () => (await proxy.quota("after")).queue_depth === 1, "one waits");
  const charged = more === "" ? "after" : `after key=${firstHex("one")}`;
  await until(async () => (await proxy.quota(charged)).windows[0]?.used === 2, "it has two");
  for (const { abort } of calls) abort();
});

test("what was turned away and waits again is charged to the new name of its quota", async () => {
  using at = folder();
  await using upstream = startUpstream((_, { target }) =>
    upstream.seen.length === 1
      ? new Response("", { status: 429, headers: { "Retry-After": "20" } })
      : new Response(target),
  );
  const yaml = (name: string): string =>
    `quotas: [{ name: ${name}, domain: api.test, provider: generic, upstream: "${upstream.url}", rpm: 2 }]\n`;
  await using proxy = await startProxy(yaml("before"), { at });
  const held = call(proxy.port, { host: "api.test" });
  await until(async () => (await proxy.quota("before")).queue_depth === 1, "it waits again");
  proxy.configure(yaml("after"));
  const answer = await held.answer;
  expect([answer.status, answer.header("x-ratelimit-remaining-rpm")]).toEqual([200, "1"]);
  expect((await proxy.quota("after")).windows[0]?.used).toBe(1);
});
