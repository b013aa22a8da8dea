import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { answering, rawServer } from "../upstream/raw-server.ts";
import type { RawServer } from "../upstream/raw-server.ts";
import { ask, brokenOff, call } from "./client.ts";
import type { Folder, Proxy } from "./program.ts";
import { folder, memoryOf, startProxy, until } from "./program.ts";
import { startUpstream } from "./upstream.ts";
import type { Upstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** Wide open: what is tested here is what passes, not when. */
function rules(upstreams: Readonly<Record<string, string>>): string {
  const rows = Object.entries(upstreams).map(
    ([domain, upstream]) =>
      `  - { domain: ${domain}, requests_per_second: 100000, burst: 100000, max_queue_depth: 5000, upstream: "${upstream}" }`,
  );
  return `server: { max_body_size: 200MB }\nrate_limits:\n${rows.join("\n")}\n`;
}

describe("what passes, byte by byte", () => {
  let at: Folder;
  let proxy: Proxy;
  let echo: RawServer;
  let upstream: Upstream;
  const random = crypto.getRandomValues(new Uint8Array(64 * 1024));
  const zipped = Bun.gzipSync(Buffer.from("plain text ".repeat(1_000)));

  beforeAll(async () => {
    at = folder();
    echo = await answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    upstream = startUpstream(async (request, { target }) => {
      switch (target) {
        case "/cookies": {
          const headers = new Headers({ "content-type": "text/plain" });
          headers.append("set-cookie", "a=1; Path=/");
          headers.append("set-cookie", "b=2; Expires=Wed, 21 Oct 2065 07:28:00 GMT");
          return new Response("ok", { headers });
        }
        case "/gzip":
          return new Response(zipped, {
            headers: { "content-encoding": "gzip", "content-type": "text/plain" },
          });
        case "/204":
          return new Response(null, { status: 204, headers: { "x-of": "upstream" } });
        case "/304":
          return new Response(null, { status: 304, headers: { etag: '"x"' } });
        case "/redirect":
          return new Response(null, { status: 302, headers: { location: "/elsewhere?a=b" } });
        case "/random":
          return new Response(random, { headers: { "content-type": "application/x-bytes" } });
        case "/echo":
          return new Response(await request.bytes());
        case "/418":
          return Response.json({ error: "teapot" }, { status: 418 });
        default:
          return new Response("ok", { headers: { "x-request-id": "of-the-upstream" } });
      }
    });
    proxy = await startProxy(rules({ "raw.test": echo.url, "api.test": upstream.url }), { at });
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    await echo[Symbol.asyncDispose]();
    at[Symbol.dispose]();
  });

  test.each([
    "/",
    "/a%2Fb/c%20d",
    "/%E2%82%AC/x%2E",
    "/a//b/",
    "/p?q=1&q=2&empty=&flag",
    "/p?q=%20+%2B&x=%zz",
    "/p?url=https://x.test/a?b=c&d=[1]{2}|3",
    "/p;v=1/:x@y!$&'()*+,=~",
    "/p?",
  ])("the target %s arrives as it was encoded", async (path) => {
    const { status } = await ask(proxy.port, { host: "raw.test", path });
    expect(status).toBe(200);
    expect(echo.connections.map(({ received }) => received).join("\n")).toContain(
      `GET ${path} HTTP/1.1\r\n`,
    );
  });

  test("end-to-end headers arrive, repeated ones repeated; hop-by-hop and our own do not", async () => {
    await ask(proxy.port, {
      host: "raw.test",
      path: "/headers",
      headers: [
        ["Authorization", "Bearer sk-1"],
        ["Accept", "a/b"],
        ["X-Multi", "one"],
        ["X-Multi", "two"],
        ["Connection", "close, X-Hop"],
        ["X-Hop", "1"],
        ["Keep-Alive", "timeout=5"],
        ["TE", "trailers"],
        ["Proxy-Authorization", "Basic eA=="],
        ["X-Cooldown-Priority", "low"],
      ],
    });
    const { received } = await echo.received((one) => one.received.includes("GET /headers "));
    const head = received.slice(received.indexOf("GET /headers ")).toLowerCase();
    expect(head).toContain(`host: 127.0.0.1:${echo.port}\r\n`);
    expect(head).toContain("authorization: bearer sk-1\r\n");
    expect(head).toContain("accept: a/b\r\n");
    expect(head).toMatch(/x-multi: one(, |\r\nx-multi: )two\r\n/);
    for (const gone of ["x-hop", "keep-alive:", "te:", "proxy-authorization", "x-cooldown"]) {
      expect(head).not.toContain(gone);
    }
    expect(head).not.toContain("accept-encoding");
  });

  test("two Set-Cookie stay two", async () => {
    const answer = await ask(proxy.port, { host: "api.test", path: "/cookies" });
    expect(answer.all("set-cookie")).toEqual([
      "a=1; Path=/",
      "b=2; Expires=Wed, 21 Oct 2065 07:28:00 GMT",
    ]);
  });

  test("gzip stays as it is", async () => {
    const answer = await ask(proxy.port, { host: "api.test", path: "/gzip" });
    expect(answer.header("content-encoding")).toBe("gzip");
    expect(Buffer.compare(answer.bytes(), zipped)).toBe(0);
  });

  test("204, 304, a redirect and an odd status pass with their headers", async () => {
    const none = await ask(proxy.port, { host: "api.test", path: "/204" });
    expect([none.status, none.header("x-of"), none.bytes().length]).toEqual([204, "upstream", 0]);
    const same = await ask(proxy.port, { host: "api.test", path: "/304" });
    expect([same.status, same.header("etag"), same.bytes().length]).toEqual([304, '"x"', 0]);
    const moved = await ask(proxy.port, { host: "api.test", path: "/redirect" });
    expect([moved.status, moved.header("location")]).toEqual([302, "/elsewhere?a=b"]);
    const odd = await ask(proxy.port, { host: "api.test", path: "/418" });
    expect([odd.status, odd.json()]).toEqual([418, { error: "teapot" }]);
  });

  test("HEAD has the length of what it does not send", async () => {
    const answer = await ask(proxy.port, { host: "api.test", path: "/random", method: "HEAD" });
    expect(answer.status).toBe(200);
    expect(answer.header("content-length")).toBe(String(random.length));
    expect(answer.bytes()).toHaveLength(0);
  });

  test("64 KB of random bytes down, and up and down; no type is made up", async () => {
    const answer = await ask(proxy.port, { host: "api.test", path: "/random" });
    expect(Buffer.compare(answer.bytes(), random)).toBe(0);
    const typeless = await ask(proxy.port, { host: "raw.test" });
    expect([typeless.text(), typeless.header("content-type")]).toEqual(["ok", null]);
    for (const body of [random, inPieces(random, 1_000)]) {
      const back = await ask(proxy.port, { host: "api.test", path: "/echo", method: "POST", body });
      expect(Buffer.compare(back.bytes(), random)).toBe(0);
    }
  });

  test.each(["PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])("the method %s", async (method) => {
    await ask(proxy.port, { host: "raw.test", path: `/method-${method}`, method });
    await echo.received((one) => one.received.includes(`${method} /method-${method} HTTP/1.1`));
  });

  test("answers carry what section 5 of the contract promises", async () => {
    const answer = await ask(proxy.port, { host: "api.test", path: "/x" });
    expect(answer.header("x-proxy")).toMatch(/^cooldown\/\d+\.\d+\.\d+/);
    expect(answer.header("x-cooldown-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.header("x-request-id")).toBe("of-the-upstream");
    expect(answer.header("x-cooldown-wait")).toMatch(/^\d+\.\d{3}$/);
    const own = await ask(proxy.port, { host: "api.test", path: "/418" });
    expect(own.header("x-request-id")).toBe(own.header("x-cooldown-request-id"));
  });
});

describe("streams", () => {
  test("server-sent events pass one by one, the first byte within 80 ms of the upstream's", async () => {
    using at = folder();
    const sentAt: number[] = [];
    await using upstream = startUpstream(
      () =>
        new Response(
          (async function* () {
            for (let n = 0; n < 6; n++) {
              await Bun.sleep(150);
              sentAt.push(performance.now());
              yield Buffer.from(`data: ${n}\n\n`);
            }
          })(),
          { headers: { "content-type": "text/event-stream" } },
        ),
    );
    await using proxy = await startProxy(rules({ "api.test": upstream.url }), { at });
    const { pieces, text } = await ask(proxy.port, { host: "api.test" });
    expect(pieces.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(
      sentAt.map((_, n) => `data: ${n}\n\n`),
    );
    expect(text()).toContain("data: 5");
    for (const [n, at] of sentAt.entries())
      expect((pieces[n]?.at ?? Infinity) - at).toBeLessThan(80);
  });

  test("a client that goes away cancels the upstream call, before the answer and within it", async () => {
    using at = folder();
    await using upstream = startUpstream((request, { target }) => {
      if (target === "/never") return new Promise<Response>(() => {});
      return new Response(
        (async function* () {
          while (!request.signal.aborted) {
            yield Buffer.from("data: tick\n\n");
            await Bun.sleep(10);
          }
        })(),
        { headers: { "content-type": "text/event-stream" } },
      );
    });
    await using proxy = await startProxy(rules({ "api.test": upstream.url }), { at });
    const silent = call(proxy.port, { host: "api.test", path: "/never" });
    await until(() => upstream.seen.length === 1, "the call has arrived");
    silent.abort();
    await until(() => upstream.seen[0]?.aborted === true, "it is cancelled", 1_000);

    const stream = call(proxy.port, { host: "api.test", path: "/stream" });
    await stream.firstPiece;
    stream.abort();
    await until(() => upstream.seen[1]?.aborted === true, "the stream is cancelled", 1_000);
  });

  test("an upstream that breaks off does not look complete; one that is dead is 502", async () => {
    using at = folder();
    const half = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
    await using short = await answering(`${half}Content-Length: 100\r\n\r\nhalf`, (s) => s.end());
    await using chunked = await answering(
      `${half}Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`,
      (socket) => void setTimeout(() => socket.resetAndDestroy(), 20),
    );
    await using silent = await rawServer(({ socket }) => void socket.end());
    await using garbage = await answering("this is no HTTP\r\n\r\n", (s) => s.end());
    const gone = await rawServer();
    await gone[Symbol.asyncDispose]();
    const upstreams = {
      "short.test": short.url,
      "chunked.test": chunked.url,
      "silent.test": silent.url,
      "garbage.test": garbage.url,
      "gone.test": gone.url,
    };
    await using proxy = await startProxy(rules(upstreams), { at });
    await brokenOff(ask(proxy.port, { host: "chunked.test" }));
    // What has broken off before its head went on is told as an error, else with the connection.
    const cut = await ask(proxy.port, { host: "short.test" }).catch(() => null);
    if (cut !== null) {
      expect([cut.status, cut.json().error.code]).toEqual([502, "UPSTREAM_UNREACHABLE"]);
    }
    for (const host of ["silent.test", "garbage.test", "gone.test"]) {
      const answer = await ask(proxy.port, { host });
      expect([host, answer.status]).toEqual([host, 502]);
      expect(answer.json().error.code).toBe("UPSTREAM_UNREACHABLE");
      expect(answer.header("x-cooldown-error")).toBe("UPSTREAM_UNREACHABLE");
    }
  });
});

describe("much and slow", () => {
  test("1,000 answers of 3 s each at once take less than 7 s", async () => {
    using at = folder();
    await using upstream = startUpstream(async () => {
      await Bun.sleep(3_000);
      return new Response("done");
    });
    await using proxy = await startProxy(rules({ "api.test": upstream.url }), { at });
    const start = performance.now();
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, () => ask(proxy.port, { host: "api.test" })),
    );
    expect(performance.now() - start).toBeLessThan(7_000);
    expect(answers.filter(({ status }) => status !== 200)).toHaveLength(0);
  });

  test.skipIf(process.platform !== "linux").each(["with its length", "in chunks"])(
    "an upload of 100 MB %s takes less than 80 MB of memory",
    async (how) => {
      using at = folder();
      await using upstream = startUpstream(async (request) => {
        let length = 0;
        for await (const chunk of request.body ?? []) length += (chunk as Uint8Array).byteLength;
        return Response.json({ length });
      });
      await using proxy = await startProxy(rules({ "api.test": upstream.url }), { at });
      await ask(proxy.port, { host: "api.test", method: "POST", body: "warm" });
      const before = memoryOf(proxy.pid).now;
      const bytes = new Uint8Array(100_000_000);
      const body = how === "in chunks" ? inPieces(bytes, 65_536) : bytes;
      const answer = await ask(proxy.port, { host: "api.test", method: "POST", body });
      expect(answer.json()).toEqual({ length: bytes.length });
      expect((memoryOf(proxy.pid).peak - before) / 1e6).toBeLessThan(80);
    },
  );
});

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
