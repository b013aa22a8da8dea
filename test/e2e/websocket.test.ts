import { expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { answering, rawServer } from "../upstream/raw-server.ts";
import { cert, key } from "../upstream/self-signed.ts";
import { ask } from "./client.ts";
import { startOutgoing } from "./outgoing.ts";
import { folder, memoryOf, startProxy, until } from "./program.ts";
import type { Folder } from "./program.ts";
import { rawClient, startWebSocketServer } from "./websocket-peers.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

function start(port: number, at: Folder, more = "", quota = "rpm: 100") {
  const yaml = `
default_upstream: "http://127.0.0.1:${port}"
quotas: [{ name: q, domain: "127.0.0.1", provider: openai, ${quota} }]
${more}
`;
  return startProxy(yaml, { at });
}

test("1 MB messages both ways, headers, subprotocol, one request of the quota, a line in the log", async () => {
  using at = folder();
  using upstream = startWebSocketServer();
  await using proxy = await start(upstream.port, at);
  const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/v1/realtime?model=m`, {
    headers: {
      Authorization: "Bearer sk-1",
      "OpenAI-Beta": "realtime=v1",
      "Sec-WebSocket-Protocol": "realtime, other",
    },
  });
  socket.binaryType = "arraybuffer";
  const got: (string | ArrayBuffer)[] = [];
  socket.onmessage = ({ data }) => void got.push(data);
  const closed = new Promise<CloseEvent>((resolve) => (socket.onclose = resolve));
  await new Promise((resolve) => (socket.onopen = resolve));
  expect(socket.protocol).toBe("realtime");
  const { headers, url } = upstream.requests[0]!;
  expect(new URL(url).pathname + new URL(url).search).toBe("/v1/realtime?model=m");
  expect(headers.get("authorization")).toBe("Bearer sk-1");
  expect(headers.get("openai-beta")).toBe("realtime=v1");
  expect(headers.get("host")).toBe(`127.0.0.1:${upstream.port}`);

  const text = "ö".repeat(500_000) + "x".repeat(48_576);
  const binary = crypto.getRandomValues(new Uint8Array(65_536));
  const megabyte = new Uint8Array(1_048_576).map((_, i) => binary[i % 65_536]!);
  for (let i = 0; i < 3; i++) {
    socket.send(text);
    socket.send(megabyte);
  }
  for (const length of [0, 1, 125, 126, 127, 65_535, 65_536, 65_537])
    socket.send("a".repeat(length));
  await until(() => got.length === 14, "all messages are back");
  expect(got[4]).toBe(text);
  expect(Buffer.from(got[5] as ArrayBuffer).equals(Buffer.from(megabyte))).toBe(true);
  expect(got.slice(6).map((one) => (one as string).length)).toEqual([
    0, 1, 125, 126, 127, 65_535, 65_536, 65_537,
  ]);
  expect((await proxy.quota("q")).windows[0]).toMatchObject({ used: 0, reserved: 1 });
  socket.close(4_321, "enough");
  expect(await closed).toMatchObject({ code: 4_321, reason: "enough", wasClean: true });
  await until(() => upstream.seen.includes("close 4321 enough"), "the upstream knows why");
  await proxy.said(/"status":101[^\n]*"outcome":"ok"/);
  expect((await proxy.quota("q")).windows[0]).toMatchObject({ used: 1, reserved: 0 });
});

test("target and headers of an upgrade reach the upstream byte by byte", async () => {
  using at = folder();
  await using upstream = await answering("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
  await using proxy = await start(upstream.port, at);
  const client = connect(proxy.port, "127.0.0.1");
  client.write(
    `GET /v1/%2fa|b//c? HTTP/1.1\r\nHost: 127.0.0.1:${proxy.port}\r\n` +
      "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Name: J\xfcrgen\r\n\r\n",
    "latin1",
  );
  const { received } = await upstream.received((one) => one.received.endsWith("\r\n\r\n"));
  const lines = received.split("\r\n");
  client.destroy();
  expect(lines[0]).toBe("GET /v1/%2fa|b//c? HTTP/1.1");
  expect(lines).toContain("x-name: J\xfcrgen");
});

