import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { ask, brokenOff, call } from "./client.ts";
import type { Ask, Call } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Proxy } from "./program.ts";
import { gate, startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const host = "api.test";

/** `rest` limits the one quota there is. */
function yaml(url: string, rest = "rpm: 1000, tpm: 1000000", more = ""): string {
  return `quotas: [{ name: q, domain: ${host}, provider: openai, upstream: "${url}", ${rest} }]
coalesce: true
${more}`;
}

function chat(content: string, headers: Record<string, string> = {}, stream = false): Ask {
  const messages = [{ role: "user", content }];
  const body = JSON.stringify({ model: "m", max_tokens: 20, stream, messages });
  return { host, path: "/v1/chat/completions", method: "POST", headers, body };
}

function times<T>(count: number, make: (number: number) => T): T[] {
  return Array.from({ length: count }, (_, number) => make(number));
}

/** Long enough for what was sent to have arrived, and for a request to be looked after: nothing tells of either. */
const settledMs = 100;

const encoder = new TextEncoder();
const end = "data: [DONE]\n\n";

/** A stream that the test writes. */
interface Pipe {
  response: Response;
  write(text: string): void;
  close(): void;
  cancelled: boolean;
}

function pipe(): Pipe {
  let controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  const made = {
    response: new Response(
      new ReadableStream<Uint8Array>({
        start: (one) => void (controller = one),
        cancel: () => void (made.cancelled = true),
      }),
      { headers: { "content-type": "text/event-stream" } },
    ),
    write: (text: string) => controller?.enqueue(encoder.encode(text)),
    close: () => controller?.close(),
    cancelled: false,
  };
  return made;
}

describe("50 identical requests at once are one upstream call", () => {
  test("with JSON for an answer", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const calls = times(50, () => call(proxy.port, chat("same")));
    await until(() => held.length === 1, "the first is at the upstream");
    const other = call(proxy.port, chat("other"));
    await until(() => held.length === 2, "another question is asked");
    held[0]?.release(Response.json({ id: 1 }, { headers: { "x-request-id": "up-1" } }));
    open();
    const answers = await Promise.all(calls.map((one) => one.answer));
    await other.answer;
    expect(new Set(answers.map((one) => one.text()))).toEqual(new Set(['{"id":1}']));
    expect(new Set(answers.map((one) => one.header("x-request-id")))).toEqual(new Set(["up-1"]));
    expect(upstream.seen).toHaveLength(2);
    expect(new Set(answers.map((one) => one.header("x-cooldown-request-id"))).size).toBe(50);
    expect((await proxy.quota("q")).windows[0]?.used).toBe(2);
    await until(() => (proxy.err.match(/"coalesced"/g)?.length ?? 0) === 49, "49 are told as such");
  });

  test("with a stream, which those who come late get from its beginning", async () => {
    using at = folder();
    const stream = pipe();
    await using upstream = startUpstream(() => stream.response);
    await using proxy = await startProxy(yaml(upstream.url), { at });
    const calls = times(25, () => call(proxy.port, chat("same", {}, true)));
    await until(() => upstream.seen.length === 1, "it is asked");
    stream.write("data: 1\n\n");
    await Promise.all(calls.map((one) => one.firstPiece));
    calls.push(...times(25, () => call(proxy.port, chat("same", {}, true))));
    await Promise.all(calls.map((one) => one.firstPiece));
    stream.write("data: 2\n\n");
    stream.write(end);
    stream.close();
    const answers = await Promise.all(calls.map((one) => one.answer));
    expect(new Set(answers.map((one) => one.text()))).toEqual(
      new Set([`data: 1\n\ndata: 2\n\n${end}`]),
    );
    expect(upstream.seen).toHaveLength(1);
  });

  test("while they wait for the quota, too: one place in the queue", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    await using proxy = await startProxy(yaml(upstream.url, "max_concurrency: 1"), { at });
    const first = call(proxy.port, chat("first"));
    await until(() => held.length === 1, "the first is in flight");
    const calls = times(20, () => call(proxy.port, chat("same")));
    await until(async () => (await proxy.quota("q")).queue_depth > 0, "one waits");
    await ask(proxy.port, { path: "/health" });
    expect((await proxy.quota("q")).queue_depth).toBe(1);
    open();
    await first.answer;
    const answers = await Promise.all(calls.map((one) => one.answer));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    // Those who came behind one that waited have waited as well.
    expect(answers.every((one) => Number(one.header("x-cooldown-wait")) > 0)).toBe(true);
    expect(upstream.seen).toHaveLength(2);
  });
});

