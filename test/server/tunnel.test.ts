import { describe, expect, test } from "bun:test";
import { ProxyError } from "../../src/errors.ts";
import { createBlocklist } from "../../src/routing/blocklist.ts";
import { rawServer } from "../upstream/raw-server.ts";
import {
  connectRequest,
  deafPort,
  forwardProxy,
  lease,
  openEnded,
  tunnel,
  wire,
} from "./tunnel-proxy.ts";
import type { Wire } from "./tunnel-proxy.ts";

const codeIn = (answer: string): string | undefined => /x-cooldown-error: (\w+)/i.exec(answer)?.[1];
const statusIn = (answer: string): number => Number(answer.slice(9, 12));

describe("a tunnel", () => {
  test("passes bytes both ways, says who it is, and counts as one request", async () => {
    await using up = await rawServer(({ socket, received }) => {
      if (received === "ping") socket.write("pong");
    });
    await using proxy = await forwardProxy();
    const client = wire(proxy.port, connectRequest(`up.test:${up.port}`));
    const head = await client.until(/\r\n\r\n/);
    expect(head).toStartWith("HTTP/1.1 200 Connection Established\r\n");
    expect(head).toContain("x-proxy: cooldown/test\r\n");
    expect(head).toMatch(/x-cooldown-request-id: [0-9a-f-]{36}\r\n/);
    expect(head).toContain("x-cooldown-wait: 0.000\r\n");
    expect(head).not.toMatch(/content-length|transfer-encoding/i);
    client.socket.write("ping");
    await client.until(/pong$/);
    client.socket.end();
    up.connections[0]!.socket.end();
    const report = await proxy.reported();
    expect(report).toMatchObject({
      method: "CONNECT",
      client: "ip:127.0.0.1",
      target: `up.test:${up.port}`,
      status: 200,
      outcome: "closed",
      bytesUp: 4,
      bytesDown: 4,
    });
    expect(head).toContain(report.id);
    expect(proxy.leases).toEqual(["connected", "commit"]);
  });

  test("passes on what came with the request", async () => {
    await using up = await rawServer();
    await using proxy = await forwardProxy();
    wire(proxy.port, `${connectRequest(`up.test:${up.port}`)}\x16\x03early`);
    await up.received(({ received }) => received === "\x16\x03early");
  });

  test("lets the upstream go on when the client has finished", async () => {
    const big = Buffer.alloc(3_000_000, "x");
    let got = "";
    await using up = await openEnded((socket) => {
      socket.on("data", (piece) => (got += piece.toString()));
      // Answers only when it has been told that there is no more.
      socket.once("end", () => socket.end(big));
    });
    await using proxy = await forwardProxy();
    const client = await tunnel(proxy.port, `up.test:${up.port}`);
    client.socket.write("a");
    client.socket.end("b");
    expect((await client.ended).length).toBe(big.length);
    expect(got).toBe("ab");
    expect((await proxy.reported()).outcome).toBe("closed");
  });

  test("lets the client go on when the upstream has finished", async () => {
    let got = 0;
    const all = Promise.withResolvers<void>();
    await using up = await openEnded((socket) => {
      socket.end("c");
      socket.on("data", (piece) => (got += piece.length));
      socket.once("end", () => all.resolve());
    });
    await using proxy = await forwardProxy();
    const client = await tunnel(proxy.port, `up.test:${up.port}`);
    await client.ended;
    client.socket.end(Buffer.alloc(3_000_000, "d"));
    await all.promise;
    expect(got).toBe(3_000_000);
    expect((await proxy.reported()).outcome).toBe("closed");
  });

  test("gives a slow client all of an answer whose sender has hung up", async () => {
    const big = Buffer.alloc(300_000, "x");
    const upIsGone = Promise.withResolvers<void>();
    await using up = await openEnded((socket) => {
      socket.once("close", () => upIsGone.resolve());
      socket.write(big, () => socket.destroySoon());
    });
    await using proxy = await forwardProxy();
    const client = await tunnel(proxy.port, `up.test:${up.port}`);
    client.socket.pause();
    await upIsGone.promise;
    client.socket.resume();
    expect((await client.ended).length).toBe(big.length);
  });

  test("ends on both sides when one breaks off", async () => {
    await using up = await rawServer();
    await using proxy = await forwardProxy();
    const client = await tunnel(proxy.port, `up.test:${up.port}`);
    client.socket.write("a");
    const { socket } = await up.received(({ received }) => received === "a");
    socket.write("half");
    await client.until(/half/);
    socket.resetAndDestroy();
    // Not an end: that would make a half look whole.
    expect(await client.broke).toBe("ECONNRESET");
    expect((await proxy.reported()).outcome).toBe("broken");
    expect(proxy.leases).toEqual(["connected", "commit"]);
  });

  test("breaks off for the upstream where the client does, and for both where the program ends", async () => {
    await using up = await rawServer();
    await using proxy = await forwardProxy();
    for (const end of [
      (client: Wire) => void client.socket.resetAndDestroy(),
      () => void proxy.listener.close(),
    ]) {
      const client = await tunnel(proxy.port, `up.test:${up.port}`);
      client.socket.write("half");
      const { socket } = await up.received((one) => one.received === "half" && !one.socket.closed);
      const error = new Promise<NodeJS.ErrnoException>((resolve) => socket.once("error", resolve));
      end(client);
      expect((await error).code).toBe("ECONNRESET");
      if (!client.socket.destroyed) expect(await client.broke).toBe("ECONNRESET");
    }
  });

  test("is closed when neither side has sent anything for idle_timeout, and not before", async () => {
    await using up = await rawServer(({ socket, received }) => {
      if (received.length === 1) socket.write("x");
    });
    await using proxy = await forwardProxy({ idleMs: 300 });
    const client = await tunnel(proxy.port, `up.test:${up.port}`);
    // Traffic in one direction alone keeps it: for longer than the timeout in all.
    const start = performance.now();
    const beat = setInterval(() => client.socket.write("b"), 100);
    await up.received(({ received }) => received.length >= 8);
    clearInterval(beat);
    expect(performance.now() - start).toBeGreaterThan(300);
    const silentAt = performance.now();
    await client.ended;
    expect(performance.now() - silentAt).toBeGreaterThan(150);
    expect((await proxy.reported()).outcome).toBe("idle");
    expect(proxy.listener.running).toBe(0);
  });

  test("leads to the address that was checked, when it may go and not before", async () => {
    await using up = await rawServer();
    const asked: string[] = [];
    const answers = [["203.0.113.1"], ["127.0.0.1"]];
    const gate = Promise.withResolvers<void>();
    await using proxy = await forwardProxy(
      {},
      {
        checkAddress({ name }) {
          asked.push(name);
          return answers.shift()!;
        },
        async admitTunnel() {
          await gate.promise;
          return lease();
        },
      },
    );
    const opened = tunnel(proxy.port, `changing.test:${up.port}`);
    await Promise.resolve();
    gate.resolve();
    await opened;
    expect(asked).toEqual(["changing.test", "changing.test"]);
    expect(up.connections).toHaveLength(1);
  });

  test("tries the next address where one refuses", async () => {
    await using up = await rawServer();
    await using proxy = await forwardProxy({}, { checkAddress: () => ["127.0.0.2", "127.0.0.1"] });
    await tunnel(proxy.port, `up.test:${up.port}`);
  });
});

