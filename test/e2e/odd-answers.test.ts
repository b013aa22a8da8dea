import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { freePort } from "../../scripts/bench/program.ts";
import { wire } from "../server/tunnel-proxy.ts";
import { rawServer } from "../upstream/raw-server.ts";
import type { RawServer } from "../upstream/raw-server.ts";
import type { Folder, Proxy } from "./program.ts";
import { folder, startProxy } from "./program.ts";

// Answers of upstreams that no client should get as they are, and hosts that are none, through the main port and the forward proxy's.

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** What hides in a body: whoever takes the length for the end of it sees another answer. */
const hidden = "okHTTP/1.1 200 OK\r\nX-Injected: yes\r\nContent-Length: 4\r\n\r\nEVIL";
const bothWays =
  "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n";
const answers: Record<string, string> = {
  "/both": `${bothWays}${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`,
  "/endless": `${bothWays}5\r\nfirst\r\n`,
  "/reason": "HTTP/1.1 203 \xe9\xe9\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
  "/reason-only": "HTTP/1.1 203 \xe9\xe9\r\nContent-Length: 0\r\n\r\n",
  "/good": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ngood",
};

for (const status of ["000", "600", "999"])
  answers[`/${status}`] = `HTTP/1.1 ${status} Odd\r\nContent-Length: 2\r\n\r\nok`;

let at: Folder;
let upstream: RawServer;
let proxy: Proxy;
const forward = freePort();
beforeAll(async () => {
  at = folder();
  upstream = await rawServer((connection) => {
    if (!connection.received.endsWith("\r\n\r\n")) return;
    const path = connection.received.split(" ")[1] ?? "";
    connection.received = "";
    connection.socket.write(Buffer.from(answers[path] ?? "", "latin1"));
  });
  const rule = `{ domain: odd.test, requests_per_second: 1000, burst: 1000, upstream: "${upstream.url}" }`;
  proxy = await startProxy(
    `rate_limits: [${rule}]\nforward_proxy: { enabled: true, port: ${forward} }\n`,
    { at },
  );
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  at[Symbol.dispose]();
});

describe.each(["main port", "forward proxy's port"])("on the %s", (where) => {
  const isMain = where === "main port";
  const portOf = (): number => (isMain ? proxy.port : forward);
  const get = (path: string, more = ""): string =>
    `GET ${isMain ? "" : "http://odd.test"}${path} HTTP/1.1\r\nHost: odd.test\r\n${more}\r\n`;

  test("a length beside a transfer coding ends nothing: the body goes through as one", async () => {
    const client = wire(portOf(), get("/both"));
    await client.until(/EVIL/);
    expect(client.received).not.toMatch(/^content-length: 2\r$/im);
    expect(client.received).toMatch(/^(content-length: 61|transfer-encoding: chunked)\r$/im);
    client.socket.write(get("/good", "Connection: close\r\n"));
    expect(await client.ended).toEndWith("\r\n\r\ngood");
  });

  test("nor does it make an answer small, to be waited for as a whole", async () => {
    const client = wire(portOf(), get("/endless"));
    expect(await client.until(/first/)).toContain("200 OK");
    client.socket.destroy();
  });

  test.each(["/reason", "/reason-only"])(
    "of a reason that is not ASCII the answer goes through: %s",
    async (path) => {
      const client = wire(portOf(), get(path, "Connection: close\r\n"));
      expect(await client.ended).toMatch(/^HTTP\/1\.1 203 [ -~]*\r\n[^]*\r\n\r\n(ok)?$/);
    },
  );

  test.each(["000", "600", "999"])("%s is no status", async (status) => {
    const client = wire(portOf(), get(`/${status}`, "Connection: close\r\n"));
    const answer = await client.ended;
    expect(answer).toStartWith("HTTP/1.1 502 ");
    expect(answer).toContain(`an answer that cannot be read: ${status} is no status`);
  });

  test.each(["4294967296", "[::FFFF:127.1]", "xn--a.example"])("%s is no host", async (host) => {
    const target = isMain ? "/" : `http://${host}/`;
    const request = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
    const answer = await wire(portOf(), request).ended;
    expect(answer).toStartWith("HTTP/1.1 400 ");
    expect(answer).toContain("INVALID_REQUEST");
  });
});
