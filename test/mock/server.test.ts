import { connect } from "node:net";
import { describe, expect, test } from "bun:test";
import { mock as mockCli } from "../../src/cli/mock.ts";
import type { Io } from "../../src/cli/io.ts";
import { OperationError, UsageError } from "../../src/errors.ts";
import { startMock } from "../../src/mock/server.ts";
import { eventually, start } from "./sockets.ts";

const streamed = {
  method: "POST",
  body: JSON.stringify({
    model: "m",
    messages: [{ role: "user", content: "hi" }],
    max_tokens: 100_000,
    stream: true,
  }),
};

describe("the simulator on a socket", () => {
  test("refuses what is over the limit and tells so in its stats, which reset clears", async () => {
    const mock = start({ profile: "plain", rpm: 20 });
    const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(`${mock.url}/x`)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(20);
    const refused = answers.find(({ status }) => status === 429);
    expect(Number(refused?.headers.get("retry-after"))).toBeWithin(58, 61);

    const stats: any = await (await fetch(`${mock.url}/__mock/stats`)).json();
    expect(stats).toMatchObject({ requests: 50, admitted: 20, rejected_429: 30, in_flight: 0 });
    expect(stats.windows).toEqual([
      { unit: "requests", window: "minute", limit: 20, used: 20, peak: 20, peak_reserved: 20 },
    ]);
    expect(await (await fetch(`${mock.url}/__mock/log?limit=3`)).json()).toHaveLength(3);
    expect(mock.log()).toHaveLength(20);

    await fetch(`${mock.url}/__mock/reset`, { method: "POST" });
    expect(mock.stats()).toMatchObject({ requests: 0, windows: [{ used: 0, peak: 0 }] });
    expect((await fetch(`${mock.url}/x`)).status).toBe(200);
    expect((await fetch(`${mock.url}/__mock/other`)).status).toBe(404);
    expect((await fetch(`${mock.url}/x?next=/__mock/stats`)).status).toBe(200);
  });

  test("notices a client that leaves a stream", async () => {
    const mock = start({ outputFraction: 1, tokensPerChunk: 10, chunkIntervalMs: 1 });
    const client = new AbortController();
    const response = await fetch(`${mock.url}/v1/chat/completions`, {
      ...streamed,
      signal: client.signal,
    });
    await response.body!.getReader().read();
    client.abort();
    await eventually(() => mock.stats().aborted === 1);
    expect(mock.stats()).toMatchObject({ in_flight: 0, tokens_reserved: 0 });
    expect(mock.stats().tokens_used).toBeLessThan(100_000);
  });

  test("notices a client that leaves before the answer", async () => {
    const mock = start({ latencyMs: 3_600_000 });
    const client = new AbortController();
    const response = fetch(`${mock.url}/v1/chat/completions`, {
      ...streamed,
      signal: client.signal,
    });
    response.catch(() => {});
    await eventually(() => mock.stats().in_flight === 1 && mock.stats().admitted === 1);
    client.abort();
    await eventually(() => mock.stats().aborted === 1);
    expect(mock.stats().in_flight).toBe(0);
  });

  test("notices a client that leaves while it uploads", async () => {
    const mock = start();
    const socket = connect(mock.port, "127.0.0.1");
    socket.write(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: mock\r\nContent-Length: 1000\r\n\r\n{",
    );
    await eventually(() => mock.stats().in_flight === 1);
    socket.destroy();
    await eventually(() => mock.stats().aborted === 1);
    expect(mock.stats()).toMatchObject({ requests: 1, admitted: 0, in_flight: 0 });
  });

  test("HEAD and uploads work in plain", async () => {
    const mock = start({ profile: "plain" });
    expect((await fetch(mock.url, { method: "HEAD" })).status).toBe(200);
    const failed = await fetch(mock.url, { headers: { "x-mock-status": "418" } });
    expect([failed.status, await failed.json()]).toEqual([
      418,
      { error: "Injected by the simulator." },
    ]);
    const upload = await fetch(mock.url, { method: "PUT", body: new Uint8Array(3_000_000) });
    expect(await upload.json()).toMatchObject({ method: "PUT", body_bytes: 3_000_000 });
  });

  test("a port in use is an error that says what to do", () => {
    const { port } = start();
    expect(() => startMock({ port })).toThrow(OperationError);
    expect(() => startMock({ port })).toThrow(`127.0.0.1:${port} is in use`);
    expect(() => startMock({ host: "203.0.113.1", port: 0 })).toThrow(OperationError);
  });
});

/** What `promise` rejects with; undefined when it resolves. */
function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => undefined,
    (error: unknown) => error,
  );
}

