import { expect, test } from "bun:test";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { folder, memoryOf, startProxy } from "../e2e/program.ts";
import { connectRequest, forwardProxy, openEnded, tunnel } from "./tunnel-proxy.ts";

/** After so many bytes they repeat: no power of two, so that a piece that is lost or doubled shows. */
const period = 65_543;
const longestPiece = 4 << 20;

/** Bytes that differ from place to place, and by `seed`. */
function patternOf(seed: number): Buffer {
  const once = Buffer.alloc(period);
  for (let i = 0; i < period; i++) once[i] = (i * 31 + seed * 17 + (i >> 8)) & 255;
  return Buffer.alloc(longestPiece + period, once);
}

function send(socket: Socket, pattern: Buffer, total: number): void {
  let at = 0;
  const step = (): void => {
    while (at < total) {
      const start = at % period;
      const piece = pattern.subarray(start, start + Math.min(64 * 1024, total - at));
      at += piece.length;
      if (!socket.write(piece)) return void socket.once("drain", step);
    }
    socket.end();
  };
  step();
}

/** How many bytes arrived until the end; rejects at the first that is not of the pattern. */
function receive(socket: Socket, pattern: Buffer): Promise<number> {
  let at = 0;
  return new Promise((resolve, reject) => {
    socket.on("data", (piece: Buffer) => {
      const start = at % period;
      at += piece.length;
      if (!piece.equals(pattern.subarray(start, start + piece.length)))
        reject(new Error(`Other bytes than were sent before byte ${at}.`));
    });
    socket.once("end", () => resolve(at));
    socket.once("error", reject);
    socket.resume();
  });
}

/** Opens a tunnel whose bytes are not looked at yet. */
async function open(port: number, target: string): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  socket.write(connectRequest(target));
  let head = Buffer.alloc(0);
  for (;;) {
    const piece = await new Promise<Buffer>((resolve, reject) => {
      socket.once("data", resolve);
      socket.once("error", reject);
    });
    socket.pause();
    head = Buffer.concat([head, piece]);
    const end = head.indexOf("\r\n\r\n");
    if (end === -1) {
      socket.resume();
      continue;
    }
    if (!head.toString().startsWith("HTTP/1.1 200 ")) throw new Error(head.toString());
    if (head.length > end + 4) socket.unshift(head.subarray(end + 4));
    return socket;
  }
}

/** The program with a forward proxy that tunnels may lead through to `port` of this machine. */
function configFor(port: number): string {
  return `
forward_proxy: { enabled: true, host: 127.0.0.1, port: 0, connect_ports: [${port}] }
rate_limits: [{ domain: "127.0.0.1:${port}", requests_per_second: 10000, burst: 1000 }]
`;
}

test("200 tunnels at once with 10 MB each way, byte-exact, in bounded memory", async () => {
  const total = 10_000_000;
  const [down, up] = [patternOf(1), patternOf(2)];
  const ups: Promise<number>[] = [];
  await using target = await openEnded((socket) => {
    ups.push(receive(socket, up));
    send(socket, down, total);
  });
  using at = folder();
  await using proxy = await startProxy(configFor(target.port), { at });
  const [, port] = await proxy.said(/forward proxy on http:\/\/[^:]+:(\d+)/);
  const idle = process.platform === "linux" ? memoryOf(proxy.pid).now : 0;
  const downs = await Promise.all(
    Array.from({ length: 200 }, async () => {
      const socket = await open(Number(port), `127.0.0.1:${target.port}`);
      send(socket, up, total);
      return receive(socket, down);
    }),
  );
  const all = Array.from({ length: 200 }, () => total);
  expect(downs).toEqual(all);
  expect(await Promise.all(ups)).toEqual(all);
  const peak = process.platform === "linux" ? memoryOf(proxy.pid).peak : 0;
  // Mostly the one piece of 512 KB that the runtime reads of each client, asked for or not.
  expect(peak - idle).toBeLessThan(500_000_000);
  proxy.kill("SIGTERM");
  const { err } = await proxy.ended;
  const ends = err.split("\n").filter((line) => line.includes(`"bytes_up":${total}`));
  expect(ends.filter((line) => line.includes('"outcome":"closed"')).length).toBe(200);
  expect(ends.filter((line) => line.includes(`"bytes_down":${total}`)).length).toBe(200);
}, 120_000);

test("what a slow reader has not taken is not held here", async () => {
  let sent = 0;
  const piece = Buffer.alloc(256 * 1024);
  await using up = await openEnded((socket) => {
    const go = (): void => {
      while (sent < 500_000_000) {
        sent += piece.length;
        if (!socket.write(piece)) return void socket.once("drain", go);
      }
    };
    go();
  });
  await using proxy = await forwardProxy();
  const before = process.memoryUsage.rss();
  const client = await tunnel(proxy.port, `up.test:${up.port}`);
  client.socket.pause();
  let last = -1;
  while (last !== sent) {
    last = sent;
    await Bun.sleep(100);
  }
  // Mostly in the kernel's buffers of four sockets.
  expect(sent).toBeLessThan(60_000_000);
  expect(process.memoryUsage.rss() - before).toBeLessThan(60_000_000);
}, 30_000);
