import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/** One connection that a raw server has. */
export interface RawConnection {
  /** Everything received so far, as Latin-1. */
  received: string;
  socket: Socket;
  closed: Promise<void>;
}

/** A TCP server that shows bytes as they are, and answers whatever a test has it answer. */
export interface RawServer extends AsyncDisposable {
  port: number;
  url: string;
  connections: RawConnection[];
  /** Resolves with a connection when `when` is true of what it has received. */
  received(when: (connection: RawConnection) => boolean): Promise<RawConnection>;
}

/** @param onData called with every piece a connection receives. */
export async function rawServer(
  onData: (connection: RawConnection) => void = () => {},
): Promise<RawServer> {
  const connections: RawConnection[] = [];
  let wake = Promise.withResolvers<void>();
  const server = createServer((socket) => {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const connection: RawConnection = { received: "", socket, closed };
    connections.push(connection);
    socket.on("error", () => {});
    socket.on("close", () => resolve());
    socket.on("data", (data) => {
      connection.received += data.toString("latin1");
      onData(connection);
      wake.resolve();
      wake = Promise.withResolvers();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    connections,
    async received(when) {
      for (;;) {
        const found = connections.find(when);
        if (found !== undefined) return found;
        await wake.promise;
      }
    },
    async [Symbol.asyncDispose]() {
      for (const { socket } of connections) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A server that gives every request head the same answer. */
export function answering(
  answer: string,
  then: (socket: Socket) => void = () => {},
): Promise<RawServer> {
  return rawServer(({ received, socket }) => {
    if (!received.endsWith("\r\n\r\n")) return;
    socket.write(Buffer.from(answer, "latin1"));
    then(socket);
  });
}
