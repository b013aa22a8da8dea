import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { systemClock } from "../../src/clock.ts";
import { ProxyError } from "../../src/errors.ts";
import { createBlocklist } from "../../src/routing/blocklist.ts";
import { listenForward } from "../../src/server/tunnel.ts";
import type { ForwardListener } from "../../src/server/tunnel.ts";
import type {
  Caller,
  ForwardOptions,
  ForwardPolicy,
  ForwardReport,
  TunnelLease,
} from "../../src/server/tunnel-options.ts";

export interface Client {
  id: string;
}

/** A forward proxy for a test, and what it was asked. */
export interface ForwardProxy extends AsyncDisposable {
  port: number;
  url: string;
  listener: ForwardListener;
  /** Absolute-form requests that got to the pipeline. */
  handled: Request[];
  callers: Caller[];
  reports: ForwardReport[];
  /** What was done with the leases, in order. */
  leases: string[];
  /** Resolves with the first report for which `when` is true. */
  reported(when?: (report: ForwardReport) => boolean): Promise<ForwardReport>;
}

export const longMs = 20_000;

export function lease(log: string[] = []): TunnelLease {
  return {
    waitedMs: 0,
    connected: () => void log.push("connected"),
    commit: () => void log.push("commit"),
    cancel: () => void log.push("cancel"),
  };
}

/** Starts one that takes every name for this machine, and passes requests on to the URL that they name. */
export async function forwardProxy(
  parts: Partial<ForwardPolicy> = {},
  hooks: Partial<ForwardOptions<Client>> = {},
): Promise<ForwardProxy> {
  const handled: Request[] = [];
  const callers: Caller[] = [];
  const reports: ForwardReport[] = [];
  const leases: string[] = [];
  let wake = Promise.withResolvers<void>();
  const everyPort = { includes: () => true } as unknown as readonly number[];
  const policy: ForwardPolicy = {
    connectPorts: everyPort,
    blocklist: createBlocklist([], []),
    idleMs: longMs,
    connectMs: longMs,
    readMs: longMs,
    writeMs: longMs,
    proxyFor: () => null,
    ...parts,
  };
  const listener = await listenForward<Client>({
    host: "127.0.0.1",
    port: 0,
    server: "cooldown/test",
    clock: systemClock(),
    policy: () => policy,
    async handle(request) {
      handled.push(request);
      try {
        const { method, headers, body, signal } = request;
        return await fetch(request.url, {
          method,
          headers,
          body,
          signal,
          decompress: false,
          redirect: "manual",
        });
      } catch (error) {
        const known = error instanceof ProxyError;
        return new Response(String(error), { status: known ? error.status : 502 });
      }
    },
    authorise(caller) {
      callers.push(caller);
      return { id: `ip:${caller.peer}` };
    },
    checkAddress: () => ["127.0.0.1"],
    admitTunnel: async () => lease(leases),
    report(entry) {
      reports.push(entry);
      wake.resolve();
      wake = Promise.withResolvers();
    },
    ...hooks,
  });
  return {
    port: listener.port,
    url: `http://127.0.0.1:${listener.port}`,
    listener,
    handled,
    callers,
    reports,
    leases,
    async reported(when = () => true) {
      for (;;) {
        const found = reports.find(when);
        if (found !== undefined) return found;
        await wake.promise;
      }
    },
    [Symbol.asyncDispose]: () => listener.close(),
  };
}

/** A connection of a test's own. */
export interface Wire {
  socket: Socket;
  /** Everything received so far, as Latin-1. */
  received: string;
  /** Resolves when what was received matches. */
  until(what: RegExp): Promise<string>;
  /** Resolves with everything when the other side has finished or broken off. */
  ended: Promise<string>;
  /** Resolves with the code of the error that it broke off with, null where it has finished. */
  broke: Promise<string | null>;
}

export function wire(port: number, text: string | Buffer = ""): Wire {
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const ended = Promise.withResolvers<string>();
  const broke = Promise.withResolvers<string | null>();
  const waiting: { what: RegExp; resolve: (all: string) => void }[] = [];
  const self: Wire = {
    socket,
    received: "",
    ended: ended.promise,
    broke: broke.promise,
    until: (what) =>
      what.test(self.received)
        ? Promise.resolve(self.received)
        : new Promise((resolve) => void waiting.push({ what, resolve })),
  };
  socket.on("error", (error: NodeJS.ErrnoException) => broke.resolve(error.code ?? ""));
  socket.on("data", (piece) => {
    self.received += piece.toString("latin1");
    for (const { what, resolve } of waiting) if (what.test(self.received)) resolve(self.received);
  });
  socket.once("end", () => {
    ended.resolve(self.received);
    broke.resolve(null);
  });
  socket.once("close", () => ended.resolve(self.received));
  if (text.length > 0) socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
  return self;
}

/** A port of the loopback interface whose queue is full: the kernel drops what wants to connect. */
export async function deafPort(): Promise<{ port: number } & Disposable> {
  const script = `
import socket, sys
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(0)
clients = []
for _ in range(4):
    client = socket.socket(); client.setblocking(False); client.connect_ex(server.getsockname()); clients.append(client)
print(server.getsockname()[1], flush=True)
sys.stdin.read()`;
  const child = Bun.spawn(["python3", "-c", script], { stdin: "pipe", stdout: "pipe" });
  const { value } = await child.stdout.getReader().read();
  return {
    port: Number(Buffer.from(value ?? new Uint8Array()).toString()),
    [Symbol.dispose]: () => child.kill(),
  };
}

/** A TCP server whose connections stay writable when the client has finished. */
export async function openEnded(
  onConnection: (socket: Socket) => void,
): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

export function connectRequest(target: string, headers = ""): string {
  return `CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${headers}\r\n`;
}

/** Opens a tunnel; resolves when it is there. */
export async function tunnel(port: number, target: string): Promise<Wire> {
  const opened = wire(port, connectRequest(target));
  await opened.until(/\r\n\r\n/);
  if (!opened.received.startsWith("HTTP/1.1 200 ")) throw new Error(opened.received);
  opened.received = opened.received.slice(opened.received.indexOf("\r\n\r\n") + 4);
  return opened;
}