interface Run {
  io: Io;
  written: () => string;
  signal: () => void;
}

function run(): Run {
  let text = "";
  let stop = (): void => {};
  const io: Io = {
    out: (part) => void (text += part),
    err: (part) => void (text += part),
    env: {},
    onHangUp: () => undefined,
    onSignal: (handler) => void (stop = handler),
  };
  return { io, written: () => text, signal: () => stop() };
}

describe("cooldown mock", () => {
  test("prints its address, serves with the options given and ends at a signal", async () => {
    const { io, written, signal } = run();
    const args =
      "--profile cerebras --port 0 --rpm 5 --tpm 0 --algorithm sliding_window --latency 0 --jitter 0ms --count-at random --output-sd 0 --output-mean 10 --assumed-output 50 --chunk-tokens 5 --seed 3";
    const ended = mockCli(args.split(" "), io);
    await eventually(() => written().includes("\n"));
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(written())?.[0];
    const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "hi" }] });
    const answers = await Promise.all(
      Array.from({ length: 8 }, () =>
        fetch(`${url}/v1/chat/completions`, { method: "POST", body }),
      ),
    );
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(3);
    const stats: any = await (await fetch(`${url}/__mock/stats`)).json();
    expect(stats).toMatchObject({ tokens_used: 5 * (8 + 10), tokens_reserved_peak: 8 + 50 });
    signal();
    await ended;
    expect(await failure(fetch(`${url}/x`))).toBeInstanceOf(Error);
  });

  test("the flags of faults, of others on the key and of limits apart reach the provider", async () => {
    const { io, written, signal } = run();
    const args =
      "--profile anthropic --port 0 --input-tpm 5000 --output-tpm 0 --latency 0 --jitter 0 --external-load 20% --external-prompt 10 --cut-rate 0.5 --reset-rate 0 --stall-rate 0.1 --settling reserved --refuse-for 1h --error-status 529";
    const ended = mockCli(args.split(" "), io);
    await eventually(() => written().includes("\n"));
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(written())?.[0];
    const body = JSON.stringify({ model: "m", max_tokens: 5, messages: [{ content: "hi" }] });
    const answer = await fetch(`${url}/v1/messages`, { method: "POST", body });
    expect([answer.status, await answer.json()]).toMatchObject([
      529,
      { error: { type: "overloaded_error" } },
    ]);
    const limits: any = await (await fetch(`${url}/__mock/limits`)).json();
    expect(limits.map(({ unit, limit }: any) => [unit, limit])).toEqual([
      ["requests", 1000],
      ["input_tokens", 5000],
    ]);
    signal();
    await ended;
  });

  test("--help teaches every option and returns", async () => {
    const { io, written } = run();
    await mockCli(["--help"], io);
    for (const words of [
      "--rpm",
      "--input-tpm",
      "--external-load",
      "--cut-rate",
      "--refuse-for",
      "openai     rpm 500",
      "/__mock/faults",
      "X-Mock-Cached-Tokens",
      "--count-at",
      "--latency",
      "default: 200ms",
      "Examples:",
      "/__mock/stats",
    ]) {
      expect(written()).toContain(words);
    }
  });

  test.each([
    ["--prot 1", "unknown option '--prot'"],
    ["--profile nobody", "cerebras, openai, anthropic, groq, plain"],
    ["--latency soon", '--latency <duration>: "soon" is not a duration'],
    ["--rpm many", '"many" is not a number'],
    ["--error-rate 2", "error rate is 2"],
    ["extra", "too many arguments"],
  ])("%s is wrong usage", async (args, words) => {
    const { io } = run();
    const error = await failure(mockCli(args.split(" "), io));
    expect(error).toBeInstanceOf(UsageError);
    expect((error as UsageError).message).toContain(words);
  });
});
