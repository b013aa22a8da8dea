import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { systemClock } from "../../src/clock.ts";
import { createBlocklist } from "../../src/routing/blocklist.ts";
import { listenForward } from "../../src/server/tunnel.ts";
import type { Figure, Findings } from "./figure.ts";
import { median } from "./figure.ts";
import type { Program } from "./program.ts";
import { freePort, programAt } from "./program.ts";

const rounds = 5;
const tunnels = 16;
/** Each way through each tunnel, in a round. */
const bytesEach = 30_000_000;
const gigabytes = (tunnels * 2 * bytesEach) / 1e9;

/**
 * CPU time per GB that goes through a tunnel, beside tinyproxy: both in this run and in turns, so that whatever else
 * the machine does meets both.
 */
export async function benchTunnel(): Promise<Findings> {
  if (process.platform !== "linux") return skip("CPU time is read from /proc");
  if (Bun.which("tinyproxy") === null) return skip("tinyproxy is not installed");
  const folder = mkdtempSync(join(tmpdir(), "cooldown-bench-"));
  const target = await exchangeServer();
  const running: Program[] = [];
  try {
    const ours = await startProxy([process.execPath, fileURLToPath(import.meta.url)], freePort());
    running.push(ours);
    const theirPort = freePort();
    const config = join(folder, "tinyproxy.conf");
    writeFileSync(
      config,
      `Port ${theirPort}\nListen 127.0.0.1\nTimeout 600\nMaxClients 500\nLogLevel Error\n`,
    );
    const theirs = await startProxy(["tinyproxy", "-d", "-c", config], theirPort);
    running.push(theirs);
    const costs = { ours: [] as number[], theirs: [] as number[] };
    for (let round = -1; round < rounds; round++) {
      for (const [name, program] of [
        ["ours", ours],
        ["theirs", theirs],
      ] as const) {
        const before = program.cpuMs();
        await exchange(Number(new URL(program.url).port), target.port);
        if (round >= 0) costs[name].push((program.cpuMs() - before) / gigabytes);
      }
    }
    const ratios = costs.ours.map((cost, round) => cost / (costs.theirs[round] ?? Number.NaN));
    const figure = (name: string, value: number): Figure => ({
      name,
      value,
      unit: "ms",
      atMost: null,
    });
    return {
      figures: [
        figure("CPU per GB through a tunnel, Cooldown", median(costs.ours)),
        figure("CPU per GB through a tunnel, tinyproxy", median(costs.theirs)),
        { name: "tunnel ÷ tinyproxy", value: median(ratios), unit: "×", atMost: 1.5 },
      ],
      skipped: [],
    };
  } finally {
    await Promise.all(running.map((program) => program.stop()));
    target.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function skip(why: string): Findings {
  return { figures: [], skipped: [`tunnel: ${why}`] };
}

/** Starts a proxy that is told its port, and waits until it accepts connections. */
async function startProxy(command: readonly string[], port: number): Promise<Program> {
  const child = Bun.spawn([...command], {
    stdout: "ignore",
    stderr: "ignore",
    env: { ...process.env, BENCH_TUNNEL_PORT: String(port) },
  });
  for (let tries = 0; tries < 200; tries++) {
    const accepted = await new Promise<boolean>((resolve) => {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.once("connect", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (accepted) return programAt(`http://127.0.0.1:${port}`, child);
    await Bun.sleep(20);
  }
  child.kill("SIGKILL");
  throw new Error(`${command.join(" ")} did not start.`);
}

const piece = Buffer.alloc(64 * 1024, 7);

/** Sends all, takes all, and closes when both are done: tinyproxy knows no half-closed tunnel. */
function exchangeOver(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = bytesEach;
    let missing = bytesEach;
    const doneIfBoth = (): void => {
      if (left <= 0 && missing <= 0) socket.end();
    };
    const send = (): void => {
      while (left > 0) {
        const part = left < piece.length ? piece.subarray(0, left) : piece;
        left -= part.length;
        if (!socket.write(part)) return void socket.once("drain", send);
      }
      doneIfBoth();
    };
    socket.on("data", (got) => {
      missing -= got.length;
      doneIfBoth();
    });
    socket.once("error", reject);
    socket.once("close", () =>
      missing === 0 ? resolve() : reject(new Error(`${missing} bytes did not arrive.`)),
    );
    socket.resume();
    send();
  });
}

async function exchangeServer(): Promise<{ port: number; stop(): void }> {
  const server = createServer((socket) => void exchangeOver(socket).catch(() => {}));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, stop: () => void server.close() };
}

/** `tunnels` at once through the proxy on `port`. */
async function exchange(port: number, target: number): Promise<void> {
  await Promise.all(
    Array.from({ length: tunnels }, async () => {
      const socket = connect({ port, host: "127.0.0.1" });
      socket.write(`CONNECT 127.0.0.1:${target} HTTP/1.1\r\nHost: 127.0.0.1:${target}\r\n\r\n`);
      // The other side may speak at once, right behind the answer's head.
      let head = Buffer.alloc(0);
      await new Promise<void>((resolve, reject) => {
        const read = (got: Buffer): void => {
          head = Buffer.concat([head, got]);
          const end = head.indexOf("\r\n\r\n");
          if (end === -1) return;
          socket.pause();
          socket.off("data", read);
          if (head.length > end + 4) socket.unshift(head.subarray(end + 4));
          resolve();
        };
        socket.on("data", read);
        socket.once("error", reject);
      });
      await exchangeOver(socket);
    }),
  );
}

/** The forward proxy by itself, with nothing to wait for: what a tunnel costs once it is open. */
if (import.meta.main) {
  const { BENCH_TUNNEL_PORT: port } = process.env;
  const everyPort = Array.from({ length: 65_536 }, (_, i) => i);
  await listenForward({
    host: "127.0.0.1",
    port: Number(port),
    server: "cooldown/bench",
    clock: systemClock(),
    policy: () => ({
      connectPorts: everyPort,
      blocklist: createBlocklist([], []),
      idleMs: 60_000,
      connectMs: 10_000,
      readMs: 60_000,
      writeMs: 60_000,
      proxyFor: () => null,
    }),
    handle: () => new Response(null, { status: 501 }),
    authorise: () => ({ id: "bench" }),
    checkAddress: ({ name }) => [name],
    admitTunnel: async () => ({ waitedMs: 0, connected() {}, commit() {}, cancel() {} }),
    report() {},
  });
}