describe("a tunnel that does not come about", () => {
  test("502 where the upstream refuses; nothing is charged", async () => {
    await using up = await rawServer();
    const { port } = up;
    await up[Symbol.asyncDispose]();
    await using proxy = await forwardProxy();
    const answer = await wire(proxy.port, connectRequest(`up.test:${port}`)).ended;
    expect([statusIn(answer), codeIn(answer)]).toEqual([502, "UPSTREAM_UNREACHABLE"]);
    expect(JSON.parse(answer.split("\r\n\r\n")[1]!).error).toMatchObject({
      code: "UPSTREAM_UNREACHABLE",
      type: "api_error",
    });
    await proxy.reported();
    expect(proxy.leases).toEqual(["cancel"]);
  });

  test.skipIf(Bun.which("python3") === null)(
    "504 where it does not answer within the connect timeout",
    async () => {
      using deaf = await deafPort();
      await using proxy = await forwardProxy({ connectMs: 100 });
      const answer = await wire(proxy.port, connectRequest(`up.test:${deaf.port}`)).ended;
      expect([statusIn(answer), codeIn(answer)]).toEqual([504, "UPSTREAM_TIMEOUT"]);
      await proxy.reported();
      expect(proxy.leases).toEqual(["cancel"]);
    },
  );

  const blocklist = createBlocklist(["bad.test", "*.worse.test"], []);
  test.each([
    ["bad.test:443", 403, "DOMAIN_BLOCKED"],
    ["BAD.test.:443", 403, "DOMAIN_BLOCKED"],
    ["a.worse.test:443", 403, "DOMAIN_BLOCKED"],
    ["good.test:22", 403, "PORT_NOT_ALLOWED"],
    ["good.test", 400, "INVALID_REQUEST"],
    ["user@good.test:443", 400, "INVALID_REQUEST"],
    ["http://good.test:443", 400, "INVALID_REQUEST"],
    ["good.test:443/path", 400, "INVALID_REQUEST"],
    ["good.test:0", 400, "INVALID_REQUEST"],
    ["good.test:65536", 400, "INVALID_REQUEST"],
    ["[::1%25lo]:443", 400, "INVALID_REQUEST"],
    ["/", 400, "INVALID_REQUEST"],
  ])("CONNECT %p: %p %p", async (target, status, code) => {
    await using proxy = await forwardProxy({ blocklist, connectPorts: [443] });
    const answer = await wire(proxy.port, `CONNECT ${target} HTTP/1.1\r\nHost: x.test\r\n\r\n`)
      .ended;
    expect([statusIn(answer), codeIn(answer)]).toEqual([status, code]);
    expect(await proxy.reported()).toMatchObject({ status, outcome: code.toLowerCase() });
    expect(proxy.leases).toEqual([]);
  });

  test("403 for a blocked client, whatever it asks for", async () => {
    await using proxy = await forwardProxy({ blocklist: createBlocklist([], ["127.0.0.0/8"]) });
    for (const request of [
      connectRequest("up.test:443"),
      "GET http://up.test/ HTTP/1.1\r\nHost: up.test\r\nConnection: close\r\n\r\n",
    ]) {
      const answer = await wire(proxy.port, request).ended;
      expect([statusIn(answer), codeIn(answer)]).toEqual([403, "IP_BLOCKED"]);
    }
    expect(proxy.handled).toHaveLength(0);
  });

  test("a guarded address is not connected to, asked for or found later", async () => {
    await using up = await rawServer();
    const guarded = new ProxyError("ADDRESS_NOT_ALLOWED", "no");
    const checks: (() => readonly string[])[] = [
      () => {
        throw guarded;
      },
      () => ["127.0.0.1"],
      () => {
        throw guarded;
      },
    ];
    await using proxy = await forwardProxy({}, { checkAddress: () => checks.shift()!() });
    for (const expected of [[], ["cancel"]]) {
      const answer = await wire(proxy.port, connectRequest(`up.test:${up.port}`)).ended;
      expect([statusIn(answer), codeIn(answer)]).toEqual([403, "ADDRESS_NOT_ALLOWED"]);
      await proxy.reported(() => proxy.reports.length > expected.length);
      expect(proxy.leases).toEqual(expected);
    }
    expect(up.connections).toHaveLength(0);
  });

  test("a refusal of admission says when to come back", async () => {
    await using proxy = await forwardProxy(
      {},
      {
        admitTunnel: async () => ({
          refused: "QUEUE_TIMEOUT",
          message: "full",
          retryAfterMs: 90_500,
        }),
      },
    );
    const answer = await wire(proxy.port, connectRequest("up.test:443")).ended;
    expect([statusIn(answer), codeIn(answer)]).toEqual([429, "QUEUE_TIMEOUT"]);
    expect(answer).toContain("retry-after: 91\r\n");
    expect(answer).toContain("x-should-retry: false\r\n");
  });

  test.each(["end", "destroy"] as const)(
    "a client that goes away (%s) leaves the queue",
    async (how) => {
      const waiting = Promise.withResolvers<AbortSignal>();
      await using proxy = await forwardProxy(
        {},
        {
          admitTunnel: (_target, _client, _caller, signal) =>
            new Promise((_, reject) => {
              signal.addEventListener("abort", () => reject(signal.reason), { once: true });
              waiting.resolve(signal);
            }),
        },
      );
      const client = wire(proxy.port, connectRequest("up.test:443"));
      const signal = await waiting.promise;
      expect(proxy.listener.running).toBe(1);
      client.socket[how]();
      expect(await proxy.reported()).toMatchObject({ status: 499, outcome: "aborted" });
      expect(signal.aborted).toBe(true);
      await proxy.listener.idle();
    },
  );
});

