import { afterAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { fieldsOf, requestHeaders } from "../../src/upstream/headers.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import { createHttpUpstream } from "../../src/upstream/http.ts";
import { UpstreamFailure } from "../../src/upstream/upstream.ts";
import type { UpstreamRequest } from "../../src/upstream/upstream.ts";
import { reasonOf } from "./reason.ts";
import { bytesOf, textOf } from "./answers.ts";
import { manualClock } from "./manual-clock.ts";
import { answering, rawServer } from "./raw-server.ts";
import * as selfSigned from "./self-signed.ts";

const upstream = createHttpUpstream({
  clock: systemClock(),
  timeouts: { connectMs: 10_000, firstByteMs: 60_000 },
});
afterAll(() => upstream.close());

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

function call(
  url: string,
  more: Partial<UpstreamRequest> & { pairs?: [string, string][] } = {},
): UpstreamRequest {
  const headers = requestHeaders(fieldsOf(new Headers(more.pairs ?? [["accept", "*/*"]])));
  return { url, method: "GET", headers, body: null, controller: new Cancellation(), ...more };
}

/** The failure of a call that must fail. */
async function failure(request: UpstreamRequest, by = upstream): Promise<UpstreamFailure> {
  const error = await reasonOf(by.send(request));
  if (!(error instanceof UpstreamFailure))
    throw new Error(`not a failure of the upstream: ${String(error)}`);
  return error;
}

describe("a request", () => {
  test("goes out as the client wrote it, and with nothing of ours", async () => {
    await using server = await answering(ok);
    const pairs: [string, string][] = [
      ["X-Twice", "1"],
      ["X-Twice", "2"],
      ["Authorization", "Bearer x"],
      ["Connection", "close"],
    ];
    await upstream.send(call(`${server.url}/a%20b%2Fc//d;e=1?x=%2F&y=[1]&y=2&z`, { pairs }));
    const head = server.connections[0]!.received.toLowerCase();
    expect(head).toStartWith("get /a%20b%2fc//d;e=1?x=%2f&y=[1]&y=2&z http/1.1\r\n");
    expect(head).toContain("x-twice: 1, 2\r\n");
    expect(head).toContain("authorization: bearer x\r\n");
    expect(head).toContain(`host: 127.0.0.1:${server.port}\r\n`);
    expect(head).not.toContain("user-agent");
    expect(head).toContain("connection: keep-alive\r\n");
    expect(head).not.toContain("accept-encoding");
    expect(head).not.toContain("bun");
  });

  test.each(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])(
    "keeps its method: %s",
    async (method) => {
      await using server = await answering(ok);
      await upstream.send(call(server.url, { method }));
      expect(server.connections[0]!.received).toStartWith(`${method} / HTTP/1.1\r\n`);
    },
  );

  test("uses one connection after the other", async () => {
    await using server = await answering(ok);
    for (let i = 0; i < 3; i++) await textOf(await upstream.send(call(server.url)));
    expect(server.connections).toHaveLength(1);
  });
});

