import { describe, expect, test } from "bun:test";
import { createBlocklist } from "../../src/routing/blocklist.ts";
import { answering, rawServer } from "../upstream/raw-server.ts";
import { forwardProxy, openEnded, wire } from "./tunnel-proxy.ts";

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";
const codeIn = (answer: string): string | undefined => /x-cooldown-error: (\w+)/i.exec(answer)?.[1];
const statusIn = (answer: string): number => Number(answer.slice(9, 12));
const get = (url: string, headers = "") =>
  `GET ${url} HTTP/1.1\r\nHost: elsewhere.test\r\n${headers}Connection: close\r\n\r\n`;

describe("an absolute-form request", () => {
  test("goes where its URL says, whatever Host says", async () => {
    await using up = await answering(ok);
    await using proxy = await forwardProxy();
    const answer = await wire(
      proxy.port,
      get(`http://127.0.0.1:${up.port}/a%2fb?q=%20`, "X-One: 1\r\nX-One: 2\r\n"),
    ).ended;
    expect(statusIn(answer)).toBe(200);
    expect(answer).toEndWith("\r\n\r\nok");
    const { received } = up.connections[0]!;
    expect(received).toStartWith("GET /a%2fb?q=%20 HTTP/1.1\r\n");
    expect(received).toMatch(new RegExp(`\r\nHost: 127.0.0.1:${up.port}\r\n`, "i"));
    expect(received).not.toContain("elsewhere");
    expect(proxy.handled[0]!.headers.get("x-one")).toBe("1, 2");
  });

  test.each([
    ["http://h.test", "http://h.test/"],
    ["http://h.test?q", "http://h.test/?q"],
    ["HTTP://H.Test.:80/p", "http://h.test/p"],
    ["http://h.test:8080/p", "http://h.test:8080/p"],
    ["http://[::1]:81/p", "http://[::1]:81/p"],
  ])("%p is %p", async (target, url) => {
    await using proxy = await forwardProxy({}, { handle: (request) => new Response(request.url) });
    const answer = await wire(proxy.port, get(target)).ended;
    expect(answer).toContain(url);
    expect(statusIn(answer)).toBe(200);
  });

  test.each([
    ["/origin/form", /forward proxy/],
    ["https://h.test/", /CONNECT/],
    ["ftp://h.test/", /./],
    ["http:/h.test/", /./],
    ["http:///path", /one host/],
    ["http://user@h.test/", /one host/],
    ["http://user:pass@h.test/", /one host/],
    ["http://h.test,g.test/", /one host/],
    ["http://h.test\\@g.test/", /one host/],
    ["http://h.test:0/", /one host/],
    ["http://h.test/p#fragment", /fragment/],
    ["http://h.test/\xe9", /./],
  ])("400 for %p", async (target, message) => {
    await using proxy = await forwardProxy();
    const answer = await wire(proxy.port, get(target)).ended;
    expect(statusIn(answer)).toBe(400);
    expect(codeIn(answer)).toBe("INVALID_REQUEST");
    expect(
      JSON.parse(
        answer
          .split("\r\n\r\n")[1]!
          .replace(/^[0-9a-f]+\r\n/, "")
          .split("\r\n")[0]!,
      ).error.message,
    ).toMatch(message);
    expect(proxy.handled).toHaveLength(0);
  });

  test("400 for a WebSocket, which wants a tunnel", async () => {
    await using proxy = await forwardProxy();
    const upgrade = "Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n";
    const answer = await wire(proxy.port, get("http://h.test/", upgrade)).ended;
    expect([statusIn(answer), codeIn(answer)]).toEqual([400, "INVALID_REQUEST"]);
    expect(answer).toContain("CONNECT");
    expect(proxy.handled).toHaveLength(0);
  });

  test("403 for a blocked domain, in the dialect of the API", async () => {
    await using proxy = await forwardProxy({ blocklist: createBlocklist(["*.bad.test"], []) });
    const answer = await wire(
      proxy.port,
      get("http://a.bad.test/v1/messages", "anthropic-version: 2023-06-01\r\n"),
    ).ended;
    expect([statusIn(answer), codeIn(answer)]).toEqual([403, "DOMAIN_BLOCKED"]);
    expect(answer).toContain('{"type":"error"');
    expect(await proxy.reported()).toMatchObject({
      target: "a.bad.test",
      outcome: "domain_blocked",
    });
  });

  test("keeps the connection for the next one, also after an error of ours", async () => {
    await using up = await rawServer(({ socket, received }) => {
      if (/\r\n\r\n(body)?$/.test(received)) socket.write(ok);
    });
    await using proxy = await forwardProxy({ blocklist: createBlocklist(["bad.test"], []) });
    const client = wire(proxy.port);
    for (const host of [`127.0.0.1:${up.port}`, "bad.test", `127.0.0.1:${up.port}`]) {
      client.received = "";
      client.socket.write(`GET http://${host}/ HTTP/1.1\r\nHost: x\r\n\r\n`);
      const answer = await client.until(/\r\n\r\nok$|\r\n0\r\n\r\n$/);
      expect(statusIn(answer)).toBe(host === "bad.test" ? 403 : 200);
    }
    client.received = "";
    const post = `POST http://127.0.0.1:${up.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody`;
    client.socket.write(post + post);
    await client.until(/HTTP[^]*ok[^]*HTTP[^]*ok$/);
    expect(proxy.handled).toHaveLength(4);
  });

  test("HTTP/1.0: an answer without a length ends with the connection", async () => {
    await using proxy = await forwardProxy(
      {},
      {
        handle: () =>
          new Response(
            new ReadableStream({
              start(stream) {
                stream.enqueue(Buffer.from("one "));
                stream.enqueue(Buffer.from("two"));
                stream.close();
              },
            }),
          ),
      },
    );
    const answer = await wire(proxy.port, "GET http://h.test/ HTTP/1.0\r\n\r\n").ended;
    expect(answer).toMatch(/\r\n\r\none two$/);
    expect(answer).not.toMatch(/transfer-encoding/i);
  });

  test.each(["HEAD", "GET"])("%s: the length of what is not there stays", async (method) => {
    const head =
      method === "HEAD"
        ? "HTTP/1.1 200 OK\r\nContent-Length: 123"
        : "HTTP/1.1 304 Not Modified\r\nETag: x";
    await using up = await answering(`${head}\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n`);
    await using proxy = await forwardProxy();
    const answer = await wire(
      proxy.port,
      `${method} http://127.0.0.1:${up.port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    ).ended;
    expect(answer).toMatch(method === "HEAD" ? /content-length: 123/i : /etag: x/i);
    expect(answer).toMatch(/set-cookie: a=1\r\nset-cookie: b=2/i);
    expect(answer).toEndWith("\r\n\r\n");
    expect(answer).not.toMatch(/transfer-encoding/i);
  });

  test("streams both ways as it comes", async () => {
    await using up = await rawServer(({ socket, received }) => {
      if (received.endsWith("first\r\n"))
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
      if (received.endsWith("0\r\n\r\n")) socket.write("3\r\ntwo\r\n0\r\n\r\n");
    });
    await using proxy = await forwardProxy();
    const client = wire(
      proxy.port,
      `POST http://127.0.0.1:${up.port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n`,
    );
    await client.until(/one/);
    client.socket.write("0\r\n\r\n");
    expect(await client.until(/two\r\n0\r\n\r\n$/)).toContain("one");
  });

  test("answers Expect: 100-continue", async () => {
    await using up = await rawServer(({ socket, received }) => {
      if (received.endsWith("body")) socket.write(ok);
    });
    await using proxy = await forwardProxy();
    const client = wire(
      proxy.port,
      `POST http://127.0.0.1:${up.port}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n`,
    );
    await client.until(/100 Continue\r\n\r\n/);
    client.socket.write("body");
    await client.until(/ok$/);
    expect(up.connections[0]!.received).not.toMatch(/expect:/i);
  });

  test("a client that goes away ends the upstream's call, and the wait before it", async () => {
    await using up = await rawServer();
    const waiting = Promise.withResolvers<AbortSignal>();
    await using proxy = await forwardProxy();
    const client = wire(proxy.port, get(`http://127.0.0.1:${up.port}/`));
    const { closed } = await up.received(({ received }) => received.endsWith("\r\n\r\n"));
    client.socket.destroy();
    await closed;
    await using other = await forwardProxy(
      {},
      {
        handle: ({ signal }) =>
          new Promise((_, reject) => {
            signal.addEventListener("abort", () => reject(signal.reason), { once: true });
            waiting.resolve(signal);
          }),
      },
    );
    const gone = wire(other.port, get("http://h.test/"));
    await waiting.promise;
    gone.socket.destroy();
    await other.listener.idle();
    await proxy.listener.idle();
  });

  test("HTTP/1.0: an answer without a length that breaks off does not look complete", async () => {
    const gate = Promise.withResolvers<void>();
    const body = new ReadableStream({
      async pull(stream) {
        stream.enqueue(Buffer.from("half"));
        await gate.promise;
        stream.error(new Error("broken"));
      },
    });
    await using proxy = await forwardProxy({}, { handle: () => new Response(body) });
    const client = wire(proxy.port, "GET http://h.test/ HTTP/1.0\r\n\r\n");
    await client.until(/half/);
    gate.resolve();
    expect(await client.broke).toBe("ECONNRESET");
  });

  test("an answer that breaks off does not look complete", async () => {
    await using up = await rawServer(({ socket, received }) => {
      if (!received.endsWith("\r\n\r\n")) return;
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n", () =>
        socket.destroy(),
      );
    });
    await using proxy = await forwardProxy();
    const answer = await wire(
      proxy.port,
      `GET http://127.0.0.1:${up.port}/ HTTP/1.1\r\nHost: x\r\n\r\n`,
    ).ended;
    expect(answer).not.toContain("\r\n0\r\n");
  });

  const stuffed = "okHTTP/1.1 200 OK\r\nX-Injected: yes\r\nContent-Length: 4\r\n\r\nEVIL";
  test.each([
    ["longer than it says", "2", stuffed],
    ["shorter than it says", "9", "ok"],
    ["empty and says otherwise", "9", ""],
    ["without a body and says otherwise", "9", null],
  ])("an answer that is %s ends with the connection", async (_, length, body) => {
    await using proxy = await forwardProxy(
      {},
      { handle: () => new Response(body, { headers: { "content-length": length } }) },
    );
    const client = wire(proxy.port, "GET http://h.test/ HTTP/1.1\r\nHost: x\r\n\r\n");
    const answer = await client.ended;
    expect(answer).toContain(`ontent-length: ${length}\r\n`);
    expect(answer.split("\r\n\r\n")[1]!.length).toBeLessThanOrEqual(Number(length));
    expect(answer).not.toContain("Injected");
  });

  test.each(["2, 2", "+2", "0x2", ""])("the length %p is not passed on", async (length) => {
    await using proxy = await forwardProxy(
      {},
      { handle: () => new Response("ok", { headers: { "content-length": length } }) },
    );
    const answer = await wire(proxy.port, get("http://h.test/")).ended;
    expect(answer).toMatch(/\r\n\r\n2\r\nok\r\n0\r\n\r\n$/);
    expect(answer).not.toMatch(/content-length/i);
  });

  test("a body that stops arriving is given up after read_timeout", async () => {
    await using up = await rawServer();
    await using proxy = await forwardProxy({ readMs: 100 });
    const answer = await wire(
      proxy.port,
      `POST http://127.0.0.1:${up.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf`,
    ).ended;
    expect(answer === "" || statusIn(answer) >= 400).toBe(true);
    await proxy.listener.idle();
  });

  test("a connection without a request is closed after idle_timeout, one with a request is not", async () => {
    const gate = Promise.withResolvers<Response>();
    let count = 0;
    await using proxy = await forwardProxy(
      { idleMs: 1_000 },
      {
        handle: () => (count++ === 0 ? new Response("done") : gate.promise),
      },
    );
    const request = "GET http://h.test/ HTTP/1.1\r\nHost: x\r\n\r\n";
    const idle = wire(proxy.port, request);
    await idle.until(/HTTP/);
    const busy = wire(proxy.port, request);
    const start = performance.now();
    await idle.ended;
    expect(performance.now() - start).toBeGreaterThan(800);
    gate.resolve(new Response("late"));
    await busy.until(/late/);
  });

  test("a client that takes nothing is given up after write_timeout", async () => {
    const piece = new Uint8Array(1 << 20);
    await using proxy = await forwardProxy(
      { writeMs: 200 },
      {
        handle: () =>
          new Response(
            new ReadableStream({ pull: (stream) => stream.enqueue(piece) }, { highWaterMark: 0 }),
          ),
      },
    );
    const client = wire(proxy.port, get("http://h.test/"));
    await client.until(/HTTP/);
    client.socket.pause();
    await proxy.listener.idle();
  });
});

