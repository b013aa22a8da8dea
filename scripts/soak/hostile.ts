import { connect } from "node:net";
import { ask } from "../../test/e2e/client.ts";
import { hostileCases } from "../../test/e2e/hostile-cases.ts";
import { randomFrom } from "../../test/e2e/mischief.ts";
import { folder, memoryOf, startProxy } from "../../test/e2e/program.ts";
import { startUpstream } from "../../test/e2e/upstream.ts";
import { startWebSocketServer } from "../../test/e2e/websocket-peers.ts";
import { freePort } from "../bench/program.ts";
import type { Ports } from "./hostile-bytes.ts";
import { attack } from "./hostile-bytes.ts";
import type { Report } from "./report.ts";

const seed = 5;
const earlyMs = 5_000;
const runMs = 30_000;
const hostileClients = 8;
const goodClients = 4;
/** Connections that are left standing, at most. */
const mostStalled = 200;
/** How long a client waits for an answer to what it has sent, ms. */
const patienceMs = 100;

/**
 * Mutated bytes and hostile JSON on both ports for half a minute, good traffic beside it: the program stays, answers
 * what is good, and asks no upstream because of what is malformed.
 */
export async function hostile(report: Report): Promise<void> {
  using at = folder();
  const cameThrough: string[] = [];
  await using upstream = startUpstream(async (request) => {
    const { length } = await request.text();
    const { pathname } = new URL(request.url);
    // With all of its body here: the program took it for a request.
    if (/^\/(broken|hid)/.test(pathname)) cameThrough.push(pathname);
    upstream.seen.length = 0;
    return Response.json({ path: pathname, length, usage: { prompt_tokens: 1 } });
  });
  using sockets = startWebSocketServer(() => {
    sockets.seen.length = 0;
    sockets.requests.length = 0;
    return null;
  });
  const ports = { main: 0, forward: freePort(), upstream: upstream.port };
  const yaml = `
rate_limits:
  - { domain: api.test, upstream: "${upstream.url}", requests_per_second: 100000, burst: 10000 }
  - { domain: ws.test, upstream: "http://127.0.0.1:${sockets.port}", requests_per_second: 100000, burst: 10000 }
  - { domain: "127.0.0.1:${upstream.port}", requests_per_second: 100000, burst: 10000 }
quotas: [{ name: q, domain: model.test, provider: openai, upstream: "${upstream.url}", tpm: 1000000000, rpm: 1000000 }]
forward_proxy: { enabled: true, host: 127.0.0.1, port: ${ports.forward}, connect_ports: [${upstream.port}] }
`;
  const args = ["--read-timeout", "2s", "--idle-timeout", "5s", "--log-level", "error"];
  await using proxy = await startProxy(yaml, { at, args });
  ports.main = proxy.port;
  const start = performance.now();
  const isOver = (): boolean => performance.now() - start > runMs;

  const random = randomFrom(seed);
  const sent = new Map<string, number>();
  const stalled: (() => void)[] = [];
  const attackOn = async (): Promise<void> => {
    for (let n = 0; !isOver(); n++) {
      const known = hostileCases[n % (4 * hostileCases.length)];
      const { kind, port, bytes, stalls } =
        known === undefined
          ? attack(random, ports, n)
          : { kind: "known", port: ports.main, bytes: bytesOf(known.pieces), stalls: false };
      sent.set(kind, (sent.get(kind) ?? 0) + 1);
      const close = await send(port, bytes, random() < 0.3, stalls);
      stalled.push(close);
      while (stalled.length > mostStalled) stalled.shift()?.();
    }
  };

  const times: number[] = [];
  const wrong: string[] = [];
  const useWell = async (client: number): Promise<void> => {
    for (let n = 0; !isOver(); n++) {
      const path = `/good/${client}/${n}`;
      const began = performance.now();
      const found = await good(n, path, ports).catch((error: Error) => error.message);
      times.push(performance.now() - began);
      if (found !== path) wrong.push(`${path}: ${found}`);
      await Bun.sleep(10);
    }
  };

  /** Memory in bytes, each second. */
  const memory: number[] = [];
  const sampling = setInterval(() => void memory.push(memoryOf(proxy.pid).now), 1_000);
  await Promise.all([
    ...Array.from({ length: hostileClients }, attackOn),
    ...Array.from({ length: goodClients }, (_, client) => useWell(client)),
  ]);
  clearInterval(sampling);
  const early = memory[earlyMs / 1_000 - 1] ?? Number.NaN;
  const late = memory.at(-1) ?? Number.NaN;
  for (const close of stalled) close();

  report.note(`seed ${seed}: ${JSON.stringify(Object.fromEntries(sent))}`);
  report.atLeast("good requests", times.length, 1_000);
  report.check("of them answered wrongly", wrong.length === 0, wrong.slice(0, 3).join("; ") || 0);
  const p99 = times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Infinity;
  report.atMost("ms, their 99th percentile", p99, 250);
  report.check(
    "upstream requests of malformed ones",
    cameThrough.length === 0,
    cameThrough.slice(0, 5).join(" ") || 0,
  );
  report.note(`${Math.round(early / 1e6)} MB after 5 s, ${Math.round(late / 1e6)} MB after 30 s`);
  report.atMost("MB more memory after 25 s more of it", (late - early) / 1e6, 50);
  const { status } = await ask(proxy.port, { path: "/health" });
  report.check("it still answers", status === 200, status);
  report.check("no error in its log", proxy.err === "", proxy.err.slice(0, 500) || "none");
}

function bytesOf(pieces: readonly string[]): Buffer {
  return Buffer.from(pieces.join(""), "latin1");
}

/** Sends `bytes` and waits a little for what comes back. The connection may stay open; what is returned closes it. */
function send(
  port: number,
  bytes: Buffer,
  halfCloses: boolean,
  stalls: boolean,
): Promise<() => void> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const close = (): void => void socket.destroy();
    const finish = (): void => {
      clearTimeout(timer);
      if (!stalls) close();
      resolve(close);
    };
    const timer = setTimeout(finish, patienceMs);
    socket.on("error", () => {});
    socket.once("data", finish);
    socket.once("close", finish);
    if (halfCloses) socket.end(bytes);
    else socket.write(bytes);
  });
}

/** One request of the kind that `n` says; gives the path that its answer names. */
async function good(n: number, path: string, ports: Ports): Promise<string> {
  const body = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: path }] });
  if (n % 3 === 0) return pathOf(await ask(ports.main, { host: "api.test", path }));
  if (n % 3 === 1) {
    const chat = `/v1/chat/completions?of=${encodeURIComponent(path)}`;
    const headers = { "Content-Type": "application/json" };
    const asked = { host: "model.test", path: chat, method: "POST", headers, body };
    const answer = await ask(ports.main, asked);
    const { length } = answer.json();
    return answer.status === 200 && length === body.length
      ? path
      : `${answer.status} ${answer.text()}`;
  }
  const host = `127.0.0.1:${ports.upstream}`;
  return pathOf(await ask(ports.forward, { host, path: `http://${host}${path}` }));
}

function pathOf(answer: Awaited<ReturnType<typeof ask>>): string {
  return answer.status === 200 ? String(answer.json().path) : `${answer.status} ${answer.text()}`;
}