test("stops accepting, while tunnels that are open go on; closing ends them", async () => {
  await using up = await rawServer(({ socket, received }) => {
    if (received === "ping") socket.write("pong");
  });
  await using proxy = await forwardProxy();
  const client = await tunnel(proxy.port, `up.test:${up.port}`);
  proxy.listener.stopAccepting();
  client.socket.write("ping");
  await client.until(/^pong$/);
  const late = wire(proxy.port, connectRequest(`up.test:${up.port}`));
  expect(await late.ended).toBe("");
  expect(proxy.listener.running).toBe(1);
  await proxy.listener.close();
  await client.ended;
  expect(await proxy.reported()).toMatchObject({ outcome: "broken" });
  expect(proxy.leases).toEqual(["connected", "commit"]);
});

describe("keys", () => {
  const authorise = ({ fields }: { fields: Readonly<Partial<Record<string, string>>> }) => {
    if (fields["x-cooldown-key"] !== "sesame") throw new ProxyError("UNAUTHORIZED", "no key");
    return { id: "key:ci" };
  };
  const basic = (text: string) => `Basic ${Buffer.from(text).toString("base64")}`;
  test.each([
    [basic("sesame"), 200],
    [basic("sesame:"), 200],
    [basic("any:sesame"), 200],
    ["Bearer sesame", 200],
    [basic("sesame:wrong"), 407],
    [basic("any:ses\name"), 407],
    ["Digest sesame", 407],
    [null, 407],
  ])("Proxy-Authorization: %p: %p", async (value, status) => {
    await using up = await rawServer();
    await using proxy = await forwardProxy({}, { authorise });
    const header = value === null ? "" : `Proxy-Authorization: ${value}\r\n`;
    const client = wire(proxy.port, connectRequest(`up.test:${up.port}`, header));
    const answer = await client.until(/\r\n\r\n/);
    expect(statusIn(answer)).toBe(status);
    if (status === 200) return;
    expect(answer).toContain("proxy-authenticate: Basic");
    expect(codeIn(answer)).toBe("UNAUTHORIZED");
  });

  test("the pipeline gets the key, the upstream not the header", async () => {
    await using up = await rawServer(({ socket }) => {
      socket.end("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    });
    await using proxy = await forwardProxy();
    const answer = await wire(
      proxy.port,
      `GET http://127.0.0.1:${up.port}/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer sesame\r\nProxy-Connection: close\r\nConnection: close\r\n\r\n`,
    ).ended;
    expect(statusIn(answer)).toBe(204);
    const { headers } = proxy.handled[0]!;
    expect(headers.get("x-cooldown-key")).toBe("sesame");
    expect([headers.get("proxy-authorization"), headers.get("proxy-connection")]).toEqual([
      null,
      null,
    ]);
  });

  test("a client that has shown no key is challenged, one with a wrong key is not", async () => {
    const handle = async () =>
      new Response("{}", { status: 401, headers: { "x-cooldown-error": "UNAUTHORIZED" } });
    await using proxy = await forwardProxy({}, { handle });
    const ask = (header: string) =>
      wire(
        proxy.port,
        `GET http://up.test/ HTTP/1.1\r\nHost: x\r\n${header}Connection: close\r\n\r\n`,
      ).ended;
    const keyless = await ask("");
    expect(statusIn(keyless)).toBe(407);
    expect(keyless).toMatch(/proxy-authenticate: basic/i);
    expect(statusIn(await ask("Authorization: Bearer wrong\r\n"))).toBe(401);
  });
});
