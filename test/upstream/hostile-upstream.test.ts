import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { afterAll, describe, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import { Connection } from "../../src/upstream/connection.ts";
import { createDeadlines } from "../../src/upstream/deadlines.ts";
import { fieldsOf, requestHeaders } from "../../src/upstream/headers.ts";
import { createHttpUpstream } from "../../src/upstream/http.ts";
import { Pool } from "../../src/upstream/pool.ts";
import type { UpstreamRequest } from "../../src/upstream/upstream.ts";
import { reasonOf } from "./reason.ts";
import { sendingOf } from "./sending.ts";
import { easyWire } from "./fake-wire.ts";
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

function call(url: string, more: Partial<UpstreamRequest> = {}): UpstreamRequest {
  const headers = requestHeaders(fieldsOf(new Headers()));
  return { url, method: "GET", headers, body: null, controller: new Cancellation(), ...more };
}

const linger = createDeadlines(systemClock(), 20);
afterAll(() => linger.close());
const sending = sendingOf(linger);

describe("a connection that is kept", () => {
  test("is read again where the answer before came faster than it was taken", async () => {
    const wire = easyWire();
    const connection = new Connection(wire, wire);
    const answer = connection.send(call("http://x/"), sending);
    connection.received(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n"));
    const slow = await answer;
    connection.received(Buffer.alloc(70_000, "x"));
    expect(wire).toMatchObject({ isPaused: false, freed: 1 });
    expect(await bytesOf(slow)).toHaveLength(70_000);
    expect(wire).toMatchObject({ isPaused: false, freed: 1 });
  });
});

describe("a call that nobody waits for any more", () => {
  test("leaves nothing behind in the middle of TLS for long, though the server says nothing", async () => {
    const clock = manualClock();
    const hasty = createHttpUpstream({ clock, timeouts: { connectMs: 100, firstByteMs: 1_000 } });
    await using server = await rawServer();
    const controller = new Cancellation();
    const answer = hasty.send(call(server.url.replace("http:", "https:"), { controller }));
    const { closed } = await server.received(({ received }) => received.length > 0);
    controller.abort(new Error("gone"));
    expect(await reasonOf(answer)).toHaveProperty("message", "gone");
    clock.advance(100);
    await closed;
    expect(clock.timers()).toBe(0);
    hasty.close();
  });
});

/** A server behind TLS that gives each request the answer that `answerTo` has for its path, if any. */
function tlsServer(answerTo: (path: string, answer: (text: string) => void) => void): {
  port: number;
  [Symbol.dispose](): void;
} {
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert: selfSigned.cert, key: selfSigned.key },
    socket: {
      data(socket, bytes) {
        const path = bytes.toString().split(" ")[1] ?? "";
        answerTo(path, (text) => void socket.write(text));
      },
    },
  });
  return { port: listener.port, [Symbol.dispose]: () => listener.stop(true) };
}

