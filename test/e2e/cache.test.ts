import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { rawServer } from "../upstream/raw-server.ts";
import { ask, brokenOff, call } from "./client.ts";
import type { Answer, Ask } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Folder, Proxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const host = "api.test";

/** A quota so large that it never matters, in front of `url`, and the cache. */
function yaml(url: string, cache = "enabled: true"): string {
  return `quotas: [{ name: q, domain: ${host}, provider: openai, upstream: "${url}", rpm: 1000, tpm: 1000000 }]
rate_limits: [{ domain: plain.test, requests_per_second: 1000, burst: 1000, upstream: "${url}" }]
cache: { ${cache} }
`;
}

function chat(content: string, more: Ask & { stream?: boolean } = {}): Ask {
  const { stream = false, ...rest } = more;
  const messages = [{ role: "user", content }];
  const body = JSON.stringify({ model: "m", max_tokens: 20, stream, messages });
  return { host, path: "/v1/chat/completions", method: "POST", body, ...rest };
}

const usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 };
const events = ["one", "two", "three"].map(
  (content) => `data: {"choices":[{"delta":{"content":"${content}"}}]}\n\n`,
);

/** A stream that sends `pieces` one by one, then ends well or breaks off. */
function streamed(pieces: readonly string[], endsWell = true): Response {
  const left = [...pieces];
  const body = new ReadableStream<Uint8Array>({
    async pull(stream) {
      await Bun.sleep(2);
      const piece = left.shift();
      if (piece !== undefined) stream.enqueue(new TextEncoder().encode(piece));
      else if (endsWell) stream.close();
      else stream.error(new Error("broken off"));
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

interface CacheStats {
  item_count: number;
  size_bytes: number;
  ttl: number;
  hits: number;
  misses: number;
}

async function cacheStats(proxy: Proxy): Promise<CacheStats> {
  return (await ask(proxy.port, { path: "/stats" })).json().cache as CacheStats;
}

async function used(proxy: Proxy): Promise<number> {
  const [requests] = (await proxy.quota("q")).windows;
  return (requests?.used ?? 0) + (requests?.reserved ?? 0);
}

async function twice(proxy: Proxy, question: Ask): Promise<[Answer, Answer]> {
  return [await ask(proxy.port, question), await ask(proxy.port, question)];
}

const results = (answers: readonly Answer[]): (string | null)[] =>
  answers.map((answer) => answer.header("x-cache"));

describe("an answer is kept and given again, byte for byte", () => {
  test("JSON: it costs no quota, and says when it was made", async () => {
    using at = folder();
    let id = 0;
    await using upstream = startUpstream(() =>
      Response.json({ id: ++id, usage }, { headers: { "x-request-id": `up-${id}` } }),
    );
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const [first, second] = await twice(proxy, chat("hello"));
    expect(results([first, second])).toEqual(["MISS", "HIT"]);
    expect(second.bytes()).toEqual(first.bytes());
    expect(second.status).toBe(200);
    expect(second.header("content-type")).toBe(first.header("content-type"));
    expect(second.header("x-request-id")).toBe("up-1");
    expect(second.header("x-cooldown-request-id")).not.toBe(first.header("x-cooldown-request-id"));
    const madeAt = Date.parse(second.header("x-cache-timestamp") ?? "");
    expect(Date.now() - madeAt).toBeLessThan(10_000);
    expect(second.header("age")).toMatch(/^\d$/);
    expect(first.header("x-cache-timestamp")).toBeNull();
    expect(upstream.seen).toHaveLength(1);
    expect(await used(proxy)).toBe(1);
    expect(await cacheStats(proxy)).toMatchObject({ item_count: 1, hits: 1, misses: 1, ttl: 300 });
    const metrics = (await ask(proxy.port, { path: "/metrics" })).text();
    expect(metrics).toContain('cooldown_cache_requests_total{result="hit"} 1');
    expect(metrics).toContain('cooldown_cache_requests_total{result="miss"} 1');
    await proxy.said(/cache_hit/);
  });

  test("a stream: replayed as one", async () => {
    using at = folder();
    await using upstream = startUpstream(() => streamed([...events, "data: [DONE]\n\n"]));
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const [first, second] = await twice(proxy, chat("hello", { stream: true }));
    expect(results([first, second])).toEqual(["MISS", "HIT"]);
    expect(second.text()).toBe(`${events.join("")}data: [DONE]\n\n`);
    expect(second.bytes()).toEqual(first.bytes());
    expect(second.header("content-type")).toBe("text/event-stream");
    expect(second.header("content-length")).toBeNull();
  });

  test("a stream of Anthropic's events, also where no quota looks into it", async () => {
    using at = folder();
    const stop = 'event: message_stop\ndata: {"type":"message_stop"}\n\n';
    await using upstream = startUpstream(() =>
      streamed(['event: ping\ndata: {"type":"ping"}\n\n', stop]),
    );
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const body = JSON.stringify({ model: "m", max_tokens: 9, stream: true, messages: [] });
    const question = { host: "plain.test", path: "/v1/messages", method: "POST", body };
    expect(results(await twice(proxy, question))).toEqual(["MISS", "HIT"]);
  });

  test("a GET, and an embedding", async () => {
    using at = folder();
    await using upstream = startUpstream(() => Response.json({ data: [1, 2, 3] }));
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const models = { host: "plain.test", path: "/v1/models?limit=5" };
    expect(results(await twice(proxy, models))).toEqual(["MISS", "HIT"]);
    const other = { host: "plain.test", path: "/v1/models?limit=6" };
    expect(results(await twice(proxy, other))).toEqual(["MISS", "HIT"]);
    const body = JSON.stringify({ model: "m", input: "text" });
    const embedding = { host, path: "/v1/embeddings", method: "POST", body };
    expect(results(await twice(proxy, embedding))).toEqual(["MISS", "HIT"]);
  });
});

describe("which statuses are kept", () => {
  test.each([
    [200, "HIT"],
    [201, "HIT"],
    [400, "HIT"],
    [401, "HIT"],
    [403, "MISS"],
    [404, "MISS"],
    [500, "MISS"],
    [502, "MISS"],
  ])("%d: then %s", async (status, second) => {
    using at = folder();
    await using upstream = startUpstream(() => Response.json({ status }, { status }));
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const answers = await twice(proxy, { host: "plain.test", path: "/x" });
    expect(answers.map((answer) => answer.status)).toEqual([status, status]);
    expect(results(answers)).toEqual(["MISS", second]);
  });
});

test("an answer that ends with its connection is not kept, for it may have been cut off", async () => {
  using at = folder();
  await using upstream = await rawServer(({ received, socket }) => {
    const isStream = received.includes('stream":true');
    const type = isStream ? "text/event-stream" : "application/json";
    const body = isStream ? `${events[0]}data: [DONE]\n\n` : "[1, 2, 3";
    socket.end(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nConnection: close\r\n\r\n${body}`);
  });
  await using proxy = await startProxy(yaml(upstream.url), { at });
  for (const request of [{ host: "plain.test", path: "/list" }, chat("a")]) {
    for (let i = 0; i < 2; i++) {
      const answer = await ask(proxy.port, request);
      expect(answer.text()).toBe("[1, 2, 3");
      expect(answer.header("x-cache")).toBe("MISS");
    }
  }
  const results: unknown[] = [];
  for (let i = 0; i < 2; i++)
    results.push((await ask(proxy.port, chat("b", { stream: true }))).header("x-cache"));
  expect(results).toEqual(["MISS", "HIT"]);
});

test("what asks not to be kept is not, what wants to be fresh is asked anew and kept", async () => {
  using at = folder();
  let count = 0;
  await using upstream = startUpstream((request) => {
    const headers = new Headers();
    if (request.url.endsWith("/private")) headers.set("cache-control", "private");
    if (request.url.endsWith("/cookie")) headers.set("set-cookie", "session=1");
    return new Response(String(++count), { headers });
  });
  await using proxy = await startProxy(yaml(upstream.url), { at });
  const get = (path: string, headers: Record<string, string> = {}): Promise<Answer> =>
    ask(proxy.port, { host: "plain.test", path, headers });
  for (const path of ["/private", "/cookie"]) {
    expect(results([await get(path), await get(path)])).toEqual(["MISS", "MISS"]);
  }
  const noStore = { "Cache-Control": "no-store" };
  expect(results([await get("/a", noStore), await get("/a")])).toEqual(["BYPASS", "MISS"]);
  const kept = await get("/a");
  expect(kept.header("x-cache")).toBe("HIT");
  const fresh = await get("/a", { "Cache-Control": "no-cache" });
  expect(fresh.header("x-cache")).toBe("BYPASS");
  expect(fresh.text()).not.toBe(kept.text());
  expect((await get("/a")).text()).toBe(fresh.text());
  const deleted = await ask(proxy.port, { host: "plain.test", path: "/a", method: "DELETE" });
  expect(deleted.header("x-cache")).toBe("BYPASS");
});

test("two keys never see each other's answers", async () => {
  using at = folder();
  await using upstream = startUpstream((request) =>
    Response.json({
      for: request.headers.get("authorization") ?? request.headers.get("x-api-key"),
    }),
  );
  await using proxy = await startProxy(yaml(upstream.url), { at });
  const keys = [
    { Authorization: "Bearer one" },
    { Authorization: "Bearer two" },
    { "X-Api-Key": "one" },
    { "X-Api-Key": "two" },
    { "X-Cooldown-Key": "one" },
    {},
  ];
  for (const round of ["MISS", "HIT"]) {
    for (const headers of keys) {
      const answer = await ask(proxy.port, chat("whose?", { headers }));
      expect(answer.header("x-cache")).toBe(round);
      expect(answer.json().for).toBe(
        Object.keys(headers)[0] === "X-Cooldown-Key" ? null : (Object.values(headers)[0] ?? null),
      );
    }
  }
});

describe("an answer that did not come to its end is not kept", () => {
  test("the client goes away", async () => {
    using at = folder();
    let count = 0;
    await using upstream = startUpstream((_, seen) => {
      count++;
      if (count > 1) return streamed([...events, "data: [DONE]\n\n"]);
      // Never ends by itself.
      return new Response(
        new ReadableStream({
          start: (stream) => stream.enqueue(new TextEncoder().encode(events[0])),
          cancel: () => void (seen.aborted = true),
        }),
        { headers: { "content-type": "text/event-stream" } },
      );
    });
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const left = call(proxy.port, chat("hello", { stream: true }));
    await left.firstPiece;
    left.abort();
    await until(() => upstream.seen[0]?.aborted === true, "the upstream call is ended");
    expect((await cacheStats(proxy)).item_count).toBe(0);
    expect(results(await twice(proxy, chat("hello", { stream: true })))).toEqual(["MISS", "HIT"]);
  });

  test.each([
    ["the upstream breaks off", () => streamed(events, false)],
    ["the last event is missing", () => streamed(events)],
  ])("%s", async (what, answer) => {
    using at = folder();
    await using upstream = startUpstream(answer);
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const question = chat("hello", { stream: true });
    for (let n = 0; n < 2; n++) {
      const { answer: whole, head } = call(proxy.port, question);
      expect((await head).header("x-cache")).toBe("MISS");
      if (what === "the upstream breaks off") await brokenOff(whole);
      else await whole;
    }
    expect((await cacheStats(proxy)).item_count).toBe(0);
  });
});

test("DELETE /cache forgets all; the TTL is kept to; without a cache there is no X-Cache", async () => {
  using at = folder();
  await using upstream = startUpstream(() => Response.json({ usage }));
  await using proxy = await startProxy(yaml(upstream.url, "enabled: true, ttl: 300ms"), { at });
  const { port } = proxy;
  await ask(port, chat("a"));
  await ask(port, chat("b"));
  const cleared = await ask(port, { path: "/cache", method: "DELETE" });
  expect(cleared.json()).toEqual({ message: "Cache cleared successfully", removed: 2 });
  expect((await cacheStats(proxy)).item_count).toBe(0);
  expect(results(await twice(proxy, chat("a")))).toEqual(["MISS", "HIT"]);
  await until(async () => (await cacheStats(proxy)).item_count === 0, "it has run out");
  expect((await ask(port, chat("a"))).header("x-cache")).toBe("MISS");
  proxy.configure(yaml(upstream.url, "enabled: false"));
  await proxy.said(/configuration reloaded/);
  expect((await ask(port, chat("a"))).header("x-cache")).toBeNull();
  expect((await ask(port, { path: "/cache", method: "GET" })).status).toBe(405);
});

test("a changed limit leaves what is kept, a changed upstream does not", async () => {
  using at = folder();
  await using upstream = startUpstream(() => new Response("first"));
  await using other = startUpstream(() => new Response("other"));
  const rule = (url: string, rps: number): string =>
    `cache: { enabled: true }\nrate_limits: [{ domain: plain.test, requests_per_second: ${rps}, upstream: "${url}" }]\n`;
  await using proxy = await startProxy(rule(upstream.url, 500), { at });
  const get = (): Promise<Answer> => ask(proxy.port, { host: "plain.test", path: "/x" });
  expect((await get()).header("x-cache")).toBe("MISS");
  const reload = async (text: string, times: number): Promise<void> => {
    proxy.configure(text);
    const count = (): number => proxy.err.match(/configuration reloaded/g)?.length ?? 0;
    await until(() => count() === times, "it has reloaded");
  };
  await reload(rule(upstream.url, 600), 1);
  expect((await get()).header("x-cache")).toBe("HIT");
  await reload(rule(other.url, 600), 2);
  const answer = await get();
  expect([answer.header("x-cache"), answer.text()]).toEqual(["MISS", "other"]);
});

/** RATE_LIMIT and CACHE_TTL alone make a useful proxy; a kept answer is a request of the client's own limit. */
test("an answer from the cache counts as a request of the client's own, and refusals are not kept", async () => {
  using at: Folder = folder();
  await using upstream = startUpstream(() => Response.json({ usage }));
  const env = { OPENAI_API_URL: upstream.url, CACHE_TTL: "5m", RATE_LIMIT: "3" };
  await using proxy = await startProxy("", { at, env });
  const { host: _, ...question } = chat("hello");
  const answers = [];
  for (let n = 0; n < 4; n++) answers.push(await ask(proxy.port, question));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
  expect(results(answers)).toEqual(["MISS", "HIT", "HIT", null]);
  expect(answers[3]?.json().error.code).toBe("RATE_LIMIT_EXCEEDED");
  expect(upstream.seen).toHaveLength(1);
});
