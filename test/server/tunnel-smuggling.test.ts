import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { RawServer } from "../upstream/raw-server.ts";
import { rawServer } from "../upstream/raw-server.ts";
import type { ForwardProxy } from "./tunnel-proxy.ts";
import { forwardProxy, wire } from "./tunnel-proxy.ts";

let up: RawServer;
let proxy: ForwardProxy;
beforeAll(async () => {
  up = await rawServer(({ socket, received }) => {
    if (/\r\n\r\n(?:.*\r\n\r\n)?$/s.test(received))
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  });
  proxy = await forwardProxy({ readMs: 300 });
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await up[Symbol.asyncDispose]();
});

/** A request inside of another's body: must never be one of its own. */
const inner = (): string => `GET http://127.0.0.1:${up.port}/second HTTP/1.1\r\nHost: x\r\n\r\n`;
const post = (headers: string, body: string, version = "HTTP/1.1"): string =>
  `POST http://127.0.0.1:${up.port}/first ${version}\r\nHost: x\r\n${headers}\r\n${body}`;
const chunked = "Transfer-Encoding: chunked\r\n";
const length = (n: number): string => `Content-Length: ${n}\r\n`;
const get = (line: string, headers = "Host: x\r\n"): string =>
  `${line.replace("UP", `http://127.0.0.1:${up.port}`)}\r\n${headers}\r\n`;