describe("a body", () => {
  const bytes = (size: number): Uint8Array<ArrayBuffer> =>
    Uint8Array.from({ length: size }, (_, index) => index % 256);
  const asStream = (body: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array> =>
    new Blob([body]).stream();

  test.each([
    ["empty", 0],
    ["small", 1000],
    ["large", 200_000],
  ])("that is %s arrives as it is, and is then said to be sent", async (_, size) => {
    const body = bytes(size);
    await using server = await rawServer(({ received, socket }) => {
      if (received.length - received.indexOf("\r\n\r\n") - 4 === size) socket.write(ok);
    });
    let sent = 0;
    await upstream.send(
      call(server.url, { method: "POST", body, watcher: { sent: () => void sent++ } }),
    );
    const [{ received }] = server.connections as unknown as [{ received: string }];
    expect(received.toLowerCase()).toContain(`content-length: ${size}\r\n`);
    expect(received.toLowerCase()).not.toContain("transfer-encoding");
    expect(
      Buffer.from(received.slice(received.indexOf("\r\n\r\n") + 4), "latin1").equals(body),
    ).toBe(true);
    expect(sent).toBe(1);
  });

  test.each([true, false])("that is a stream arrives as it is; length known: %p", async (known) => {
    const body = bytes(200_000);
    await using server = await rawServer(({ received, socket }) => {
      if (known ? received.length > body.length + 50 : received.endsWith("\r\n0\r\n\r\n"))
        socket.write(ok);
    });
    let sent = 0;
    const pairs: [string, string][] = known ? [["content-length", String(body.length)]] : [];
    await upstream.send(
      call(server.url, {
        method: "POST",
        body: asStream(body),
        pairs,
        watcher: { sent: () => void sent++ },
      }),
    );
    expect(server.connections[0]!.received.toLowerCase()).toContain(
      known ? "content-length: 200000" : "transfer-encoding: chunked",
    );
    expect(sent).toBe(1);
  });

  test("that breaks off with its client is no failure of the upstream", async () => {
    await using server = await rawServer(() => {});
    const gone = new DOMException("The connection was closed.", "AbortError");
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        controller.enqueue(bytes(1000));
        await server.received(({ received }) => received.includes("\r\n\r\n"));
        controller.error(gone);
      },
    });
    expect(await reasonOf(upstream.send(call(server.url, { method: "POST", body })))).toBe(gone);
  });

  test("that the upstream does not take is not said to be sent", async () => {
    await using server = await rawServer(({ socket }) => socket.pause());
    const stop = new Cancellation();
    let sent = false;
    const answer = upstream.send(
      call(server.url, {
        method: "POST",
        body: bytes(30_000_000),
        controller: stop,
        watcher: { sent: () => (sent = true) },
      }),
    );
    await server.received(({ received }) => received.length > 0);
    expect(sent).toBe(false);
    stop.abort();
    expect(await reasonOf(answer)).toBeInstanceOf(Error);
    expect(sent).toBe(false);
  });
});

