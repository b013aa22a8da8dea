import { expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:tls";
import { makeCertificate, shownBy } from "./certificates.ts";
import { folder, runProgram, startProxy, until } from "./program.ts";
import type { Folder, Proxy } from "./program.ts";
import { startUpstream } from "./upstream.ts";
import { startWebSocketServer } from "./websocket-peers.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

async function startWithTls(at: Folder, upstream: string, args: string[] = []): Promise<Proxy> {
  const { cert, key } = makeCertificate("first");
  at.write("cert.pem", cert);
  at.write("key.pem", key);
  const yaml = `
server: { tls: { cert: cert.pem, key: key.pem } }
rate_limits: [{ domain: api.test, upstream: "${upstream}", requests_per_second: 1000, burst: 100 }]
`;
  return await startProxy(yaml, { at, args });
}

/** A connection that stays. */
function keptOpen(port: number) {
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  const state = { socket, received: "", isClosed: false };
  socket.on("data", (piece: Buffer) => void (state.received += piece.toString("latin1")));
  socket.on("close", () => void (state.isClosed = true));
  socket.on("error", () => {});
  return state;
}

test("https, and a certificate renewed under an answer that is on its way", async () => {
  using at = folder();
  const last = Promise.withResolvers<void>();
  await using upstream = startUpstream(
    () =>
      new Response(
        new ReadableStream({
          async start(stream) {
            stream.enqueue("first part ");
            await last.promise;
            stream.enqueue("last part");
            stream.close();
          },
        }),
      ),
  );
  await using proxy = await startWithTls(at, upstream.url, ["--proto", "https"]);
  expect(proxy.out).toMatch(/listens on https:\/\/localhost:\d+/);
  expect(await shownBy(proxy.port)).toBe("first");
  const kept = keptOpen(proxy.port);
  kept.socket.write("GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
  await until(() => kept.received.includes("first part"), "the answer begins");

  const second = makeCertificate("second");
  at.write("cert.pem", second.cert);
  // Until the key is there too they do not belong together.
  await proxy.said(/certificate not reloaded, the old one stays in force/);
  expect(await shownBy(proxy.port)).toBe("first");
  at.write("key.pem", second.key);
  await proxy.said(/certificate reloaded/);
  for (let i = 0; i < 20; i++) expect(await shownBy(proxy.port)).toBe("second");
  last.resolve();
  await until(() => kept.received.includes("last part"), "the answer ends");
  expect(kept.received).toEndWith("0\r\n\r\n");
});

test("a WebSocket lives on under a renewed certificate", async () => {
  using at = folder();
  using upstream = startWebSocketServer();
  await using proxy = await startWithTls(at, `http://127.0.0.1:${upstream.port}`);
  const socket = new WebSocket(`wss://127.0.0.1:${proxy.port}/`, {
    headers: { Host: "api.test" },
    tls: { rejectUnauthorized: false },
  });
  const got: string[] = [];
  let closedWith: number | null = null;
  socket.onmessage = ({ data }) => void got.push(String(data));
  socket.onclose = ({ code }) => void (closedWith = code);
  await new Promise((resolve) => (socket.onopen = resolve));
  const { cert, key } = makeCertificate("second");
  at.write("key.pem", key);
  at.write("cert.pem", cert);
  await proxy.said(/certificate reloaded/);
  expect(await shownBy(proxy.port)).toBe("second");
  socket.send("still here");
  await until(() => got.length === 1, "an echo");
  expect(closedWith).toBeNull();
  socket.close();
});

test("SIGHUP with a broken certificate keeps the old one; a renewed one survives a stop", async () => {
  using at = folder();
  await using upstream = startUpstream();
  await using proxy = await startWithTls(at, upstream.url);
  at.write("cert.pem", "-----BEGIN CERTIFICATE-----\nbroken\n");
  proxy.kill("SIGHUP");
  await proxy.said(/certificate not reloaded/);
  expect(await shownBy(proxy.port)).toBe("first");
  const { cert, key } = makeCertificate("third");
  at.write("key.pem", key);
  at.write("cert.pem", cert);
  await proxy.said(/certificate reloaded/);
  expect(await shownBy(proxy.port)).toBe("third");
  proxy.kill("SIGTERM");
  expect((await proxy.ended).code).toBe(0);
});

test("the port is not shared with another process, and a wrong key is said at the start", async () => {
  using at = folder();
  await using first = await startWithTls(at, "http://127.0.0.1:1");
  const args = ["--config", at.file("config.yaml"), "--store", ":memory:"];
  const second = await runProgram([...args, "--port", String(first.port)]);
  expect([second.code, second.err]).toEqual([1, expect.stringContaining("is in use")]);
  at.write("key.pem", makeCertificate("other").key);
  const third = await runProgram([...args, "--port", "0"]);
  expect(third.code).toBeOneOf([1, 2]);
  expect(third.err).toMatch(/server\.tls|Cannot listen/);
});
