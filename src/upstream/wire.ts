import type { Duplex } from "node:stream";
import { Connection } from "./connection.ts";
import type { ConnectionKeeper, Wire } from "./connection.ts";
import type { Deadlines, Wait } from "./deadlines.ts";
import { codeOf } from "./failure.ts";

/** Where a connection goes, and how it is made safe. */
export interface Endpoint {
  /** A name or an address, without brackets. */
  readonly hostname: string;
  readonly port: number;
  readonly tls: EndpointTls | null;
}

export interface EndpointTls {
  /** What the certificate must be for; null: the address connected to. */
  readonly serverName: string | null;
  /** PEM of the authorities trusted; null: the built-in ones. */
  readonly ca: readonly string[] | null;
}

/** `http/1.1` as TLS names it in its negotiation of protocols (RFC 7301 §3.1). */
const protocols = "\x08http/1.1";
/** A connection on which nothing passes is probed after this, so that no machine between forgets it, ms. */
const probeMs = 60_000;

/** A connection that is being made, or is there. */
interface Line {
  readonly isTls: boolean;
  readonly keeper: ConnectionKeeper;
  readonly opened: PromiseWithResolvers<Connection>;
  readonly handshakes: Deadlines | null;
  /** The wait for TLS to be agreed upon. */
  handshake: Wait | null;
  connection: Connection | null;
}

/**
 * Connects to a server. A certificate that is not for it, or not from an authority that is trusted, is no connection.
 * @param handshakes waits for TLS to be agreed upon, in time or not at all: nobody may wait for the connection any more
 * @throws what went wrong, with a `code` as those of Node.js
 */
export function connectSocket(
  endpoint: Endpoint,
  keeper: ConnectionKeeper,
  handshakes: Deadlines | null = null,
): Promise<Connection> {
  const { hostname, port, tls } = endpoint;
  const opened = Promise.withResolvers<Connection>();
  const line: Line = {
    isTls: tls !== null,
    keeper,
    opened,
    handshakes,
    handshake: null,
    connection: null,
  };
  const options = { hostname, port, data: line, socket: handlers };
  const connecting =
    tls === null
      ? Bun.connect<Line>(options)
      : Bun.connect<Line>({
          ...options,
          tls: {
            rejectUnauthorized: true,
            ALPNProtocols: protocols,
            ...(tls.serverName === null ? {} : { serverName: tls.serverName }),
            ...(tls.ca === null ? {} : { ca: [...tls.ca] }),
          },
        });
  connecting.catch(opened.reject);
  return opened.promise;
}

/** One object for all: the runtime looks at it for each connection. */
const handlers: Bun.SocketHandler<Line> = {
  binaryType: "buffer",
  open(socket) {
    socket.setKeepAlive(true, probeMs);
    const { data: line } = socket;
    if (line.isTls)
      line.handshake = line.handshakes?.begin({ late: () => socket.terminate() }) ?? null;
    else become(socket);
  },
  handshake(socket, isTrusted, error) {
    if (isTrusted && error === null) return become(socket);
    socket.data.opened.reject(error ?? codedError("ERR_TLS_HANDSHAKE"));
    socket.terminate();
  },
  data: ({ data }, bytes) => data.connection?.received(bytes as Buffer<ArrayBuffer>),
  drain: ({ data }) => data.connection?.drained(),
  close({ data }, error) {
    data.handshake?.end();
    const code = error === undefined ? null : brokenBy(error);
    if (data.connection === null) data.opened.reject(codedError(code ?? "ECONNRESET"));
    else data.connection.closed(code);
  },
  error({ data }, error) {
    // What the socket says comes a second time, with `close`. Anything else was thrown by what it was told to.
    if (!("code" in error)) data.connection?.fail(error);
  },
  // Comes a second time, by the promise of the connection.
  connectError() {},
};

function become(socket: Bun.Socket<Line>): void {
  const { data: line } = socket;
  if (line.connection !== null) return;
  line.handshake?.end();
  line.connection = new Connection(socket, line.keeper);
  line.opened.resolve(line.connection);
}

/** A connection on a stream, such as a tunnel through a proxy. */
export function connectionOn(stream: Duplex, keeper: ConnectionKeeper): Connection {
  let isFull = false;
  let code: string | null = null;
  const wire: Wire = {
    write(bytes) {
      if (isFull) return 0;
      isFull = !stream.write(bytes);
      return bytes.length;
    },
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    terminate: () => void stream.destroy(),
  };
  const connection = new Connection(wire, keeper);
  stream.on("data", (bytes: Buffer<ArrayBuffer>) => connection.received(bytes));
  stream.on("drain", () => {
    isFull = false;
    connection.drained();
  });
  stream.on("error", (error) => (code = brokenBy(error)));
  stream.once("end", () => {
    connection.closed(null);
    // It has another side, which would stay open.
    stream.destroy();
  });
  stream.once("close", () => connection.closed(code));
  return connection;
}

function brokenBy(error: Error): string {
  return codeOf(error) || "ECONNRESET";
}

function codedError(code: string): Error {
  return Object.assign(new Error(code), { code });
}
