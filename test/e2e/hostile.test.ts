import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { connect } from "node:net";
import { ask } from "./client.ts";
import { hiddenPath, hostileCases } from "./hostile-cases.ts";
import { randomFrom } from "./mischief.ts";
import type { Folder, Proxy } from "./program.ts";
import { folder, memoryOf, startProxy, until } from "./program.ts";
import { startUpstream } from "./upstream.ts";
import type { Upstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(60_000);

let at: Folder;
let upstream: Upstream;
let proxy: Proxy;

beforeAll(async () => {
  at = folder();
  upstream = startUpstream(async (request) => {
    await request.bytes();
    return new Response("ok");
  });
  const yaml = `
rate_limits: [{ domain: api.test, upstream: "${upstream.url}", requests_per_second: 10000, burst: 1000 }]
quotas: [{ name: q, domain: model.test, provider: openai, upstream: "${upstream.url}", tpm: 1000000 }]
`;
  proxy = await startProxy(yaml, { at, args: ["--read-timeout", "1s"] });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
  at[Symbol.dispose]();
});

/** All that comes back until the connection ends, or nothing more does for a while. */
function exchange(pieces: readonly string[]): Promise<{ received: string; isClosed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect(proxy.port, "127.0.0.1");
    let received = "";
    const finish = (isClosed: boolean) => (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ received, isClosed });
    };
    // Longer than `read_timeout`, after which a body that does not come is refused.
    let timer = setTimeout(finish(false), 3_000);
    socket.on("data", (piece: Buffer) => {
      received += piece.toString("latin1");
      clearTimeout(timer);
      timer = setTimeout(finish(false), 150);
    });
    socket.on("error", () => {});
    socket.on("close", finish(true));
    for (const piece of pieces) socket.write(Buffer.from(piece, "latin1"));
  });
}

test.concurrent.each(hostileCases.map(({ name, pieces }, i) => [name, pieces, i] as const))(
  "%s: a 4xx or the end of the connection, and nothing hidden gets through",
  async (_, pieces, i) => {
    const { received, isClosed } = await exchange(pieces);
    const statuses = [...received.matchAll(/HTTP\/1\.1 (\d\d\d)/g)].map(([, status]) => status!);
    expect(upstream.seen.filter(({ target }) => target.includes(hiddenPath(i)))).toEqual([]);
    // 505 is the runtime's word for a version that it does not speak; it hangs up after it.
    const isRefused = (status: string): boolean =>
      status.startsWith("4") || (status === "505" && isClosed);
    expect(statuses.filter((status) => !isRefused(status))).toEqual([]);
    expect(isClosed || statuses.length > 0).toBe(true);
  },
);

test("what is only odd gets through as one request, said in one way", async () => {
  const before = upstream.seen.length;
  const chunked = "5;name=value\r\nhello\r\n0;last\r\n\r\n";
  const { received } = await exchange([
    `POST /odd HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: Chunked\r\n\r\n${chunked}`,
  ]);
  expect(received).toStartWith("HTTP/1.1 200 ");
  const [one, ...further] = upstream.seen.slice(before);
  expect(further).toEqual([]);
  expect(
    one!.headers.get("content-length") ?? one!.headers.get("transfer-encoding"),
  ).not.toBeNull();
});

test.each([
  ["deep arrays", "[".repeat(500_000)],
  ["deep arrays, closed", "[".repeat(200_000) + "]".repeat(200_000)],
  ["deep objects", '{"a":'.repeat(200_000)],
  ["deep messages", `{"model":"m","messages":${"[".repeat(100_000)}${"]".repeat(100_000)}}`],
  [
    "many keys",
    `{"model":"m",${Array.from({ length: 100_000 }, (_, i) => `"k${i}":1`).join(",")}}`,
  ],
  ["a prototype", '{"__proto__":{"model":"x"},"model":"m","messages":[]}'],
  ["a huge number", `{"model":"m","messages":[],"max_tokens":1e400}`],
  [
    "a long string",
    `{"model":"m","messages":[{"role":"user","content":"${"x ".repeat(2_000_000)}"}]}`,
  ],
  ["no end", '{"model":"m","messages":[{"role":"user"'],
  ["not UTF-8", '{"model":"m\xff\xfe"}'],
])("JSON for counting, %s: an answer, soon, and the program lives", async (_, body) => {
  const startedAt = performance.now();
  const answer = await ask(proxy.port, {
    host: "model.test",
    path: "/v1/chat/completions",
    method: "POST",
    body: Buffer.from(body, "latin1"),
  });
  expect([200, 400, 413, 429]).toContain(answer.status);
  expect(performance.now() - startedAt).toBeLessThan(4_000);
  expect((await ask(proxy.port, { host: "api.test" })).status).toBe(200);
});

test("an answer that expands to far more than its size is passed on, and not put together here", async () => {
  const bomb = Bun.gzipSync(new Uint8Array(256 * 1024 * 1024));
  using here = folder();
  await using bombing = startUpstream(
    () =>
      new Response(bomb, {
        headers: { "Content-Type": "application/json", "Content-Encoding": "gzip" },
      }),
  );
  const yaml = `quotas: [{ name: q, domain: model.test, provider: openai, upstream: "${bombing.url}", tpm: 1000000 }]\n`;
  await using one = await startProxy(yaml, { at: here });
  const before = memoryOf(one.pid).peak;
  const answer = await ask(one.port, {
    host: "model.test",
    path: "/v1/chat/completions",
    method: "POST",
    headers: { "Accept-Encoding": "gzip" },
    body: '{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"max_tokens":5}',
  });
  expect(answer.bytes().length).toBe(bomb.length);
  await one.said(/"status":200/);
  expect(memoryOf(one.pid).peak - before).toBeLessThan(200 * 1024 * 1024);
});

test("bytes that are changed at random, beside good traffic", async () => {
  const random = randomFrom(5);
  const seeds = hostileCases.flatMap(({ pieces }) => pieces).filter(({ length }) => length < 2_000);
  const end = performance.now() + 5_000;
  const times: number[] = [];
  const good = async (): Promise<void> => {
    while (performance.now() < end) {
      const startedAt = performance.now();
      expect((await ask(proxy.port, { host: "api.test", path: "/good" })).status).toBe(200);
      times.push(performance.now() - startedAt);
      await Bun.sleep(10);
    }
  };
  const bad = async (): Promise<void> => {
    while (performance.now() < end) {
      const bytes = Buffer.from(seeds[Math.floor(random() * seeds.length)]!, "latin1");
      for (let i = 0; i < 1 + random() * 8; i++)
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      const socket = connect(proxy.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.end(bytes);
      socket.resume();
      await Bun.sleep(5);
      socket.destroy();
    }
  };
  await Promise.all([good(), good(), bad(), bad(), bad(), bad()]);
  times.sort((a, b) => a - b);
  expect(times.length).toBeGreaterThan(100);
  expect(times[Math.floor(times.length * 0.99)]!).toBeLessThan(250);
  await until(async () => (await ask(proxy.port, { path: "/health" })).status === 200, "it lives");
  expect(proxy.err).not.toMatch(/"level":"error"/);
});