test("never across different credentials, and never what is not to be shared", async () => {
  using at = folder();
  const { answer, held } = gate();
  await using upstream = startUpstream(answer);
  await using proxy = await startProxy(yaml(upstream.url), { at });
  const calls = [
    call(proxy.port, chat("same", { Authorization: "Bearer one" })),
    call(proxy.port, chat("same", { Authorization: "Bearer two" })),
    call(proxy.port, chat("same", { "X-Api-Key": "one" })),
    call(proxy.port, chat("same", { "X-Cooldown-Key": "one" })),
    call(proxy.port, chat("same")),
    call(proxy.port, { ...chat("same"), path: "/v1/responses" }),
    call(proxy.port, { ...chat("same"), path: "/v1/responses" }),
  ];
  await until(() => held.length === calls.length, "each is asked for itself");
  for (const { seen, release } of held) release(Response.json(seen.headers.get("authorization")));
  expect((await calls[0]?.answer)?.json()).toBe("Bearer one");
  expect((await calls[1]?.answer)?.json()).toBe("Bearer two");
});

describe("who goes away harms nobody", () => {
  /** Four that read one stream, of which a piece has come. */
  async function started(): Promise<
    AsyncDisposable & { calls: Call[]; proxy: Proxy; source: Pipe }
  > {
    const at = folder();
    const source = pipe();
    const upstream = startUpstream(() => source.response);
    const proxy = await startProxy(yaml(upstream.url), { at });
    const calls = [call(proxy.port, chat("same", {}, true))];
    await until(() => upstream.seen.length === 1, "it is asked");
    calls.push(...times(3, () => call(proxy.port, chat("same", {}, true))));
    source.write("data: 1\n\n");
    await Promise.all(calls.map((one) => one.firstPiece));
    const stop = async (): Promise<void> => {
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
      at[Symbol.dispose]();
    };
    return { calls, proxy, source, [Symbol.asyncDispose]: stop };
  }

  test.each([
    ["the first", 0],
    ["another", 2],
  ])("%s", async (_, leaver) => {
    await using four = await started();
    const { calls, proxy, source } = four;
    calls[leaver]?.abort();
    await Bun.sleep(settledMs);
    source.write(`data: 2\n\n${end}`);
    source.close();
    const others = calls.filter((one) => one !== calls[leaver]);
    for (const { answer } of others)
      expect((await answer).text()).toBe(`data: 1\n\ndata: 2\n\n${end}`);
    expect(source.cancelled).toBe(false);
    expect((await proxy.quota("q")).windows[0]).toMatchObject({ used: 1, reserved: 0 });
  });

  test("all: then the call ends", async () => {
    await using four = await started();
    const { calls, proxy, source } = four;
    for (const one of calls.slice(1)) one.abort();
    await Bun.sleep(settledMs);
    expect(source.cancelled).toBe(false);
    calls[0]?.abort();
    await until(() => source.cancelled, "the upstream call is ended");
    await until(async () => (await proxy.quota("q")).windows[0]?.reserved === 0, "it is settled");
  });

  test("the first while it waits: another is answered from its place", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    await using proxy = await startProxy(yaml(upstream.url, "max_concurrency: 1"), { at });
    const blocking = call(proxy.port, chat("first"));
    await until(() => held.length === 1, "the first is in flight");
    const leader = call(proxy.port, chat("same"));
    await until(async () => (await proxy.quota("q")).queue_depth === 1, "the leader waits");
    const follower = call(proxy.port, chat("same"));
    await Bun.sleep(settledMs);
    leader.abort();
    await Bun.sleep(settledMs);
    expect((await proxy.quota("q")).queue_depth).toBe(1);
    open();
    expect((await follower.answer).status).toBe(200);
    expect((await blocking.answer).status).toBe(200);
    expect(upstream.seen).toHaveLength(2);
  });

  test("all while they wait: the place is given up", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    await using proxy = await startProxy(yaml(upstream.url, "max_concurrency: 1"), { at });
    const blocking = call(proxy.port, chat("first"));
    await until(() => held.length === 1, "the first is in flight");
    const calls = times(3, () => call(proxy.port, chat("same")));
    await until(async () => (await proxy.quota("q")).queue_depth === 1, "they wait");
    await Bun.sleep(settledMs);
    for (const one of calls) one.abort();
    await until(async () => (await proxy.quota("q")).queue_depth === 0, "nobody waits");
    open();
    expect((await blocking.answer).status).toBe(200);
    expect(upstream.seen).toHaveLength(1);
  });
});