const attacks: Record<string, () => string> = {
  "CL.TE": () => post(length(6) + chunked, `0\r\n\r\n${inner()}`),
  "TE.CL": () => post(chunked + length(4), `5c\r\n${inner()}\r\n0\r\n\r\n`),
  "CL.TE with a tab": () =>
    post(`${length(6)}Transfer-Encoding:\tchunked\r\n`, `0\r\n\r\n${inner()}`),
  "TE.TE: chunked, identity": () =>
    post(`${chunked}Transfer-Encoding: identity\r\n`, `0\r\n\r\n${inner()}`),
  "TE.TE: identity, chunked": () =>
    post(`Transfer-Encoding: identity\r\n${chunked}`, `0\r\n\r\n${inner()}`),
  "TE.TE: twice": () => post(chunked + chunked, `0\r\n\r\n${inner()}`),
  "TE: xchunked": () => post("Transfer-Encoding: xchunked\r\n", `0\r\n\r\n${inner()}`),
  "TE: gzip, chunked": () => post("Transfer-Encoding: gzip, chunked\r\n", `0\r\n\r\n${inner()}`),
  "TE: chunked, gzip": () => post("Transfer-Encoding: chunked, gzip\r\n", `0\r\n\r\n${inner()}`),
  "TE: identity": () => post("Transfer-Encoding: identity\r\n", inner()),
  "TE: chunked in quotes": () => post('Transfer-Encoding: "chunked"\r\n', `0\r\n\r\n${inner()}`),
  "TE: chunked;x=y": () => post("Transfer-Encoding: chunked;x=y\r\n", `0\r\n\r\n${inner()}`),
  "TE: empty": () => post("Transfer-Encoding:\r\n", `0\r\n\r\n${inner()}`),
  "TE: after a vertical tab": () =>
    post("Transfer-Encoding: \x0bchunked\r\n", `0\r\n\r\n${inner()}`),
  "TE: before a NUL": () => post("Transfer-Encoding: chunked\0\r\n", `0\r\n\r\n${inner()}`),
  "TE: space before the colon": () =>
    post("Transfer-Encoding : chunked\r\n", `0\r\n\r\n${inner()}`),
  "TE: folded": () => post("Transfer-Encoding:\r\n chunked\r\n", `0\r\n\r\n${inner()}`),
  "TE: folded after another": () =>
    post(`X: y\r\n Transfer-Encoding: chunked\r\n${length(0)}`, inner()),
  "TE in HTTP/1.0": () => post(chunked, `0\r\n\r\n${inner()}`, "HTTP/1.0"),
  "TE behind a bare LF": () =>
    post(`X: y\nTransfer-Encoding: chunked\r\n${length(5)}`, `0\r\n\r\n${inner()}`),
  "TE behind a bare CR": () =>
    post(`X: y\rTransfer-Encoding: chunked\r\n${length(5)}`, `0\r\n\r\n${inner()}`),
  "CL twice, different": () => post(length(5) + length(0), inner()),
  "CL twice, the same": () => post(length(5) + length(5), `12345${inner()}`),
  "CL as a list": () => post("Content-Length: 5, 5\r\n", `12345${inner()}`),
  "CL with a plus": () => post("Content-Length: +5\r\n", `12345${inner()}`),
  "CL negative": () => post("Content-Length: -5\r\n", inner()),
  "CL hexadecimal": () => post("Content-Length: 0x5\r\n", `12345${inner()}`),
  "CL with a space inside": () => post("Content-Length: 5 0\r\n", `12345${inner()}`),
  "CL too large for a number": () => post("Content-Length: 99999999999999999999\r\n", inner()),
  "CL empty": () => post("Content-Length:\r\n", inner()),
  "CL in a name with a space": () => post(" Content-Length: 5\r\n", `12345${inner()}`),
  "chunk size with 0x": () => post(chunked, `0x3\r\nabc\r\n0\r\n\r\n${inner()}`),
  "chunk size negative": () => post(chunked, `-3\r\nabc\r\n0\r\n\r\n${inner()}`),
  "chunk size with a plus": () => post(chunked, `+3\r\nabc\r\n0\r\n\r\n${inner()}`),
  "chunk size beyond 64 bits": () =>
    post(chunked, `10000000000000003\r\nabc\r\n0\r\n\r\n${inner()}`),
  "chunk size of no digits": () => post(chunked, `\r\nabc\r\n0\r\n\r\n${inner()}`),
  "chunk size with a space before": () => post(chunked, ` 3\r\nabc\r\n0\r\n\r\n${inner()}`),
  "chunk size with an underscore": () => post(chunked, `0_3\r\nabc\r\n0\r\n\r\n${inner()}`),
  "chunk ended by LF": () => post(chunked, `3\nabc\n0\n\n${inner()}`),
  "chunk data without an end": () => post(chunked, `3\r\nabcXX0\r\n\r\n${inner()}`),
  "chunk data longer than its size": () => post(chunked, `3\r\nabcdef\r\n0\r\n\r\n${inner()}`),
  "chunk extension with a LF": () => post(chunked, `3;\nxx\r\nabc\r\n0\r\n\r\n${inner()}`),
  "chunk extension of 100 KB": () =>
    post(chunked, `3;${"a".repeat(100_000)}\r\nabc\r\n0\r\n\r\n${inner()}`),
  "last chunk ended by LF": () => post(chunked, `3\r\nabc\r\n0\n\n${inner()}`),
  "two Host headers": () => get("GET UP/first HTTP/1.1", "Host: x\r\nHost: y\r\n") + inner(),
  "no Host": () => get("GET UP/first HTTP/1.1", "") + inner(),
  "Host with a user": () => get("GET UP/first HTTP/1.1", "Host: a@b\r\n") + inner(),
  "Host as a list": () => get("GET UP/first HTTP/1.1", "Host: a, b\r\n") + inner(),
  "Host behind a fold": () => get("GET UP/first HTTP/1.1", "Host:\r\n x\r\n") + inner(),
  "a space in a header's name": () =>
    get("GET UP/first HTTP/1.1", "Host: x\r\nX Y: z\r\n") + inner(),
  "a header's name that is none": () =>
    get("GET UP/first HTTP/1.1", "Host: x\r\nX(: z\r\n") + inner(),
  "a header without a name": () => get("GET UP/first HTTP/1.1", "Host: x\r\n: z\r\n") + inner(),
  "a header without a colon": () => get("GET UP/first HTTP/1.1", "Host: x\r\nX\r\n") + inner(),
  "NUL in a value": () => get("GET UP/first HTTP/1.1", "Host: x\r\nX: a\0b\r\n") + inner(),
  "a control character in a value": () =>
    get("GET UP/first HTTP/1.1", "Host: x\r\nX: a\x01b\r\n") + inner(),
  "1,000 headers": () =>
    get("GET UP/first HTTP/1.1", `Host: x\r\n${"X: y\r\n".repeat(1_000)}`) + inner(),
  "a head of 200 KB": () =>
    get("GET UP/first HTTP/1.1", `Host: x\r\nX: ${"y".repeat(200_000)}\r\n`) + inner(),
  "a target of 200 KB": () => get(`GET UP/${"y".repeat(200_000)} HTTP/1.1`) + inner(),
  "lines ended by LF": () => get("GET UP/first HTTP/1.1").replaceAll("\r\n", "\n") + inner(),
  "HTTP/0.9": () => `GET http://127.0.0.1:${up.port}/first\r\n${inner()}`,
  "HTTP/2.0": () => get("GET UP/first HTTP/2.0") + inner(),
  "HTTP/1.9": () => get("GET UP/first HTTP/1.9") + inner(),
  "the HTTP/2 preface": () => `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${inner()}`,
  "two spaces in the request line": () => get("GET  UP/first HTTP/1.1") + inner(),
  "a space in the target": () => get("GET UP/first x HTTP/1.1") + inner(),
  "a tab in the request line": () => get("GET\tUP/first HTTP/1.1") + inner(),
  "a method in lower case": () => get("get UP/first HTTP/1.1") + inner(),
  "a method that is none": () => get("G(T UP/first HTTP/1.1") + inner(),
  TLS: () => `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03${inner()}`,
  "CONNECT with a length": () =>
    `CONNECT 127.0.0.1:${up.port} HTTP/1.1\r\nHost: x\r\n${length(5)}\r\n12345${inner()}`,
  "CONNECT with chunks": () =>
    `CONNECT 127.0.0.1:${up.port} HTTP/1.1\r\nHost: x\r\n${chunked}\r\n0\r\n\r\n${inner()}`,
};

