import { describe, expect, test } from "bun:test";
import { duplexPair } from "node:stream";
import { HeaderFields } from "../../src/header-fields.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import type { Connection } from "../../src/upstream/connection.ts";
import { createDeadlines } from "../../src/upstream/deadlines.ts";
import type { Answer, UpstreamRequest } from "../../src/upstream/upstream.ts";
import { connectionOn, connectSocket } from "../../src/upstream/wire.ts";
import { reasonOf } from "./reason.ts";
import { sendingOf } from "./sending.ts";
import { textOf } from "./answers.ts";
import { manualClock } from "./manual-clock.ts";
import { rawServer } from "./raw-server.ts";
import * as selfSigned from "./self-signed.ts";
import { plainAnswer } from "./wire-answers.ts";

/** Who keeps a connection, and what it is told. */
function keeper() {
  const told: string[] = [];
  const gone = Promise.withResolvers<void>();
  return {
    told,
    isGone: gone.promise,
    free: () => void told.push("free"),
    gone: () => {
      told.push("gone");
      gone.resolve();
    },
  };
}

function send(connection: Connection, more: Partial<UpstreamRequest> = {}): Promise<Answer> {
  return connection.send(
    {
      url: "http://a/",
      method: "POST",
      headers: new HeaderFields(),
      body: null,
      controller: new Cancellation(),
      ...more,
    },
    sendingOf(createDeadlines(manualClock(), 20)),
  );
}

const large = new Uint8Array(3_000_000).fill(97);
const isWhole = (received: string): boolean =>
  received.length - received.indexOf("\r\n\r\n") - 4 === large.length;

describe("a socket", () => {
  test("carries what is larger than it takes at once, and tells its end once", async () => {
    await using server = await rawServer(({ received, socket }) => {
      if (isWhole(received)) socket.write(plainAnswer("ok"));
    });
    const kept = keeper();
    const endpoint = { hostname: "127.0.0.1", port: server.port, tls: null };
    const connection = await connectSocket(endpoint, kept);
    expect(await textOf(await send(connection, { body: large }))).toBe("ok");
    expect(kept.told).toEqual(["free"]);
    server.connections[0]!.socket.end();
    await kept.isGone;
    expect([kept.told, connection.isOpen]).toEqual([["free", "gone"], false]);
  });

  test("that cannot be connected says why", async () => {
    const server = await rawServer();
    await server[Symbol.asyncDispose]();
    const endpoint = { hostname: "127.0.0.1", port: server.port, tls: null };
    expect(await reasonOf(connectSocket(endpoint, keeper()))).toMatchObject({
      code: "ECONNREFUSED",
    });
  });

  test("that is hung up on in the middle of TLS is no connection", async () => {
    await using server = await rawServer(({ socket }) => socket.destroy());
    const tls = { serverName: "localhost", ca: null };
    const endpoint = { hostname: "127.0.0.1", port: server.port, tls };
    expect(await reasonOf(connectSocket(endpoint, keeper()))).toHaveProperty("code");
  });

  test.each<[string, string | null, readonly string[] | null, boolean]>([
    ["the name of its certificate", "localhost", [selfSigned.cert], true],
    ["another name", "other.test", [selfSigned.cert], false],
    ["an address", null, [selfSigned.cert], false],
    ["no authority for it", "localhost", null, false],
  ])("is safe or not there: asked for %s", async (_, serverName, ca, isThere) => {
    using server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { cert: selfSigned.cert, key: selfSigned.key },
      fetch: () => new Response("ok"),
    });
    const { port } = server;
    if (port === undefined) throw new Error("no port");
    const kept = keeper();
    const connecting = connectSocket(
      { hostname: "127.0.0.1", port, tls: { serverName, ca } },
      kept,
    );
    if (!isThere) {
      expect(await reasonOf(connecting)).toHaveProperty("code");
      expect(kept.told).toEqual([]);
      return;
    }
    const connection = await connecting;
    expect(await textOf(await send(connection))).toBe("ok");
    connection.close();
    expect(kept.told).toEqual(["free", "gone"]);
  });
});

describe("a stream", () => {
  test("carries what is larger than it takes at once", async () => {
    const [near, far] = duplexPair();
    const kept = keeper();
    const connection = connectionOn(near, kept);
    const answer = send(connection, { body: large });
    let received = "";
    for await (const piece of far) {
      received += (piece as Buffer).toString("latin1");
      if (isWhole(received)) break;
    }
    expect(received.endsWith("a".repeat(1_000))).toBe(true);
    connection.close();
    expect(await Promise.race([reasonOf(answer), kept.isGone])).toBe(undefined);
    expect([kept.told, near.destroyed]).toEqual([["gone"], true]);
  });

  test.each<
    [
      string,
      (far: ReturnType<typeof duplexPair>[1], near: ReturnType<typeof duplexPair>[0]) => unknown,
      string,
    ]
  >([
    ["ends", (far) => far.end(), "ECONNRESET"],
    ["fails", (_, near) => near.destroy(Object.assign(new Error(), { code: "EPIPE" })), "EPIPE"],
    ["is destroyed", (_, near) => near.destroy(), "ECONNRESET"],
  ])("that %s ends its call, and is told once", async (_, end, code) => {
    const [near, far] = duplexPair();
    const kept = keeper();
    const answer = send(connectionOn(near, kept));
    far.resume();
    end(far, near);
    expect(await reasonOf(answer)).toMatchObject({ code });
    await kept.isGone;
    expect(kept.told).toEqual(["gone"]);
  });
});
