import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";
import { ProxyError } from "../../src/errors.ts";
import { rawServer } from "../upstream/raw-server.ts";
import * as selfSigned from "../upstream/self-signed.ts";
import { connectRequest, forwardProxy, tunnel, wire } from "./tunnel-proxy.ts";

const codeIn = (answer: string): string | undefined => /x-cooldown-error: (\w+)/i.exec(answer)?.[1];
const statusIn = (answer: string): number => Number(answer.slice(9, 12));

describe("through an outgoing proxy", () => {
  const outgoing = (url: string, ca: string[] | null = null) => ({
    proxyFor: () => ({ url: new URL(url), ca }),
  });
  const locked = () =>
    forwardProxy(
      {},
      {
        authorise({ fields }) {
          if (fields["x-cooldown-key"] !== "p@ss word") throw new ProxyError("UNAUTHORIZED", "no");
          return { id: "key:out" };
        },
      },
    );

  test.each(["http", "https"])("%s, with credentials", async (scheme) => {
    await using up = await rawServer(({ socket, received }) => {
      if (received === "ping") socket.write("pong");
    });
    await using beyond = await forwardProxy();
    const { cert, key } = selfSigned;
    // TLS in front of a proxy makes it an https one.
    const front = createServer({ cert, key }, (socket) => {
      const inner = connect({ port: beyond.port, host: "127.0.0.1" });
      socket.pipe(inner).pipe(socket);
      socket.on("error", () => inner.destroy());
      inner.on("error", () => socket.destroy());
    });
    await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
    const port = scheme === "http" ? beyond.port : (front.address() as AddressInfo).port;
    await using proxy = await forwardProxy(
      outgoing(`${scheme}://user:p%40ss@localhost:${port}`, [cert]),
      {
        checkAddress() {
          throw new ProxyError("UPSTREAM_UNREACHABLE", "does not resolve here");
        },
      },
    );
    const client = await tunnel(proxy.port, `inside.test:${up.port}`);
    client.socket.write("ping");
    await client.until(/^pong$/);
    expect(beyond.callers[0]!.fields["x-cooldown-key"]).toBe("p@ss");
    expect(beyond.callers[0]!.fields["host"]).toBe(`inside.test:${up.port}`);
    client.socket.end();
    up.connections[0]!.socket.end();
    await proxy.reported();
    front.close();
  });

  test("that refuses: 502, and nothing is charged", async () => {
    await using beyond = await locked();
    await using proxy = await forwardProxy(outgoing(beyond.url));
    const answer = await wire(proxy.port, connectRequest("inside.test:443")).ended;
    expect([statusIn(answer), codeIn(answer)]).toEqual([502, "UPSTREAM_UNREACHABLE"]);
    expect(answer).toContain("answered 407");
    expect(proxy.leases).toEqual(["cancel"]);
  });

  test("that says nothing: 504", async () => {
    await using up = await rawServer();
    await using proxy = await forwardProxy({ ...outgoing(up.url), connectMs: 100 });
    const answer = await wire(proxy.port, connectRequest("inside.test:443")).ended;
    expect([statusIn(answer), codeIn(answer)]).toEqual([504, "UPSTREAM_TIMEOUT"]);
  });

  test("that would lead to a guarded address: 403", async () => {
    await using beyond = await forwardProxy();
    await using proxy = await forwardProxy(outgoing(beyond.url), {
      checkAddress() {
        throw new ProxyError("ADDRESS_NOT_ALLOWED", "guarded");
      },
    });
    const answer = await wire(proxy.port, connectRequest("127.1:443")).ended;
    expect([statusIn(answer), codeIn(answer)]).toEqual([403, "ADDRESS_NOT_ALLOWED"]);
    expect(beyond.callers).toEqual([]);
  });
});