describe("what one is refused with for its own sake is no answer for others", () => {
  test("each has its own patience", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    await using proxy = await startProxy(yaml(upstream.url, "max_concurrency: 1"), { at });
    const blocking = call(proxy.port, chat("first"));
    await until(() => held.length === 1, "the first is in flight");
    const hasty = call(proxy.port, chat("same", { "X-Cooldown-Timeout": "300ms" }));
    await until(async () => (await proxy.quota("q")).queue_depth === 1, "the hasty one waits");
    const patient = call(proxy.port, chat("same"));
    const hastier = call(proxy.port, chat("same", { "X-Cooldown-Timeout": "100ms" }));
    const refused = await Promise.all([hasty.answer, hastier.answer]);
    for (const one of refused) {
      expect([one.status, one.json().error.code]).toEqual([429, "QUEUE_TIMEOUT"]);
      expect(Number(one.header("retry-after"))).toBeGreaterThan(0);
    }
    expect(Number(refused[1]?.header("x-cooldown-wait"))).toBeWithin(0.09, 0.3);
    await until(async () => (await proxy.quota("q")).queue_depth === 1, "the patient one waits");
    open();
    expect((await patient.answer).status).toBe(200);
    expect((await blocking.answer).status).toBe(200);
    expect(upstream.seen).toHaveLength(2);
  });

  test("each has its own limit", async () => {
    using at = folder();
    const { answer, held, open } = gate();
    await using upstream = startUpstream(answer);
    // A header that tells clients apart and no answers.
    const named = 'clients: { identify_by: ["header:user-agent"], rate_limit: 2 }\n';
    await using proxy = await startProxy(yaml(upstream.url, "rpm: 1000", named), { at });
    const from = (who: string): Call => call(proxy.port, chat("same", { "User-Agent": who }));
    const calls = [from("one"), from("one")];
    await until(() => held.length === 1, "it is asked");
    const tooMany = await from("one").answer;
    expect(tooMany.json().error.code).toBe("RATE_LIMIT_EXCEEDED");
    calls.push(from("two"));
    await Bun.sleep(settledMs);
    open();
    for (const one of calls) expect((await one.answer).status).toBe(200);
    expect(upstream.seen).toHaveLength(1);
  });
});

test("who gave way in a full queue does not take along others that wait for its answer", async () => {
  using at = folder();
  const { answer, held, open } = gate();
  await using upstream = startUpstream(answer);
  const named = 'clients: { identify_by: ["header:user-agent"] }\n';
  const rest = "max_concurrency: 1, max_queue_depth: 3";
  await using proxy = await startProxy(yaml(upstream.url, rest, named), { at });
  const from = (who: string, what: string): Call =>
    call(proxy.port, chat(what, { "User-Agent": who }));
  const first = from("greedy", "first");
  await until(() => held.length === 1, "the first is in flight");
  const waiting: Call[] = [];
  for (const what of ["second", "third", "same"]) {
    const count = waiting.push(from("greedy", what));
    await until(async () => (await proxy.quota("q")).queue_depth === count, `${what} waits`);
  }
  const [second, third, same] = waiting;
  const own = from("greedy", "same");
  const modest = from("modest", "same");
  await Bun.sleep(settledMs);
  const newcomer = from("new", "other");
  // Its newest gives way to the newcomer, and the one before that to the modest one, who asks for himself then.
  for (const one of [same, own, third]) {
    const refused = await one?.answer;
    expect([refused?.status, refused?.json().error.code]).toEqual([429, "QUEUE_FULL"]);
  }
  open();
  for (const one of [first, second, newcomer, modest])
    expect((await one?.answer)?.status).toBe(200);
  expect(upstream.seen).toHaveLength(4);
});

test("with the cache: one call, and the next is a hit", async () => {
  using at = folder();
  const { answer, held } = gate();
  await using upstream = startUpstream(answer);
  const more = "cache: { enabled: true }";
  await using proxy = await startProxy(yaml(upstream.url, "rpm: 1000", more), { at });
  const calls = times(10, () => call(proxy.port, chat("same")));
  await until(() => held.length === 1, "it is asked");
  await Bun.sleep(settledMs);
  held[0]?.release(Response.json({ id: 1 }));
  for (const one of calls) expect((await one.answer).header("x-cache")).toBe("MISS");
  expect((await ask(proxy.port, chat("same"))).header("x-cache")).toBe("HIT");
  expect(upstream.seen).toHaveLength(1);
});

test("an upstream that cannot be reached is said to all, one that breaks off breaks off for all", async () => {
  using at = folder();
  const source = pipe();
  const upstream = startUpstream(() => source.response);
  await using proxy = await startProxy(yaml(upstream.url), { at });
  const calls = times(3, () => call(proxy.port, chat("same", {}, true)));
  await until(() => upstream.seen.length === 1, "it is asked");
  source.write("data: 1\n\n");
  await Promise.all(calls.map((one) => one.firstPiece));
  await upstream[Symbol.asyncDispose]();
  for (const { answer } of calls) await brokenOff(answer);
  const later = await Promise.all(times(3, () => ask(proxy.port, chat("same", {}, true))));
  expect(later.map(({ status }) => status)).toEqual([502, 502, 502]);
});