test("pings, pongs and closes of both sides reach the other", async () => {
  using at = folder();
  using upstream = startWebSocketServer();
  await using proxy = await start(upstream.port, at);
  const client = rawClient(proxy.port, "/v1/realtime", {});
  const head = await client.head;
  expect(head).toStartWith("HTTP/1.1 101 ");
  expect(head).toMatch(/\r\nx-upstream: yes\r\n/i);
  expect(head).toMatch(/\r\nset-cookie: a=b\r\n/i);
  expect(head).toMatch(/\r\nx-cooldown-request-id: /i);
  expect(head.match(/sec-websocket-accept/gi)).toHaveLength(1);
  client.send(9, "from client");
  await until(() => upstream.seen.includes("ping from client"), "a ping");
  await until(() => client.frames.length === 1, "a pong");
  const [served] = upstream.open;
  served!.ping("from upstream");
  await until(() => client.frames.length === 2, "a ping");
  expect(client.frames.map(({ opcode, payload }) => [opcode, payload.toString()])).toEqual([
    [10, "from client"],
    [9, "from upstream"],
  ]);
  client.send(10, "from upstream");
  await until(() => upstream.seen.includes("pong from upstream"), "a pong");
  served!.close(4_000, "bye");
  await until(() => client.frames.length === 3, "a close");
  expect(client.frames[2]).toMatchObject({
    opcode: 8,
    payload: Buffer.from("\x0f\xa0bye", "latin1"),
  });
  client.send(8, Buffer.from([0x0f, 0xa0]));
  await client.closed;
  await proxy.said(/"status":101[^\n]*"outcome":"ok"/);
});

test("a side that goes without a word is gone for the other", async () => {
  using at = folder();
  using upstream = startWebSocketServer();
  await using proxy = await start(upstream.port, at);
  const one = rawClient(proxy.port, "/v1/realtime", {});
  await one.head;
  one.socket.destroy();
  await until(() => upstream.seen.includes("close 1006"), "the upstream's side is closed");
  const two = rawClient(proxy.port, "/v1/realtime", {});
  await two.head;
  for (const socket of upstream.open) socket.terminate();
  await two.closed;
  expect(two.frames).toEqual([]);
  await proxy.said(/websocket_broken_off[^]*websocket_broken_off/);
});

test.each([
  [401, '{"error":{"message":"bad key"}}'],
  [403, "no"],
  [404, ""],
])("a refusal with %p is shown as it is", async (status, body) => {
  using at = folder();
  using upstream = startWebSocketServer(
    () => new Response(body, { status, headers: { "X-Why": "because" } }),
  );
  await using proxy = await start(upstream.port, at);
  const headers = {
    Connection: "Upgrade",
    Upgrade: "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
  };
  const answer = await ask(proxy.port, { path: "/v1/realtime", headers });
  expect([answer.status, answer.text(), answer.header("x-why")]).toEqual([status, body, "because"]);
  expect(upstream.requests).toHaveLength(1);
});

test("an upstream's 429 is waited out", async () => {
  using at = folder();
  let asked = 0;
  using upstream = startWebSocketServer(() =>
    asked++ === 0
      ? Response.json({ error: {} }, { status: 429, headers: { "Retry-After": "1" } })
      : null,
  );
  await using proxy = await start(upstream.port, at);
  const client = rawClient(proxy.port, "/v1/realtime", {});
  expect(await client.head).toMatch(/^HTTP\/1\.1 101 [^]*x-cooldown-wait: (?!0.000)/i);
  expect(asked).toBe(2);
});

test("concurrency is held until the close, and waiting for it ends with it", async () => {
  using at = folder();
  using upstream = startWebSocketServer();
  await using proxy = await start(upstream.port, at, "", "rpm: 100, max_concurrency: 1");
  const first = rawClient(proxy.port, "/v1/realtime", {});
  await first.head;
  const second = rawClient(proxy.port, "/v1/realtime", {});
  await until(async () => (await proxy.quota("q")).queue_depth === 1, "the second waits");
  expect(upstream.requests).toHaveLength(1);
  first.send(8, Buffer.from([0x03, 0xe8]));
  expect(await second.head).toStartWith("HTTP/1.1 101 ");
  // One that leaves the queue is not sent.
  const third = rawClient(proxy.port, "/v1/realtime", {});
  await until(async () => (await proxy.quota("q")).queue_depth === 1, "the third waits");
  third.socket.destroy();
  await until(async () => (await proxy.quota("q")).queue_depth === 0, "the third has left");
  expect(upstream.requests).toHaveLength(2);
});

test("limits are seen to before the upgrade, and refusals are answers", async () => {
  using at = folder();
  using upstream = startWebSocketServer();
  await using proxy = await start(upstream.port, at, "", "rpm: 1");
  await rawClient(proxy.port, "/v1/realtime", {}).head;
  const refused = await rawClient(proxy.port, "/v1/realtime", { "X-Cooldown-Timeout": "100ms" })
    .head;
  expect(refused).toMatch(/^HTTP\/1\.1 429 [^]*x-cooldown-error: QUEUE_TIMEOUT/i);
  const odd = await ask(proxy.port, { path: "/v1/realtime", headers: { Upgrade: "websocket" } });
  expect([odd.status, odd.json().error.code]).toEqual([400, "INVALID_REQUEST"]);
  expect(upstream.requests).toHaveLength(1);
});

