import { expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { ask, brokenOff, call } from "./client.ts";
import { folder, memoryOf, startProxy, until } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const rate = "requests_per_second: 1000, burst: 100";

function send(port: number, text: string) {
  const socket = connect(port, "127.0.0.1");
  const state = { socket, received: "", isClosed: false };
  socket.on("data", (piece: Buffer) => void (state.received += piece.toString("latin1")));
  socket.on("close", () => void (state.isClosed = true));
  socket.on("error", () => {});
  socket.write(text);
  return state;
}

const head = "POST / HTTP/1.1\r\nHost: api.test\r\n";

test.each([
  ["of known length", `${head}Content-Length: 100\r\n\r\nsome`],
  ["of a large length", `${head}Content-Length: 1000000\r\n\r\nsome`],
  ["in chunks", `${head}Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n`],
  [
    "that is counted",
    `${head.replace("api.test", "model.test").replace("/", "/v1/chat/completions")}Content-Length: 50\r\n\r\n{"mo`,
  ],
])("a body %s that stops arriving is refused after read_timeout", async (_, request) => {
  using at = folder();
  await using upstream = startUpstream(async (request) => new Response(await request.bytes()));
  const yaml = `
rate_limits: [{ domain: api.test, upstream: "${upstream.url}", ${rate} }]
quotas: [{ name: q, domain: model.test, provider: openai, upstream: "${upstream.url}", tpm: 10000 }]
`;
  await using proxy = await startProxy(yaml, { at, args: ["--read-timeout", "1s"] });
  const startedAt = performance.now();
  const sent = send(proxy.port, request);
  await until(() => sent.received.includes("\r\n\r\n") || sent.isClosed, "an answer");
  expect(performance.now() - startedAt).toBeWithin(900, 2_500);
  expect(sent.received).toMatch(/^HTTP\/1\.1 400 [^]*INVALID_REQUEST[^]*server\.read_timeout/);
  sent.socket.destroy();
  expect((await ask(proxy.port, { host: "api.test" })).status).toBe(200);
});

test("a slow body that does not pause for as long arrives", async () => {
  using at = folder();
  await using upstream = startUpstream(async (request) => new Response(await request.bytes()));
  const yaml = `rate_limits: [{ domain: api.test, upstream: "${upstream.url}", ${rate} }]\n`;
  await using proxy = await startProxy(yaml, { at, args: ["--read-timeout", "1s"] });
  async function* slowly() {
    for (let i = 0; i < 5; i++) {
      await Bun.sleep(400);
      yield Buffer.from("piece");
    }
  }
  const chunked = ask(proxy.port, { host: "api.test", method: "POST", body: slowly() });
  const counted = send(proxy.port, `${head}Content-Length: 5\r\nConnection: close\r\n\r\n`);
  for (const letter of "piece") {
    await Bun.sleep(400);
    counted.socket.write(letter);
  }
  expect((await chunked).text()).toBe("piece".repeat(5));
  await until(() => counted.received.endsWith("piece"), "the other is back too");
});

test("with a longer read_timeout, a small body must arrive within it as a whole", async () => {
  using at = folder();
  await using upstream = startUpstream(async (request) => new Response(await request.bytes()));
  const yaml = `rate_limits: [{ domain: api.test, upstream: "${upstream.url}", ${rate} }]\n`;
  await using proxy = await startProxy(yaml, { at, args: ["--read-timeout", "10s"] });
  const good = await ask(proxy.port, { host: "api.test", method: "POST", body: "hello" });
  expect(good.text()).toBe("hello");
  const slow = send(proxy.port, `${head}Content-Length: 5\r\n\r\nhel`);
  await until(() => slow.received !== "" || slow.isClosed, "an answer", 13_000);
  expect(slow.received).toMatch(/^HTTP\/1\.1 400 /);
});

test("a client that takes nothing is cut off after write_timeout, and its upstream call with it", async () => {
  using at = folder();
  let isCancelled = false;
  let sent = 0;
  await using upstream = startUpstream(
    () =>
      new Response(
        new ReadableStream({
          pull(stream) {
            sent += 65_536;
            stream.enqueue(new Uint8Array(65_536));
          },
          cancel: () => void (isCancelled = true),
        }),
      ),
  );
  const yaml = `rate_limits: [{ domain: api.test, upstream: "${upstream.url}", ${rate}, max_concurrency: 1 }]\n`;
  await using proxy = await startProxy(yaml, { at, args: ["--write-timeout", "1s"] });
  const client = send(proxy.port, "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
  await until(() => client.received !== "", "the answer begins");
  client.socket.pause();
  const startedAt = performance.now();
  await proxy.said(/"outcome":"aborted"/);
  expect(performance.now() - startedAt).toBeWithin(700, 4_000);
  await until(() => isCancelled, "the upstream is let go");
  expect(sent).toBeLessThan(100_000_000);
  expect(memoryOf(proxy.pid).peak).toBeLessThan(300 * 1024 * 1024);
});

test("a connection without a request is closed after idle_timeout", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = `rate_limits: [{ domain: api.test, upstream: "${upstream.url}", ${rate} }]\n`;
  await using proxy = await startProxy(yaml, { at, args: ["--idle-timeout", "2s"] });
  const kept = send(proxy.port, "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n");
  await until(() => kept.received.endsWith("ok"), "an answer");
  // The runtime looks each 4 s.
  await until(() => kept.isClosed, "it is closed", 9_000);
});

test("shutdown_timeout cuts off what takes longer", async () => {
  using at = folder();
  await using upstream = startUpstream(() => new Promise(() => {}));
  const yaml = `rate_limits: [{ domain: api.test, upstream: "${upstream.url}", ${rate} }]\n`;
  await using proxy = await startProxy(yaml, { at, args: ["--shutdown-timeout", "1s"] });
  const asked = call(proxy.port, { host: "api.test" });
  await until(() => upstream.seen.length === 1, "the upstream has it");
  const startedAt = performance.now();
  proxy.kill("SIGTERM");
  expect((await proxy.ended).code).toBe(0);
  expect(performance.now() - startedAt).toBeWithin(900, 4_000);
  await brokenOff(asked.answer);
});
