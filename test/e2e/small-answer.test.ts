import { expect, setDefaultTimeout, test } from "bun:test";
import { rawServer } from "../upstream/raw-server.ts";
import type { RawConnection, RawServer } from "../upstream/raw-server.ts";
import { ask, brokenOff, call } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";

// A small answer of a plain API is sent on by the runtime: what that does not see to would be seen here.

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const half = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\nfirst half";

/** An upstream whose answers stop in the middle. */
function halfway(then: (connection: RawConnection) => void = () => {}): Promise<RawServer> {
  return rawServer((connection) => {
    if (!connection.received.endsWith("\r\n\r\n")) return;
    connection.socket.write(half);
    then(connection);
  });
}

function rule(upstream: RawServer, limits = "", rest = ""): string {
  return `${rest}\nquotas: [{ name: q, domain: api.test, provider: generic, rpm: 1000, ${limits} upstream: "${upstream.url}" }]\n`;
}

test("its rest arrives after its head, and during a shutdown", async () => {
  using at = folder();
  await using upstream = await halfway();
  await using proxy = await startProxy(rule(upstream), { at });
  const { firstPiece, answer } = call(proxy.port, { host: "api.test" });
  await firstPiece;
  proxy.kill("SIGTERM");
  await proxy.said(/shutting down/);
  upstream.connections[0]?.socket.write(", the rest");
  expect((await answer).text()).toBe("first half, the rest");
  expect((await proxy.ended).code).toBe(0);
});

test("a client that leaves in the middle of it ends the call", async () => {
  using at = folder();
  await using upstream = await halfway();
  await using proxy = await startProxy(rule(upstream), { at });
  const leaving = call(proxy.port, { host: "api.test" });
  await leaving.firstPiece;
  leaving.abort();
  const [connection] = upstream.connections;
  let isClosed = false;
  void connection?.closed.then(() => (isClosed = true));
  await until(() => isClosed, "the upstream's connection is closed", 1_000);
});

test("one that stalls is broken off after the upstream's idle timeout, and ends the call", async () => {
  using at = folder();
  await using upstream = await halfway();
  const timeouts = "upstream_timeouts: { idle: 1s }";
  await using proxy = await startProxy(rule(upstream, "", timeouts), { at });
  await brokenOff(ask(proxy.port, { host: "api.test" }));
  await upstream.connections[0]?.closed;
});

test("a pause in it may be longer than an idle connection may live", async () => {
  using at = folder();
  await using upstream = await halfway(
    ({ socket }) => void setTimeout(() => socket.write(", the rest"), 6_000),
  );
  const short = "server: { idle_timeout: 1s }";
  await using proxy = await startProxy(rule(upstream, "", short), { at });
  const answer = await ask(proxy.port, { host: "api.test" });
  expect(answer.text()).toBe("first half, the rest");
});

test("one that breaks off does not look complete, and leaves no query on standard error", async () => {
  using at = folder();
  await using upstream = await halfway(({ socket }) => void setTimeout(() => socket.destroy(), 20));
  await using proxy = await startProxy(rule(upstream), { at });
  await brokenOff(ask(proxy.port, { host: "api.test", path: "/items" }));
  await brokenOff(ask(proxy.port, { host: "api.test", path: "/items?key=private-0123456789" }));
  await until(() => proxy.err.includes("upstream_broke_off"), "the last one is in the log");
  expect(proxy.err).not.toContain("private-0123456789");
});

test("it holds its place of max_concurrency until its end", async () => {
  using at = folder();
  await using upstream = await halfway();
  await using proxy = await startProxy(rule(upstream, "max_concurrency: 1,"), { at });
  const first = call(proxy.port, { host: "api.test" });
  const second = call(proxy.port, { host: "api.test" });
  await until(async () => (await proxy.quota("q")).queue_depth === 1, "the second waits");
  await until(() => upstream.connections.length === 1, "the first is under way");
  await Bun.sleep(100);
  expect((await proxy.quota("q")).queue_depth).toBe(1);
  upstream.connections[0]?.socket.write(", the rest");
  expect((await first.answer).text()).toBe("first half, the rest");
  await until(async () => (await proxy.quota("q")).queue_depth === 0, "the second goes");
  second.abort();
});
