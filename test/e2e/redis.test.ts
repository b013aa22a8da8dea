import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Server } from "../ledger/redis-server.ts";
import { hasRedis, startRedis } from "../ledger/redis-server.ts";
import type { Ask } from "./client.ts";
import { ask, call } from "./client.ts";
import type { Proxy } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Upstream } from "./upstream.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(60_000);

const host = "api.test";
const get: Ask = { host, path: "/x" };
const post: Ask = { host, path: "/x", method: "POST", body: "{}" };

// Needs the program `redis-server`.
describe.skipIf(!hasRedis)("two processes that share a Redis", () => {
  let redis: Server;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  const configOf = (upstream: Upstream, more = "", onFailure = "closed"): string => `
limiter: redis
redis: { url: "${redis.url}", prefix: "${crypto.randomUUID()}:", on_failure: ${onFailure} }
quotas:
  - { name: q, domain: ${host}, provider: openai, rpm: 1000, upstream: "${upstream.url}" }
${more}`;

  const circuitOf = async (proxy: Proxy): Promise<unknown> =>
    ((await proxy.quota("q")) as unknown as { circuit: string }).circuit;

  test("a client of 60 a minute gets 60 over both, and both say what is left", async () => {
    using here = folder();
    using there = folder();
    await using upstream = startUpstream();
    const more = "clients: { rate_limit: 60, algorithm: sliding_window }\n";
    const yaml = configOf(upstream, more);
    await using one = await startProxy(yaml, { at: here });
    await using other = await startProxy(yaml, { at: there });
    const headers = { Authorization: "Bearer theirs" };
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        ask((n % 3 === 0 ? one : other).port, { ...get, headers }),
      ),
    );
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(60);
    expect(statuses.filter((status) => status === 429)).toHaveLength(40);
    expect(upstream.seen).toHaveLength(60);
    const refused = await ask(one.port, { ...get, headers });
    expect(refused.json().error.code).toBe("RATE_LIMIT_EXCEEDED");
    expect(Number(refused.header("retry-after"))).toBeWithin(50, 62);
    // Another client is not touched by that.
    expect((await ask(one.port, { ...get, headers: { Authorization: "Bearer x" } })).status).toBe(
      200,
    );
    const hash = new Bun.CryptoHasher("sha256").update("theirs").digest("hex").slice(0, 12);
    const path = `/api/clients/anon:${hash}`;
    for (const { port } of [one, other])
      expect((await ask(port, { path })).json()).toMatchObject({ limit: 60, remaining: 0 });
    expect((await ask(one.port, { path, method: "DELETE" })).status).toBe(200);
    expect((await ask(other.port, { ...get, headers })).status).toBe(200);
    expect((await ask(one.port, { path: "/api/clients/anon:000000000000" })).status).toBe(404);
  });

  test("a 429 that one sees holds the other, and one that starts meanwhile", async () => {
    using here = folder();
    using there = folder();
    using later = folder();
    let turnsAway = true;
    await using upstream = startUpstream(() => {
      if (!turnsAway) return new Response("ok");
      turnsAway = false;
      return Response.json({}, { status: 429, headers: { "Retry-After": "6" } });
    });
    const yaml = configOf(upstream);
    await using one = await startProxy(yaml, { at: here });
    await using other = await startProxy(yaml, { at: there });
    // It has room of its own by then.
    const first = call(one.port, post);
    await until(() => !turnsAway, "one was turned away");
    const turnedAwayAt = performance.now();
    await until(async () => (await one.quota("q")).queue_depth === 1, "it waits");
    const waiting = [call(other.port, post), call(other.port, post)];
    await using third = await startProxy(yaml, { at: later });
    waiting.push(call(third.port, post));
    await until(
      async () =>
        (await other.quota("q")).queue_depth === 2 && (await third.quota("q")).queue_depth === 1,
      "they wait",
    );
    expect(upstream.seen).toHaveLength(1);
    for (const { answer } of [first, ...waiting]) expect((await answer).status).toBe(200);
    const [, next] = upstream.seen;
    expect((next?.at ?? 0) - turnedAwayAt).toBeGreaterThan(5_900);
    expect((next?.at ?? 0) - turnedAwayAt).toBeLessThan(7_500);
    expect(upstream.seen).toHaveLength(5);
  });

  test("a circuit that one opens is open in the other", async () => {
    using here = folder();
    using there = folder();
    await using upstream = startUpstream(() =>
      Response.json({ error: { code: "insufficient_quota" } }, { status: 429 }),
    );
    const yaml = configOf(upstream);
    await using one = await startProxy(yaml, { at: here });
    await using other = await startProxy(yaml, { at: there });
    for (let n = 0; n < 9; n++) expect((await ask(one.port, post)).status).toBe(429);
    expect((await ask(other.port, post)).status).toBe(429);
    expect(await circuitOf(other)).toBe("closed");
    expect((await ask(one.port, post)).status).toBe(429);
    await until(async () => (await circuitOf(other)) === "open", "it is open there");
    const before = upstream.seen.length;
    const refused = await ask(other.port, post);
    expect([refused.status, refused.json().error.code]).toEqual([503, "CIRCUIT_OPEN"]);
    expect(Number(refused.header("retry-after"))).toBeWithin(50, 61);
    expect(upstream.seen).toHaveLength(before);
  });

  test.each([
    ["closed", 0],
    ["open", 20],
    // Half of ten each, of which one has used all of its part.
    ["local", 5],
  ] as const)(
    "Redis is killed, and is back: clients by on_failure: %s",
    async (policy, without) => {
      using here = folder();
      using there = folder();
      await using upstream = startUpstream();
      const more = "clients: { rate_limit: 10, algorithm: sliding_window }\n";
      const yaml = configOf(upstream, more, policy);
      await using one = await startProxy(yaml, { at: here });
      await using other = await startProxy(yaml, { at: there });
      const count = async (each: number): Promise<number> => {
        const statuses = await Promise.all(
          Array.from({ length: each }, async () => [
            (await ask(one.port, get)).status,
            (await ask(other.port, get)).status,
          ]),
        );
        return statuses.flat().filter((status) => status === 200).length;
      };
      for (let n = 0; n < 5; n++) expect((await ask(one.port, get)).status).toBe(200);
      await redis.kill();
      await Promise.all([one, other].map((proxy) => proxy.said(/Redis cannot be reached/)));
      expect(await count(10)).toBe(without);
      const refused = await ask(one.port, get);
      if (policy === "closed") expect(refused.json().error.code).toBe("STORE_UNAVAILABLE");
      else expect(refused.status).toBe(policy === "open" ? 200 : 429);
      await redis.start();
      await Promise.all([one, other].map((proxy) => proxy.said(/Redis is there/)));
      expect(await count(20)).toBe(10);
    },
  );
});
