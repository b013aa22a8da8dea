import { afterAll, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { systemClock } from "../../src/clock.ts";
import { createDeadlines } from "../../src/upstream/deadlines.ts";
import { fieldsOf, requestHeaders, stripResponseHeaders } from "../../src/upstream/headers.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import { createHttpUpstream } from "../../src/upstream/http.ts";
import { openBody, toBody } from "../../src/upstream/relay.ts";
import type { BodyEnd } from "../../src/upstream/relay.ts";
import { manualClock } from "./manual-clock.ts";
import { answering, rawServer } from "./raw-server.ts";

const clock = systemClock();
const upstream = createHttpUpstream({
  clock,
  timeouts: { connectMs: 10_000, firstByteMs: 60_000 },
});
afterAll(() => upstream.close());

/** The smallest proxy that there can be around a relay, and what its observer is told. */
function proxyTo(url: string, idleClock = clock) {
  const idle = createDeadlines(idleClock, 1000);
  const ended = Promise.withResolvers<BodyEnd>();
  let seen = 0;
  let ends = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    development: false,
    idleTimeout: 0,
    error: () => new Response(null, { status: 500 }),
    async fetch(request) {
      const controller = new Cancellation();
      request.signal.addEventListener("abort", () => controller.abort(request.signal.reason));
      const answer = await upstream.send({
        url,
        method: "GET",
        headers: requestHeaders(fieldsOf(request.headers)),
        body: null,
        controller,
      });
      stripResponseHeaders(answer.headers);
      const observer = {
        onChunk: (chunk: Uint8Array): void => void (seen += chunk.length),
        ended(end: BodyEnd): void {
          ends++;
          ended.resolve(end);
        },
      };
      const patience = { idle, taking: idle };
      const opened = openBody(answer, answer.headers.fields, patience, observer);
      return new Response(toBody(opened, patience), {
        status: answer.status,
        headers: answer.headers.toInit(),
      });
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}/`,
    port: server.port ?? 0,
    ended: ended.promise,
    seen: () => seen,
    ends: () => ends,
    [Symbol.dispose]() {
      idle.close();
      void server.stop(true);
    },
  };
}

const type = "Content-Type: text/plain\r\n";

describe("a whole answer", () => {
  test.each([
    [
      "that says its length",
      `HTTP/1.1 200 OK\r\n${type}Content-Length: 5\r\n\r\nhello`,
      "hello",
      5,
    ],
    ["without a type", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 5],
    [
      "in chunks",
      `HTTP/1.1 200 OK\r\n${type}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
      "hello",
      5,
    ],
    ["that is empty", `HTTP/1.1 200 OK\r\n${type}Content-Length: 0\r\n\r\n`, "", 0],
    [
      "that is long",
      `HTTP/1.1 200 OK\r\n${type}Content-Length: 300000\r\n\r\n${"x".repeat(300_000)}`,
      "x".repeat(300_000),
      300_000,
    ],
    ["204", "HTTP/1.1 204 No Content\r\n\r\n", "", 0],
  ])("%s passes, and its end is told once", async (_, answer, text, bytes) => {
    await using server = await answering(answer);
    using proxy = proxyTo(server.url);
    const response = await fetch(proxy.url);
    expect(await response.text()).toBe(text);
    expect(await proxy.ended).toEqual({ how: "complete" });
    expect([proxy.seen(), proxy.ends()]).toEqual([bytes, 1]);
  });

  test("keeps its length, and gets no type that it had not", async () => {
    await using typed = await answering(`HTTP/1.1 200 OK\r\n${type}Content-Length: 5\r\n\r\nhello`);
    using a = proxyTo(typed.url);
    expect((await fetch(a.url)).headers.get("content-length")).toBe("5");
    await using plain = await answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    using b = proxyTo(plain.url);
    expect((await fetch(b.url)).headers.get("content-type")).toBeNull();
  });
});

describe("a streamed answer", () => {
  test("passes event by event", async () => {
    const events = ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"];
    const chunks = events.map((event) => `${event.length.toString(16)}\r\n${event}\r\n`);
    // The runtime's server holds headers back until the first bytes of a body.
    const head =
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    await using server = await answering(head + chunks[0]);
    using proxy = proxyTo(server.url);
    const reader = (await fetch(proxy.url)).body!.getReader();
    const { socket } = server.connections[0]!;
    for (const [index, event] of events.entries()) {
      // Each is sent only when the one before has come out: one that was held back would hang this test.
      if (index > 0) socket.write(chunks[index]!);
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(event);
    }
    socket.write("0\r\n\r\n");
    expect((await reader.read()).done).toBe(true);
    expect(await proxy.ended).toEqual({ how: "complete" });
  });

  test.each([
    ["in chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ["of known length", `${type}Content-Length: 10\r\n\r\nabc`],
  ])("that breaks off does so for the client too: %s", async (_, rest) => {
    await using server = await answering(`HTTP/1.1 200 OK\r\n${rest}`, (socket) =>
      setTimeout(() => socket.destroy(), 20),
    );
    using proxy = proxyTo(server.url);
    const text = fetch(proxy.url).then((response) => response.text());
    expect(await text.catch(() => "broke off")).toBe("broke off");
    expect(await proxy.ended).toMatchObject({ how: "failed" });
    expect(proxy.ends()).toBe(1);
  });

  test("that stops for too long is given up", async () => {
    const idleClock = manualClock();
    await using server = await answering(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    using proxy = proxyTo(server.url, idleClock);
    const response = await fetch(proxy.url);
    const reader = response.body!.getReader();
    await reader.read();
    idleClock.advance(1000);
    expect(await reader.read().catch(() => "broke off")).toBe("broke off");
    expect(await proxy.ended).toMatchObject({
      how: "failed",
      error: { message: "The upstream sent nothing for too long." },
    });
    await server.connections[0]!.closed;
  });

  test("whose client goes away is cancelled", async () => {
    await using server = await answering(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    );
    using proxy = proxyTo(server.url);
    const stop = new Cancellation();
    const response = await fetch(proxy.url, { signal: stop.signal });
    await response.body!.getReader().read();
    stop.abort();
    expect(await proxy.ended).toEqual({ how: "abandoned" });
    await server.connections[0]!.closed;
    expect(proxy.ends()).toBe(1);
  });

  test("is taken no faster than the client takes it", async () => {
    const piece = "x".repeat(1 << 20);
    let written = 0;
    await using server = await rawServer(({ socket }) => {
      socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
      const more = (): void => {
        while (written < 200 && socket.write(`100000\r\n${piece}\r\n`)) written++;
        if (written++ < 200) socket.once("drain", more);
      };
      more();
    });
    using proxy = proxyTo(server.url);
    const stalled = connect(proxy.port, "127.0.0.1");
    stalled.on("error", () => {});
    stalled.pause();
    stalled.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    // Until nothing moves any more.
    for (let before = -1; before !== proxy.seen() || before === 0;) {
      before = proxy.seen();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(proxy.seen()).toBeLessThan(40 << 20);
    stalled.destroy();
    expect(await proxy.ended).toEqual({ how: "abandoned" });
  });
});