/** Passes connections on to a port once they are let through, by number; the start of each says when there is one. */
async function gate(to: number, isProxy: boolean) {
  const held: Socket[] = [];
  let wake = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (start) => {
      socket.pause();
      held.push(socket);
      if (!isProxy) socket.unshift(start);
      wake.resolve();
      wake = Promise.withResolvers();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    held,
    async holds(count: number) {
      while (held.length < count) await wake.promise;
    },
    open(index: number) {
      const socket = held[index]!;
      const onward = connect(to, "127.0.0.1");
      onward.on("error", () => {});
      if (isProxy) socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.pipe(onward).pipe(socket);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of held) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("a server that closes connections behind its answers without a word", () => {
  test.each(["GET", "POST"])(
    "meets one request in vain at most, then connections of their own: %s",
    async (method) => {
      await using server = await answering(ok, (socket) => void socket.end());
      let lost = 0;
      for (let i = 0; i < 20; i++)
        if ((await reasonOf(upstream.send(call(server.url, { method })))) !== null) lost++;
      expect(lost).toBeLessThanOrEqual(1);
      expect(server.connections.length).toBeGreaterThanOrEqual(19);
    },
  );

  test("is trusted again after ten seconds", async () => {
    const clock = manualClock();
    const pool = new Pool(clock);
    const free = pool.place();
    const kept = (): Connection => new Connection(easyWire(), free);
    const [early, next, later] = [kept(), kept(), kept()];
    free.free(early);
    clock.advance(999);
    early.closed(null);
    free.free(next);
    expect(free.take(Infinity)).toBeNull();
    expect(next.isOpen).toBe(false);
    clock.advance(10_000);
    free.free(later);
    expect(free.take(Infinity)).toBe(later);
    pool.close();
  });

  test("after a while unused is one like others", () => {
    const clock = manualClock();
    const pool = new Pool(clock);
    const free = pool.place();
    const [late, next] = [new Connection(easyWire(), free), new Connection(easyWire(), free)];
    free.free(late);
    clock.advance(1_000);
    late.closed(null);
    free.free(next);
    expect(free.take(Infinity)).toBe(next);
    pool.close();
  });
});

describe("a place that is forgotten", () => {
  test("keeps no connection whose call ends after that", () => {
    const pool = new Pool(manualClock());
    const free = pool.place();
    const connection = new Connection(easyWire(), free);
    pool.forget(free);
    free.free(connection);
    expect(connection.isOpen).toBe(false);
    pool.close();
  });
});

describe("a client", () => {
  test("never gets the answer to another, however its upstream errs", async () => {
    const forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    let asked = 0;
    await using server = await rawServer((connection) => {
      const { received, socket } = connection;
      if (!received.endsWith("\r\n\r\n")) return;
      connection.received = "";
      const path = received.split(" ")[1] ?? "";
      const answer = `HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`;
      const [start, rest] = [answer.slice(0, 30), answer.slice(30)];
      const ways = [
        [answer, () => {}],
        [answer + forged, () => {}],
        [start, () => socket.destroy()],
        [start, () => socket.write(rest)],
        [`HTTP/1.1 204 No Content\r\nContent-Length: ${forged.length}\r\n\r\n${forged}`, () => {}],
        [answer, () => socket.end()],
        ["", () => socket.destroy()],
      ] as const;
      const [first, then] = ways[asked++ % ways.length]!;
      socket.write(first);
      setImmediate(then);
    });
    const one = async (i: number): Promise<string[]> => {
      const path = `/${i}`;
      const controller = new Cancellation();
      // Some go away before the answer begins, some after.
      if (i % 11 === 0) setImmediate(() => controller.abort());
      const answer = await upstream.send(call(server.url + path, { controller }));
      if (i % 13 === 0) controller.abort();
      return [path, answer.status === 204 ? path : await textOf(answer)];
    };
    let right = 0;
    for (let round = 0; round < 20; round++) {
      const calls = Array.from({ length: 20 }, (_, i) => one(round * 20 + i));
      for (const ended of await Promise.allSettled(calls)) {
        if (ended.status === "rejected") continue;
        expect(ended.value[1]).toBe(ended.value[0]);
        right++;
      }
    }
    expect(right).toBeGreaterThan(100);
  });
});

describe("who waits for a connection while others are made", () => {
  const timeouts = { connectMs: 10_000, firstByteMs: 10_000 };

  test("does not get one that was closed as it became free", async () => {
    const asked = Promise.withResolvers<(text: string) => void>();
    using server = tlsServer((path, answer) =>
      path === "/a" ? asked.resolve(answer) : answer(ok),
    );
    await using front = await gate(server.port, false);
    const trusting = createHttpUpstream({ clock: systemClock(), timeouts, ca: [selfSigned.cert] });
    const url = `https://localhost:${front.port}`;
    const first = trusting.send(call(`${url}/a`));
    await front.holds(1);
    front.open(0);
    const answer = await asked.promise;
    const second = trusting.send(call(`${url}/b`, { method: "POST" }));
    await front.holds(2);
    answer(`${ok}and what nobody asked for`);
    expect(await textOf(await first)).toBe("ok");
    front.open(1);
    expect(await textOf(await second)).toBe("ok");
    trusting.close();
  });

  test("does not fail with another's call that was ended", async () => {
    const asked = Promise.withResolvers<void>();
    using server = tlsServer((path, answer) => (path === "/a" ? asked.resolve() : answer(ok)));
    await using front = await gate(server.port, true);
    const proxy = { url: new URL(`http://127.0.0.1:${front.port}`), covers: () => true };
    const trusting = createHttpUpstream({
      clock: systemClock(),
      timeouts,
      ca: [selfSigned.cert],
      proxy,
    });
    const url = `https://localhost:${server.port}`;
    const controller = new Cancellation();
    const first = reasonOf(trusting.send(call(`${url}/a`, { controller })));
    await front.holds(1);
    const second = trusting.send(call(`${url}/b`));
    await front.holds(2);
    // The second's connection is there first, and goes to who came first.
    front.open(1);
    await asked.promise;
    controller.abort(new Error("gone"));
    expect(await first).toHaveProperty("message", "gone");
    front.open(0);
    expect(await textOf(await second)).toBe("ok");
    trusting.close();
  });
});

describe("a body that is still on its way when the answer begins", () => {
  test("does not end the call when the time for an answer is over", async () => {
    const clock = manualClock();
    const hasty = createHttpUpstream({ clock, timeouts: { connectMs: 100, firstByteMs: 100 } });
    await using server = await rawServer(({ received, socket }) => {
      if (received.endsWith("\r\n\r\n") && !received.includes("0\r\n\r\n"))
        socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    });
    const upload = new TransformStream<Uint8Array, Uint8Array>();
    const writer = upload.writable.getWriter();
    const answer = await hasty.send(call(server.url, { method: "POST", body: upload.readable }));
    await writer.write(Buffer.from("late"));
    await writer.close();
    const { socket } = await server.received(({ received }) => received.endsWith("0\r\n\r\n"));
    clock.advance(1_000);
    socket.write("3\r\ndef\r\n0\r\n\r\n");
    expect(await textOf(answer)).toBe("abcdef");
    hasty.close();
  });
});

describe("an outgoing proxy", () => {
  test("that ends a tunnel in between has it closed from here, too", async () => {
    using server = tlsServer((_, answer) => answer(ok));
    await using front = await gate(server.port, true);
    const proxy = { url: new URL(`http://127.0.0.1:${front.port}`), covers: () => true };
    const timeouts = { connectMs: 10_000, firstByteMs: 10_000 };
    const ca = [selfSigned.cert];
    const trusting = createHttpUpstream({ clock: systemClock(), timeouts, ca, proxy });
    const answer = trusting.send(call(`https://localhost:${server.port}/`));
    await front.holds(1);
    front.open(0);
    expect(await textOf(await answer)).toBe("ok");
    const [socket] = front.held as [Socket];
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.end();
    await closed;
    trusting.close();
  });

  test("that says nothing is named, without its user and password", async () => {
    await using server = await rawServer();
    const proxy = {
      url: new URL(`https://user:geheim@127.0.0.1:${server.port}`),
      covers: () => true,
    };
    const timeouts = { connectMs: 50, firstByteMs: 1_000 };
    const hasty = createHttpUpstream({ clock: systemClock(), timeouts, proxy });
    expect(await reasonOf(hasty.send(call("http://example.com/")))).toMatchObject({
      code: "UPSTREAM_TIMEOUT",
      message: `127.0.0.1:${server.port} gave no connection within 0.05 s.`,
    });
    hasty.close();
  });
});

describe("an answer", () => {
  test.each([
    [
      "a line end of two kinds",
      "HTTP/1.1 200 OK\nContent-Length: 8\n\nab\r\n\r\ncd",
      "ab\r\n\r\ncd",
    ],
    ["LF before CRLF", "HTTP/1.1 200 OK\nContent-Length: 4\n\n\r\nab", "\r\nab"],
    ["two empty lines", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\r\nab", "\r\nab"],
  ])("ends its head where it does: %s", async (_, answer, body) => {
    await using server = await answering(answer);
    expect(await textOf(await upstream.send(call(server.url)))).toBe(body);
  });

  test.each([
    ["a line without a colon", "nonsense\r\nContent-Length: 2\r\n\r\nok"],
    ["a name with a space of another kind", "Content-Length\xa0: 2\r\n\r\nok"],
    ["a coding nobody asked for", "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    ["a coding of that name", "Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
  ])("that has %s is none", async (_, rest) => {
    await using server = await answering(`HTTP/1.1 200 OK\r\n${rest}`);
    expect(await reasonOf(upstream.send(call(server.url)))).toMatchObject({
      code: "UPSTREAM_UNREACHABLE",
      mayHaveLeft: true,
    });
  });

  test.each([
    [
      "a length and a coding",
      "200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ["no body and a length", "204 No Content\r\nContent-Length: 2\r\n\r\n"],
    ["no body and a coding", "204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ])("that speaks of two ends is the last of its connection: %s", async (_, answer) => {
    await using server = await answering(`HTTP/1.1 ${answer}`);
    await upstream.send(call(server.url));
    await server.connections[0]!.closed;
  });
});

describe("a call that fails", () => {
  test("before it is written leaves its connection to the next", async () => {
    await using server = await answering(ok);
    const bad = call(server.url);
    bad.headers.set("x-name", "\u0142");
    expect(await reasonOf(upstream.send(bad))).toHaveProperty("code", "INVALID_REQUEST");
    expect(await textOf(await upstream.send(call(server.url)))).toBe("ok");
    expect(server.connections).toHaveLength(1);
  });
});
