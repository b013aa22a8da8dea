import { connect } from "node:net";
import type { Socket } from "node:net";

/** What a WebSocket server has seen, in order: `message …`, `ping …`, `pong …`, `close 1000 …`. */
export interface WebSocketServer extends Disposable {
  readonly port: number;
  readonly seen: string[];
  readonly requests: Request[];
  /** The connections that are open. */
  readonly open: Set<Bun.ServerWebSocket>;
}

/** A server that sends every message back. `refuse` may answer in place of an upgrade. */
export function startWebSocketServer(
  refuse: (request: Request) => Response | null = () => null,
): WebSocketServer {
  const seen: string[] = [];
  const requests: Request[] = [];
  const open = new Set<Bun.ServerWebSocket>();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request, self) {
      requests.push(request);
      const refusal = refuse(request);
      if (refusal !== null) return refusal;
      const [protocol] = (request.headers.get("sec-websocket-protocol") ?? "").split(", ");
      const headers = new Headers({ "X-Upstream": "yes", "Set-Cookie": "a=b" });
      if (protocol !== undefined && protocol !== "")
        headers.set("Sec-WebSocket-Protocol", protocol);
      return self.upgrade(request, { headers }) ? undefined : new Response("no WebSocket");
    },
    websocket: {
      sendPings: false,
      idleTimeout: 0,
      open: (socket) => void open.add(socket),
      message(socket, message) {
        seen.push(`message ${message.length}`);
        socket.send(message);
      },
      ping: (_, data) => void seen.push(`ping ${data.toString()}`),
      pong: (_, data) => void seen.push(`pong ${data.toString()}`),
      close(socket, code, reason) {
        open.delete(socket);
        seen.push(`close ${code} ${reason}`.trim());
      },
    },
  });
  return {
    port: server.port ?? 0,
    seen,
    requests,
    open,
    [Symbol.dispose]: () => void server.stop(true),
  };
}

/** A client that does what it is told, byte by byte. */
export interface RawClient {
  readonly socket: Socket;
  /** The answer's head, or all that came where there was none. */
  readonly head: Promise<string>;
  /** Frames received behind the head: opcode and payload. */
  readonly frames: { opcode: number; payload: Buffer }[];
  readonly closed: Promise<void>;
  send(opcode: number, payload?: Uint8Array | string): void;
}

/** Asks `port` for a WebSocket. */
export function rawClient(port: number, path: string, headers: Record<string, string>): RawClient {
  const socket = connect(port, "127.0.0.1");
  const head = Promise.withResolvers<string>();
  const closed = Promise.withResolvers<void>();
  const frames: RawClient["frames"] = [];
  let isOpen = false;
  let rest: Buffer = Buffer.alloc(0);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(
    `GET ${path} HTTP/1.1\r\n${headers["Host"] === undefined ? `Host: 127.0.0.1:${port}\r\n` : ""}` +
      "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n" +
      `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${lines.join("")}\r\n`,
  );
  socket.on("error", () => {});
  socket.on("close", () => {
    head.resolve(rest.toString("latin1"));
    closed.resolve();
  });
  socket.on("data", (piece: Buffer) => {
    rest = Buffer.concat([rest, piece]);
    if (!isOpen) {
      const end = rest.indexOf("\r\n\r\n");
      if (end === -1) return;
      isOpen = true;
      head.resolve(rest.toString("latin1", 0, end));
      rest = rest.subarray(end + 4);
    }
    for (;;) {
      if (rest.length < 2) return;
      const short = rest[1]! & 0x7f;
      const start = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (rest.length < start) return;
      const length =
        short < 126
          ? short
          : short === 126
            ? rest.readUInt16BE(2)
            : Number(rest.readBigUInt64BE(2));
      if (rest.length < start + length) return;
      frames.push({ opcode: rest[0]! & 0x0f, payload: rest.subarray(start, start + length) });
      rest = rest.subarray(start + length);
    }
  });
  return {
    socket,
    head: head.promise,
    frames,
    closed: closed.promise,
    send(opcode, payload = "") {
      const bytes = Buffer.from(payload as Uint8Array);
      const size =
        bytes.length < 126
          ? [0x80 | bytes.length]
          : [0x80 | 126, bytes.length >> 8, bytes.length & 255];
      // A mask of zeros changes nothing.
      socket.write(Buffer.from([0x80 | opcode, ...size, 0, 0, 0, 0]));
      socket.write(bytes);
    },
  };
}