describe("ends in 4xx or a closed connection, and in no second request", () => {
  test.each(Object.keys(attacks))("%s", async (name) => {
    const client = wire(proxy.port, attacks[name]!());
    const answer = await client.ended;
    expect(answer).toMatch(/^(?:$|HTTP\/1\.1 4\d\d )/);
    // One answer at most: nothing after it was taken for a request.
    expect(answer.split("HTTP/1.1 ").length).toBeLessThanOrEqual(2);
    await proxy.listener.idle();
    expect(proxy.handled.filter(({ url }) => url.endsWith("/second"))).toEqual([]);
    expect(up.connections.filter(({ received }) => /^[A-Z]+ \S*second/m.test(received))).toEqual(
      [],
    );
  });
});

test("CONNECT behind a request that has no answer yet closes the connection", async () => {
  const gate = Promise.withResolvers<Response>();
  await using proxy = await forwardProxy({}, { handle: () => gate.promise });
  const client = wire(
    proxy.port,
    `${get("GET UP/first HTTP/1.1")}CONNECT 127.0.0.1:${up.port} HTTP/1.1\r\nHost: x\r\n\r\nbytes`,
  );
  expect(await client.ended).toBe("");
  gate.resolve(new Response("late"));
  expect(proxy.leases).toEqual([]);
});

test("nonsense behind a request that has no answer yet closes the connection", async () => {
  const gate = Promise.withResolvers<Response>();
  await using proxy = await forwardProxy({}, { handle: () => gate.promise });
  const client = wire(proxy.port, `${get("GET UP/first HTTP/1.1")}FOO BAR\r\n\r\n`);
  expect(await client.ended).toBe("");
  gate.resolve(new Response("late"));
});

test("mutated requests beside good ones: all good ones are answered", async () => {
  // Nothing goes out: who knows whom a mutated URL names.
  await using proxy = await forwardProxy({ readMs: 300 }, { handle: () => new Response("fine") });
  let seed = 7;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
    return seed % below;
  };
  const samples = Object.values(attacks).map((attack) => attack());
  const good = get("GET UP/good HTTP/1.1", "Host: x\r\nConnection: close\r\n");
  for (let round = 0; round < 20; round++) {
    const wires = Array.from({ length: 20 }, () => {
      const bytes = Buffer.from(samples[random(samples.length)]!.slice(0, 2_000), "latin1");
      for (let i = 0; i < 1 + random(5); i++) bytes[random(bytes.length)] = random(256);
      return wire(proxy.port, bytes);
    });
    const answer = await wire(proxy.port, good).ended;
    expect(answer).toStartWith("HTTP/1.1 200 ");
    for (const { socket } of wires) socket.destroy();
  }
  await proxy.listener.idle();
});
