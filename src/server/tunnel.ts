import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { OperationError } from "../errors.ts";
import { ForwardDesk } from "./tunnel-desk.ts";
import type { ForwardOptions } from "./tunnel-options.ts";

/** A forward proxy that accepts connections. */
export interface ForwardListener {
  readonly port: number;
  /** Tunnels that are waiting or open, and absolute-form requests under way. */
  readonly running: number;
  /** Resolves when none is. */
  idle(): Promise<void>;
  /** Stops accepting connections; what is under way goes on, tunnels while something moves in them. */
  stopAccepting(): void;
  /** Closes everything. */
  close(): Promise<void>;
}

/** A head that has not arrived in full by then is not waited for, ms: as long as the main port's. */
const headMs = 12_000;
/** The longest head, in bytes. */
const longestHead = 64 * 1024;

/**
 * Listens as a forward proxy: CONNECT makes a tunnel, an absolute-form request goes through the pipeline.
 * @throws OperationError (by the promise) if the address cannot be bound, with what to do
 */
export async function listenForward<C extends { id: string }>(
  options: ForwardOptions<C>,
): Promise<ForwardListener> {
  const desk = new ForwardDesk(options);
  const [host = options.host, ...further] =
    options.host === "localhost" ? ["127.0.0.1", "::1"] : [options.host];
  const first = await bind(desk, host, options.port);
  const { port } = first.address() as AddressInfo;
  const servers = [first];
  for (const also of further) {
    // A machine without IPv6: its localhost is 127.0.0.1 alone.
    const server = await bind(desk, also, port).catch(() => null);
    if (server !== null) servers.push(server);
  }
  return {
    port,
    get running() {
      return desk.running;
    },
    idle: () => desk.idle(),
    stopAccepting() {
      for (const server of servers) server.close();
      desk.drain();
    },
    async close() {
      for (const server of servers) server.close();
      desk.close();
      for (const server of servers) server.closeAllConnections();
      await desk.idle();
    },
  };
}

function bind<C extends { id: string }>(
  desk: ForwardDesk<C>,
  host: string,
  port: number,
): Promise<Server> {
  const server = createServer({
    maxHeaderSize: longestHead,
    headersTimeout: headMs,
    // Uploads may take as long as they move: see `read_timeout`.
    requestTimeout: 0,
    keepAliveTimeout: desk.idleMs,
    connectionsCheckingInterval: 1_000,
    // Told apart here, with an answer that says what is missing.
    requireHostHeader: false,
    noDelay: true,
    // A connection that is not read is to hold nothing.
    highWaterMark: 0,
  });
  server.on("request", (incoming, outgoing) => {
    server.keepAliveTimeout = desk.idleMs;
    desk.request(incoming, outgoing);
  });
  server.on("connect", (incoming, socket, head) => desk.connect(incoming, socket, head));
  server.on("clientError", (error: Error & { code?: string }, socket) =>
    desk.malformed(error.code ?? "", socket),
  );
  return new Promise((resolve, reject) => {
    server.once("error", (error: Error & { code?: string }) =>
      reject(cannotListen(error, host, port)),
    );
    server.listen({ host, port }, () => resolve(server));
  });
}

function cannotListen(
  error: Error & { code?: string },
  host: string,
  port: number,
): OperationError {
  if (error.code === "EADDRINUSE") {
    return new OperationError(
      `Port ${port} on ${host} is in use. Stop what uses it, or choose another: forward_proxy.port.`,
    );
  }
  if (error.code === "EACCES") {
    return new OperationError(
      `Not allowed to listen on ${host}:${port}. Ports below 1024 need privileges: forward_proxy.port: 3128.`,
    );
  }
  return new OperationError(`Cannot listen on ${host}:${port}: ${error.message}`);
}