describe("an answer", () => {
  test.each([
    ["204", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""],
    ["304", 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 55\r\n\r\n', 304, ""],
    ["a redirect", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, ""],
    ["103 before it", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok, 200, "ok"],
    ["an error", "HTTP/1.1 529 Overloaded\r\nContent-Length: 1\r\n\r\nx", 529, "x"],
  ])("is passed as it is: %s", async (_, answer, status, body) => {
    await using server = await answering(answer);
    const response = await upstream.send(call(server.url));
    expect([response.status, await textOf(response)]).toEqual([status, body]);
    expect(server.connections).toHaveLength(1);
  });

  test("keeps two Set-Cookie, and gzip as it came", async () => {
    const packed = Buffer.from(Bun.gzipSync("hello".repeat(100))).toString("latin1");
    await using server = await answering(
      `HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\nContent-Length: ${packed.length}\r\n\r\n${packed}`,
    );
    const response = await upstream.send(call(server.url));
    expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
    expect(response.headers.get("content-encoding")).toBe("gzip");
    expect(Buffer.from(await bytesOf(response)).toString("latin1")).toBe(packed);
  });

  test("to HEAD keeps its length and has no body", async () => {
    await using server = await answering("HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\n");
    const response = await upstream.send(call(server.url, { method: "HEAD" }));
    expect([response.headers.get("content-length"), await textOf(response)]).toEqual(["55", ""]);
  });
});

describe("no answer", () => {
  test("from a closed port: it never left", async () => {
    const server = await rawServer();
    await server[Symbol.asyncDispose]();
    const { code, status, mayHaveLeft, message } = await failure(call(`${server.url}/?secret`));
    expect({ code, status, mayHaveLeft }).toEqual({
      code: "UPSTREAM_UNREACHABLE",
      status: 502,
      mayHaveLeft: false,
    });
    expect(message).toContain("refused");
    expect(message).not.toContain("secret");
  });

  test("from a name that does not resolve: it never left", async () => {
    expect(await failure(call("http://nothing.invalid/"))).toMatchObject({
      code: "UPSTREAM_UNREACHABLE",
      mayHaveLeft: false,
    });
  });

  test("from a server whose certificate is not trusted: it never left", async () => {
    using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { cert: selfSigned.cert, key: selfSigned.key },
      fetch: () => new Response("x"),
    });
    const refused = await failure(call(`https://localhost:${server.port}/`));
    expect(refused).toMatchObject({ code: "UPSTREAM_UNREACHABLE", mayHaveLeft: false });
    expect(refused.message).toContain("certificate");
    const trusting = createHttpUpstream({
      clock: systemClock(),
      timeouts: { connectMs: 1000, firstByteMs: 1000 },
      ca: [selfSigned.cert],
    });
    expect(await textOf(await trusting.send(call(`https://localhost:${server.port}/`)))).toBe("x");
    trusting.close();
  });

  test("from one that hangs up: it may have been counted", async () => {
    await using server = await rawServer(({ socket }) => socket.destroy());
    expect(await failure(call(server.url, { method: "POST" }))).toMatchObject({
      code: "UPSTREAM_UNREACHABLE",
      mayHaveLeft: true,
    });
  });

  test("in time: 504, and the call is cancelled", async () => {
    const hasty = createHttpUpstream({
      clock: systemClock(),
      timeouts: { connectMs: 60, firstByteMs: 120 },
    });
    await using server = await rawServer();
    const late = await failure(call(server.url), hasty);
    expect(late).toMatchObject({ code: "UPSTREAM_TIMEOUT", status: 504, mayHaveLeft: true });
    expect(late.message).toContain("no answer within 0.12 s");
    await server.connections[0]!.closed;
    hasty.close();
  });

  test("nor a connection in time: 504, and it never left", async () => {
    const hasty = createHttpUpstream({
      clock: systemClock(),
      timeouts: { connectMs: 60, firstByteMs: 60_000 },
    });
    // Takes the connection, and says nothing to what TLS begins with.
    await using server = await rawServer();
    const late = await failure(call(server.url.replace("http:", "https:")), hasty);
    expect(late).toMatchObject({ code: "UPSTREAM_TIMEOUT", status: 504, mayHaveLeft: false });
    expect(late.message).toContain("no connection within 0.06 s");
    hasty.close();
  });

  test("to one who has gone before there is a connection: it never left", async () => {
    // Takes the connection, and says nothing to what TLS begins with.
    await using server = await rawServer();
    const controller = new Cancellation();
    const said: string[] = [];
    const watcher = {
      sent: () => void said.push("sent"),
      cancel: () => void said.push("never left"),
    };
    const url = server.url.replace("http:", "https:");
    const answer = upstream.send(call(url, { controller, watcher }));
    await server.received(({ received }) => received !== "");
    controller.abort("gone");
    expect(await reasonOf(answer)).toBe("gone");
    expect(await reasonOf(upstream.send(call(url, { controller, watcher })))).toBe("gone");
    expect(said).toEqual(["never left", "never left"]);
  });

  test("yet, from a host that is connected to, is waited for", async () => {
    const clock = manualClock();
    const patient = createHttpUpstream({
      clock,
      timeouts: { connectMs: 1000, firstByteMs: 60_000 },
    });
    await using server = await rawServer();
    const answer = patient.send(call(server.url));
    const { socket } = await server.received(({ received }) => received.endsWith("\r\n\r\n"));
    clock.advance(59_000);
    socket.write(ok);
    expect((await answer).status).toBe(200);
    clock.advance(60_000);
    expect(clock.timers()).toBe(0);
  });

  test("is missed once it has begun, however long its request still takes", async () => {
    const clock = manualClock();
    const patient = createHttpUpstream({
      clock,
      timeouts: { connectMs: 1000, firstByteMs: 60_000 },
    });
    await using server = await rawServer(({ received, socket }) => {
      if (received.endsWith("\r\n\r\n") && !received.includes("\r\na\r\n"))
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    });
    let upload: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (upload = controller),
    });
    let sent = 0;
    const watcher = { sent: (): void => void sent++ };
    const answer = await patient.send(call(server.url, { method: "POST", body, watcher }));
    upload?.enqueue(new Uint8Array(10));
    const { socket } = await server.received(({ received }) => received.includes("\r\na\r\n"));
    upload?.close();
    await server.received(({ received }) => received.endsWith("\r\n0\r\n\r\n"));
    clock.advance(61_000);
    socket.write("1\r\nb\r\n0\r\n\r\n");
    expect(await textOf(answer)).toBe("ab");
    expect(sent).toBe(1);
    patient.close();
  });

  test("once the client has gone: its own reason, and the call is cancelled", async () => {
    await using server = await rawServer();
    const stop = new Cancellation();
    const answer = upstream.send(call(server.url, { controller: stop }));
    const connection = await server.received(({ received }) => received.endsWith("\r\n\r\n"));
    stop.abort();
    expect(await reasonOf(answer)).toHaveProperty("name", "AbortError");
    await connection.closed;
    const again = upstream.send(call(server.url, { controller: stop }));
    expect(await reasonOf(again)).toHaveProperty("name", "AbortError");
  });
});
