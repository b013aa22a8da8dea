import type { AddressInfo, Server, Socket } from "node:net";
import { connect, createServer } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { cert, key } from "../upstream/self-signed.ts";

/** An HTTP proxy that stands between Cooldown and the network. */
export interface OutgoingProxyServer extends AsyncDisposable {
  readonly port: number;
  /** Heads of the requests that it got. */
  readonly heads: string[];
}

export interface OutgoingOptions {
  tls?: boolean;
  /** `user:password` that it wants. */
  credentials?: string;
  /** It refuses everything with this. */
  refuses?: number;
}

/** A proxy that makes every connection to 127.0.0.1, whatever the name, so that names need not exist. */
export async function startOutgoing(options: OutgoingOptions = {}): Promise<OutgoingProxyServer> {
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const serve = (client: Socket): void => {
    sockets.add(client);
    client.on("error", () => client.destroy());
    let received = Buffer.alloc(0);
    const read = (piece: Buffer): void => {
      received = Buffer.concat([received, piece]);
      const end = received.indexOf("\r\n\r\n");
      if (end === -1) return;
      client.off("data", read);
      const head = received.toString("latin1", 0, end);
      heads.push(head);
      answer(client, head, received.subarray(end + 4));
    };
    client.on("data", read);
  };
  const answer = (client: Socket, head: string, rest: Buffer): void => {
    const wanted = Buffer.from(options.credentials ?? "").toString("base64");
    if (options.refuses !== undefined)
      return void client.end(`HTTP/1.1 ${options.refuses} No\r\nContent-Length: 0\r\n\r\n`);
    if (options.credentials !== undefined && !head.includes(`Basic ${wanted}`)) {
      return void client.end(
        "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
      );
    }
    const [method = "", target = ""] = head.split(" ");
    const url = new URL(method === "CONNECT" ? `http://${target}` : target);
    const upstream = connect(Number(url.port || 80), "127.0.0.1");
    sockets.add(upstream);
    upstream.on("error", () => client.destroy());
    upstream.on("close", () => client.destroy());
    client.on("close", () => upstream.destroy());
    if (method === "CONNECT") client.write("HTTP/1.1 200 OK\r\n\r\n");
    else upstream.write(`${head.replace(target, url.pathname + url.search)}\r\n\r\n`);
    upstream.write(rest);
    client.pipe(upstream);
    upstream.pipe(client);
  };
  const server: Server =
    options.tls === true ? createTlsServer({ cert, key }, serve) : createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    heads,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
