import { afterAll, expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { HeaderFields } from "../../src/header-fields.ts";
import { Cancellation } from "../../src/upstream/cancellation.ts";
import { createHttpUpstream } from "../../src/upstream/http.ts";
import { Pins } from "../../src/upstream/pinned.ts";
import { bytesOf, textOf } from "./answers.ts";
import { manualClock } from "./manual-clock.ts";
import { rawServer } from "./raw-server.ts";
import { cert, key } from "./self-signed.ts";

const upstream = createHttpUpstream({
  clock: systemClock(),
  timeouts: { connectMs: 2_000, firstByteMs: 2_000 },
  ca: [cert],
});
afterAll(() => upstream.close());

function get(url: string, addresses: string[], body: Uint8Array<ArrayBuffer> | null = null) {
  return upstream.send({
    url,
    addresses,
    method: body === null ? "GET" : "POST",
    headers: new HeaderFields(),
    body,
    controller: new Cancellation(),
  });
}

test("the connection goes to the address, Host and path are those asked for", async () => {
  await using server = await rawServer(({ received, socket }) => {
    if (received.endsWith("\r\n\r\n")) socket.write("HTTP/1.1 204 No Content\r\n\r\n");
  });
  // `.invalid` never resolves.
  const answer = await get(`http://api.invalid:${server.port}/a%2Fb?c=http://d`, ["127.0.0.1"]);
  expect(answer.status).toBe(204);
  const [line, ...head] = server.connections[0]!.received.split("\r\n");
  expect(line).toBe("GET /a%2Fb?c=http://d HTTP/1.1");
  expect(head.filter((one) => /^host:/i.test(one))).toEqual([`Host: api.invalid:${server.port}`]);
});

test("the certificate must be for the name asked for", async () => {
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    tls: { cert, key },
    fetch: (request) => new Response(request.headers.get("host")),
  });
  const named = await get(`https://localhost:${server.port}/`, ["127.0.0.1"]);
  expect(await textOf(named)).toBe(`localhost:${server.port}`);
  const other = get(`https://api.invalid:${server.port}/`, ["127.0.0.1"]);
  expect(other).rejects.toMatchObject({ code: "UPSTREAM_UNREACHABLE", mayHaveLeft: false });
});

test("a server that speaks plain HTTP where TLS is expected is named as such", async () => {
  using server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("ok") });
  expect(get(`https://localhost:${server.port}/`, ["127.0.0.1"])).rejects.toMatchObject({
    code: "UPSTREAM_UNREACHABLE",
    mayHaveLeft: false,
    message:
      `localhost:${server.port} could not be reached: it does not speak TLS; if it speaks plain HTTP, give it an ` +
      "upstream that begins with http://.",
  });
});

test("an address that takes no connection is passed over, and tried last for a while", async () => {
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: async (request) => new Response(await request.bytes()),
  });
  const url = `http://api.invalid:${server.port}/`;
  const answer = await get(url, ["127.0.0.2", "127.0.0.1"], new Uint8Array([1, 2, 3]));
  expect([...(await bytesOf(answer))]).toEqual([1, 2, 3]);
  expect(get(url, ["127.0.0.2"])).rejects.toMatchObject({
    code: "UPSTREAM_UNREACHABLE",
    message: `api.invalid:${server.port} could not be reached: the connection was refused.`,
  });
});

test("the order of addresses", () => {
  const clock = manualClock();
  const pins = new Pins(clock);
  const order = (): readonly string[] => pins.order(["1.1.1.1", "2::2"]);
  expect(order()).toEqual(["1.1.1.1", "2::2"]);
  pins.failed("1.1.1.1");
  expect(order()).toEqual(["2::2", "1.1.1.1"]);
  clock.advance(60_000);
  expect(order()).toEqual(["1.1.1.1", "2::2"]);
});
