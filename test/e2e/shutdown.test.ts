import { expect, setDefaultTimeout, test } from "bun:test";
import { freePort } from "../../scripts/bench/program.ts";
import { openEnded, tunnel } from "../server/tunnel-proxy.ts";
import { ask, brokenOff, call } from "./client.ts";
import type { Call } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import { gate, startUpstream } from "./upstream.ts";
import { startWebSocketServer } from "./websocket-peers.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

function quota(upstream: string, rest: string, server = ""): string {
  return `server: { ${server} }\nquotas: [{ name: q, domain: api.test, provider: generic, upstream: "${upstream}", ${rest} }]\n`;
}

function callMany(port: number, count: number): Call[] {
  return Array.from({ length: count }, () => call(port, { host: "api.test" }));
}

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s with 10 in flight and 6 queued: 10 finish, 6 get 503, exit 0, and a restart remembers",
  async (signal) => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    const yaml = quota(upstream.url, "rpm: 10");
    await using proxy = await startProxy(yaml, { at });
    const calls = callMany(proxy.port, 16);
    await until(
      async () => held.length === 10 && (await proxy.quota("q")).queue_depth === 6,
      "10 are in flight and 6 wait",
    );
    const start = performance.now();
    proxy.kill(signal);
    await proxy.said(/shutting down/);
    await brokenOff(ask(proxy.port, {}));
    open();
    const replies = await Promise.all(calls.map(({ answer: done }) => done));
    // Once the ten have ended it is certain that a minute will pass: nobody is kept for shutdown_timeout (30 s).
    expect(performance.now() - start).toBeLessThan(2_000);
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(10);
    const refused = replies.filter(({ status }) => status === 503);
    expect(refused).toHaveLength(6);
    for (const reply of refused) {
      expect(reply.json().error.code).toBe("SHUTTING_DOWN");
      expect(Number(reply.header("retry-after"))).toBeGreaterThan(0);
    }
    expect((await proxy.ended).code).toBe(0);

    await using again = await startProxy(yaml, { at });
    expect((await again.quota("q")).windows[0]).toMatchObject({
      used: 10,
      reserved: 0,
      remaining: 0,
    });
  },
);

test("what waits and can still go within shutdown_timeout goes", async () => {
  using at = folder();
  await using upstream = startUpstream();
  const yaml = quota(upstream.url, "rps: 4");
  await using proxy = await startProxy(yaml, { at });
  const calls = callMany(proxy.port, 10);
  await until(async () => (await proxy.quota("q")).queue_depth === 6, "6 wait");
  proxy.kill("SIGTERM");
  for (const { answer } of calls) expect((await answer).status).toBe(200);
  expect((await proxy.ended).code).toBe(0);
});

test("what is in flight is cut off at shutdown_timeout; a second signal does not wait for it", async () => {
  using at = folder();
  await using upstream = startUpstream(() => new Promise<Response>(() => {}));
  const yaml = quota(upstream.url, "rpm: 100", "shutdown_timeout: 1s");
  await using slow = await startProxy(yaml, { at });
  const cut = call(slow.port, { host: "api.test" });
  await until(() => upstream.seen.length === 1, "it is in flight");
  const start = performance.now();
  slow.kill("SIGTERM");
  await brokenOff(cut.answer);
  expect((await slow.ended).code).toBe(0);
  expect(performance.now() - start).toBeWithin(900, 2_500);

  const patient = quota(upstream.url, "rpm: 100", "shutdown_timeout: 1m");
  await using twice = await startProxy(patient, { at });
  const lost = call(twice.port, { host: "api.test" });
  await until(() => upstream.seen.length === 2, "it is in flight");
  twice.kill("SIGTERM");
  await twice.said(/shutting down/);
  const second = performance.now();
  twice.kill("SIGTERM");
  await twice.ended;
  expect(performance.now() - second).toBeLessThan(500);
  await brokenOff(lost.answer);

  // The call that got no answer stays charged: the upstream may have counted it.
  await using again = await startProxy(patient, { at });
  const [window] = (await again.quota("q")).windows;
  expect((window?.used ?? 0) + (window?.reserved ?? 0)).toBe(2);
});