test("one without traffic is closed with 1001 after idle_timeout, one with pings lives", async () => {
  using at = folder();
  using upstream = startWebSocketServer();
  await using proxy = await start(upstream.port, at, "server: { idle_timeout: 1s }");
  const idle = rawClient(proxy.port, "/v1/realtime", {});
  const busy = rawClient(proxy.port, "/v1/realtime", {});
  await Promise.all([idle.head, busy.head]);
  const beat = setInterval(() => busy.send(9, "beat"), 200);
  const startedAt = performance.now();
  await until(() => idle.frames.length > 0, "a close");
  expect(performance.now() - startedAt).toBeWithin(700, 2_000);
  expect(idle.frames[0]!.payload.readUInt16BE(0)).toBe(1_001);
  await until(() => upstream.seen.some((one) => one.startsWith("close 1001")), "the other side");
  await until(() => busy.frames.length >= 10, "two seconds of pongs");
  clearInterval(beat);
  expect(busy.frames.every(({ opcode }) => opcode === 10)).toBe(true);
});

test("a client that takes nothing holds the upstream back, and is cut off after write_timeout", async () => {
  using at = folder();
  let sent = 0;
  await using upstream = await rawServer(({ received, socket }) => {
    if (!received.endsWith("\r\n\r\n")) return;
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Accept: ${accept(received)}\r\n\r\n`,
    );
    const frame = Buffer.concat([
      Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
      Buffer.alloc(65_536),
    ]);
    const pump = (): void => {
      while (!socket.destroyed && sent < 3_000) {
        sent++;
        if (!socket.write(frame)) return void socket.once("drain", pump);
      }
    };
    pump();
  });
  await using proxy = await start(upstream.port, at, "server: { write_timeout: 2s }");
  const client = rawClient(proxy.port, "/v1/realtime", {});
  await client.head;
  client.socket.pause();
  await proxy.said(/websocket_too_slow/);
  // 200 MB were there to be had; sockets of a loopback take some of them.
  expect(sent).toBeLessThan(600);
  expect(memoryOf(proxy.pid).peak).toBeLessThan(250 * 1024 * 1024);
});

test.each(["Content-Length: 20\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"])(
  "a refusal that breaks off is 502, not a shorter one: %j",
  async (rest) => {
    using at = folder();
    await using upstream = await answering(`HTTP/1.1 403 Forbidden\r\n${rest}`, (socket) =>
      socket.end(),
    );
    await using proxy = await start(upstream.port, at);
    const client = rawClient(proxy.port, "/v1/realtime", {});
    expect(await client.head).toStartWith("HTTP/1.1 502 ");
    client.socket.destroy();
  },
);

test("what is no WebSocket from the upstream ends in 1002, a wrong handshake in 502", async () => {
  using at = folder();
  await using upstream = await rawServer(({ received, socket }) => {
    if (!received.endsWith("\r\n\r\n")) return;
    const key = received.includes("/v1/wrong") ? "wrong" : accept(received);
    socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
        `Sec-WebSocket-Accept: ${key}\r\n\r\n\xff\xffoops`,
      "latin1",
    );
  });
  await using proxy = await start(upstream.port, at);
  const client = rawClient(proxy.port, "/v1/realtime", {});
  await until(() => client.frames.length > 0, "a close");
  expect(client.frames[0]!.payload.readUInt16BE(0)).toBe(1_002);
  const wrong = rawClient(proxy.port, "/v1/wrong", {});
  expect(await wrong.head).toMatch(/^HTTP\/1\.1 502 /);
});

test("through an outgoing proxy, to an upstream with TLS", async () => {
  using at = folder();
  await using outgoing = await startOutgoing({ credentials: "me:sesame" });
  using upstream = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    tls: { cert, key },
    fetch: (request, self) => (self.upgrade(request) ? undefined : new Response("no")),
    websocket: { message: (socket, message) => void socket.send(`echo ${message.toString()}`) },
  });
  const yaml = `
default_upstream: "https://localhost:${upstream.port}"
upstream_proxy: "http://me:sesame@127.0.0.1:${outgoing.port}"
extra_ca: ${at.write("ca.pem", cert)}
`;
  await using proxy = await startProxy(yaml, { at });
  const client = rawClient(proxy.port, "/v1/realtime", {});
  expect(await client.head).toStartWith("HTTP/1.1 101 ");
  client.send(1, "hi");
  await until(() => client.frames.length > 0, "an echo");
  expect(client.frames[0]!.payload.toString()).toBe("echo hi");
  expect(outgoing.heads[0]).toStartWith("CONNECT localhost:");
});

function accept(request: string): string {
  const key = /sec-websocket-key: (\S+)/i.exec(request)?.[1] ?? "";
  const hasher = new Bun.CryptoHasher("sha1");
  return hasher.update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
}