describe("back-pressure", () => {
  const total = 200_000_000;
  const most = 60_000_000;

  test("a download that the client does not take is not read", async () => {
    let sent = 0;
    await using proxy = await forwardProxy(
      {},
      {
        handle: () =>
          new Response(
            new ReadableStream(
              {
                pull(stream) {
                  sent += 65_536;
                  if (sent > total) stream.close();
                  else stream.enqueue(new Uint8Array(65_536));
                },
              },
              { highWaterMark: 0 },
            ),
          ),
      },
    );
    const client = wire(proxy.port, get("http://h.test/"));
    await client.until(/HTTP/);
    client.socket.pause();
    let before = -1;
    while (before !== sent) {
      before = sent;
      await Bun.sleep(50);
    }
    expect(sent).toBeLessThan(most);
    client.socket.destroy();
    await proxy.listener.idle();
  });

  test("an upload that the upstream does not take is not read", async () => {
    await using up = await openEnded((socket) => void socket.pause());
    await using proxy = await forwardProxy();
    const client = wire(
      proxy.port,
      `POST http://127.0.0.1:${up.port}/ HTTP/1.1\r\nHost: x\r\nContent-Length: ${total}\r\n\r\n`,
    );
    const piece = Buffer.alloc(65_536);
    let written = 0;
    const pump = (): void => {
      while (written < total) {
        written += piece.length;
        if (!client.socket.write(piece)) return void client.socket.once("drain", pump);
      }
    };
    pump();
    let before = -1;
    while (before !== written) {
      before = written;
      await Bun.sleep(50);
    }
    expect(written).toBeLessThan(most);
  });
});