test("an idle proxy with open connections ends at once", async () => {
  using at = folder();
  await using upstream = startUpstream();
  await using proxy = await startProxy(quota(upstream.url, "rpm: 100"), { at });
  await ask(proxy.port, { host: "api.test" });
  const idle = await Bun.connect({
    hostname: "127.0.0.1",
    port: proxy.port,
    socket: { data() {} },
  });
  const start = performance.now();
  proxy.kill("SIGTERM");
  expect((await proxy.ended).code).toBe(0);
  expect(performance.now() - start).toBeLessThan(1_000);
  idle.end();
});

test("a stream in flight goes on to its end while the program stops", async () => {
  using at = folder();
  const next = Promise.withResolvers<void>();
  await using upstream = startUpstream(
    () =>
      new Response(
        (async function* () {
          yield Buffer.from("data: 1\n\n");
          await next.promise;
          yield Buffer.from("data: 2\n\n");
        })(),
        { headers: { "content-type": "text/event-stream" } },
      ),
  );
  await using proxy = await startProxy(quota(upstream.url, "rpm: 100"), { at });
  const stream = call(proxy.port, { host: "api.test" });
  await stream.firstPiece;
  proxy.kill("SIGTERM");
  await proxy.said(/shutting down/);
  next.resolve();
  expect((await stream.answer).text()).toBe("data: 1\n\ndata: 2\n\n");
  expect((await proxy.ended).code).toBe(0);
});

test("WebSockets are told at once that the program goes away, and it does not wait for them", async () => {
  using at = folder();
  using upstream = startWebSocketServer();
  const yaml = quota(`http://127.0.0.1:${upstream.port}`, "rpm: 100");
  await using proxy = await startProxy(yaml, { at });
  const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/`, { headers: { Host: "api.test" } });
  const closed = new Promise<CloseEvent>((resolve) => (socket.onclose = resolve));
  await new Promise((resolve) => (socket.onopen = resolve));
  const start = performance.now();
  proxy.kill("SIGTERM");
  expect(await closed).toMatchObject({ code: 1_001, wasClean: true });
  expect((await proxy.ended).code).toBe(0);
  expect(performance.now() - start).toBeLessThan(3_000);
  expect(upstream.seen.at(-1)).toStartWith("close 1001");
  expect(proxy.err).toMatch(/"status":101[^\n]*"outcome":"websocket_shutdown"/);
});

test("a tunnel lives on while something moves in it, and ends the stop when nothing does", async () => {
  using at = folder();
  await using target = await openEnded((socket) => void socket.on("data", (d) => socket.write(d)));
  const port = freePort();
  const yaml = `server: { shutdown_timeout: 60s }
forward_proxy: { enabled: true, port: ${port}, connect_ports: [${target.port}] }
rate_limits: [{ domain: "127.0.0.1:${target.port}", requests_per_second: 100 }]
`;
  await using proxy = await startProxy(yaml, { at });
  const client = await tunnel(port, `127.0.0.1:${target.port}`);
  const start = performance.now();
  proxy.kill("SIGTERM");
  await proxy.said(/shutting down/);
  // A word each second for six of them: longer than a tunnel may be quiet.
  for (let n = 0; n < 6; n++) {
    client.socket.write(`${n}.`);
    await client.until(new RegExp(`${n}\\.`));
    await Bun.sleep(1_000);
  }
  await client.ended;
  expect((await proxy.ended).code).toBe(0);
  const took = performance.now() - start;
  expect(took).toBeGreaterThan(9_000);
  expect(took).toBeLessThan(16_000);
  expect(proxy.err).toMatch(/"bytes_up":12[^\n]*"outcome":"shutdown"/);
});
