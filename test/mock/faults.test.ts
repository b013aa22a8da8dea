import { describe, expect, test } from "bun:test";
import { UsageError } from "../../src/errors.ts";
import { createFaults, readFaultRule } from "../../src/mock/faults.ts";
import { chat, hello, promptTokens, provider } from "./provider.ts";
import { eventually, post, start } from "./sockets.ts";

/** The code of the error with which `promise` fails; "answered" when it does not. */
async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => "answered",
    (error: { code?: unknown }) => error.code,
  );
}

describe("rules", () => {
  test("take effect in the order they were added, each for its number or its time", () => {
    const faults = createFaults([]);
    for (const rule of [{ next: 2, status: 429 }, { for: "10s", status: 503 }, { kind: "reset" }])
      faults.add(readFaultRule(rule));
    const at = (now: number): unknown => {
      const script = faults.next(now);
      return script?.kind === "answer" ? script.status : (script?.kind ?? null);
    };
    expect([at(0), at(1000)]).toEqual([429, 429]);
    expect(faults.pending(1000)).toEqual([
      { kind: "answer", status: 503, next: null, for_ms: 10_000 },
      { kind: "reset", status: null, next: 1, for_ms: null },
    ]);
    // Its time begins with the first request that comes under it.
    expect([at(5000), at(5000), at(14_999)]).toEqual([503, 503, 503]);
    expect(faults.pending(14_999)[0]).toMatchObject({ for_ms: 1 });
    expect([at(15_000), at(15_000)]).toEqual(["reset", null]);
    faults.add(readFaultRule({ next: 3, for: 1, kind: "stall" }));
    expect([at(20_000), at(21_000)]).toEqual(["stall", null]);
    faults.add(readFaultRule({ status: 500 }));
    faults.clear();
    expect(faults.pending(0)).toEqual([]);
  });

  test("headers are joined and lowered, a body that is no text becomes JSON", () => {
    const rule = {
      status: 429,
      retry_after: 2,
      headers: { "X-RateLimit-Reset-Tokens": "1s" },
      body: { error: 1 },
    };
    expect(readFaultRule(rule)).toEqual({
      requests: 1,
      forMs: null,
      script: {
        kind: "answer",
        status: 429,
        headers: { "retry-after": "2", "x-ratelimit-reset-tokens": "1s" },
        body: '{"error":1}',
      },
    });
  });

  test.each([
    [[], "JSON object"],
    [{ nxt: 1 }, '"nxt" is not a field'],
    [{ next: 0 }, "next"],
    [{ next: 1.5 }, "next"],
    [{ for: "soon" }, "soon"],
    [{ for: true }, "duration"],
    [{ status: 99 }, "status"],
    [{ kind: "answer" }, "needs a status"],
    [{ kind: "explode" }, "kind"],
    [{ kind: "reset", status: 500 }, "neither status nor body"],
    [{ headers: "x" }, "headers"],
    [{ retry_after: {} }, "retry_after"],
    [{ headers: { "a b": "c" } }, "HTTP"],
  ])("%j is refused", (rule, words) => {
    expect(() => readFaultRule(rule)).toThrow(UsageError);
    expect(() => readFaultRule(rule)).toThrow(words);
  });
});

describe("scripted answers", () => {
  test("are exactly what was asked for, past the quota, then all is as before", async () => {
    const { exchange, post } = provider({ rpm: 1 });
    const body = '{"error":"slow down"}';
    exchange.addFault(readFaultRule({ next: 2, status: 429, retry_after: "2", body }));
    for (let count = 0; count < 2; count++) {
      const response = await post(chat, hello);
      expect([response.status, await response.text()]).toEqual([429, body]);
      expect(Object.fromEntries(response.headers)).toEqual({
        "content-type": "application/json",
        "retry-after": "2",
      });
    }
    expect((await post(chat, hello)).status).toBe(200);
    expect((await post(chat, hello)).status).toBe(429);
    expect(exchange.stats()).toMatchObject({ scripted: 2, admitted: 1, rejected_429: 1 });
  });

  test("without a body an error is the provider's own", async () => {
    const { exchange, post } = provider({ profile: "anthropic" });
    exchange.addFault(readFaultRule({ status: 529, headers: { "x-should-retry": "false" } }));
    const response = await post("/v1/messages", hello);
    expect(response.headers.get("x-should-retry")).toBe("false");
    expect(await response.json()).toMatchObject({ error: { type: "overloaded_error" } });
    exchange.addFault(readFaultRule({ status: 200 }));
    expect(await (await post("/v1/messages", hello)).text()).toBe("{}");
  });

  test("headers alone lie over the ordinary answer's, refusals included", async () => {
    const { exchange, post } = provider({ profile: "openai", rpm: 1 });
    const headers = { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m" };
    exchange.addFault(readFaultRule({ next: 2, headers }));
    for (const status of [200, 429]) {
      const response = await post(chat, hello);
      expect(response.status).toBe(status);
      expect(Object.fromEntries(response.headers)).toMatchObject(headers);
      expect(response.headers.get("x-ratelimit-limit-tokens")).toBe("200000");
    }
    expect((await post(chat, hello)).headers.get("x-ratelimit-reset-tokens")).not.toBe("1m");
  });

  test("come after the request's own latency", async () => {
    const { clock, exchange, post } = provider();
    exchange.addFault(readFaultRule({ status: 503 }));
    const answer = post(chat, hello, { headers: { "x-mock-latency": "2s" } });
    await clock.advance(1999);
    expect(exchange.stats().by_status).toEqual({});
    await clock.advance(1);
    expect((await answer).status).toBe(503);
  });
});

test("an outage from the first request on", async () => {
  const { clock, exchange, post } = provider({ refuseForMs: 10_000, errorStatus: 503 });
  await clock.advance(60_000);
  expect((await post(chat, hello)).status).toBe(503);
  await clock.advance(9_999);
  expect((await post(chat, hello)).status).toBe(503);
  await clock.advance(1);
  expect((await post(chat, hello)).status).toBe(200);
  expect(exchange.stats()).toMatchObject({ scripted: 2, admitted: 1, errors_injected: 0 });
});

describe("on a socket", () => {
  test("a reset closes the connection before the answer; the work was done", async () => {
    const mock = start({ resetRate: 1, outputFraction: 1 });
    expect(await failure(post(mock, chat, hello))).toBe("ECONNRESET");
    expect(mock.stats()).toMatchObject({
      resets_injected: 1,
      admitted: 1,
      in_flight: 0,
      tokens_used: promptTokens + 100,
    });
    expect(mock.stats().by_status).toEqual({});
  });

  test("a stall answers nothing; it ends when the client goes", async () => {
    const mock = start({ stallRate: 1 });
    const client = new AbortController();
    const answer = failure(post(mock, chat, hello, {}, client.signal));
    await eventually(() => mock.stats().stalls_injected === 1);
    expect(mock.stats()).toMatchObject({ in_flight: 1, tokens_reserved: promptTokens + 100 });
    client.abort();
    await answer;
    await eventually(() => mock.stats().aborted === 1);
    expect(mock.stats()).toMatchObject({ in_flight: 0, tokens_used: promptTokens });
  });

  test("a cut ends a stream in the middle, and costs what was sent", async () => {
    const mock = start({ cutRate: 1, outputFraction: 1, tokensPerChunk: 10 });
    const response = await post(mock, chat, { ...hello, stream: true });
    const reader = response.body!.getReader();
    let text = "";
    const readAll = async (): Promise<void> => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        text += new TextDecoder().decode(value);
      }
    };
    expect(await failure(readAll())).toBe("ECONNRESET");
    expect(text.match(/"content":"[^"]/g)).toHaveLength(5);
    expect(text).not.toContain("[DONE]");
    expect(mock.stats()).toMatchObject({
      cuts_injected: 1,
      aborted: 0,
      in_flight: 0,
      tokens_used: promptTokens + 50,
    });
    expect((await post(mock, chat, hello)).status).toBe(200);
    expect(mock.stats().cuts_injected).toBe(1);
  });

  test("scripted resets, stalls and cuts", async () => {
    const mock = start({ outputFraction: 1 });
    mock.fault({ kind: "reset" });
    expect(await failure(post(mock, chat, hello))).toBe("ECONNRESET");
    mock.fault({ kind: "stall" });
    const client = new AbortController();
    const answer = failure(post(mock, chat, hello, {}, client.signal));
    await eventually(() => mock.stats().scripted === 2);
    client.abort();
    await answer;
    mock.fault({ kind: "cut", headers: { "x-cut": "yes" } });
    const response = await post(mock, chat, { ...hello, stream: true });
    expect(response.headers.get("x-cut")).toBe("yes");
    expect(await failure(response.text())).toBe("ECONNRESET");
    expect(mock.stats()).toMatchObject({ scripted: 2, cuts_injected: 1, admitted: 1 });
  });

  test("shares of faults are drawn apart from errors, and repeat with the seed", async () => {
    const run = async (seed: number): Promise<string> => {
      const rates = { resetRate: 0.2, stallRate: 0.1, cutRate: 0.1, errorRate: 0.1 };
      const { exchange, post } = provider({ ...rates, seed });
      const client = new AbortController();
      const answers = Array.from({ length: 400 }, () =>
        post(chat, { ...hello, stream: true }, { signal: client.signal }),
      );
      await eventually(() => {
        const { by_status, resets_injected, stalls_injected } = exchange.stats();
        const answered = (by_status["200"] ?? 0) + (by_status["500"] ?? 0);
        return answered + resets_injected + stalls_injected === answers.length;
      });
      client.abort();
      await Promise.all(answers);
      const { resets_injected, stalls_injected, cuts_injected, errors_injected } = exchange.stats();
      return [resets_injected, stalls_injected, cuts_injected, errors_injected].join();
    };
    const first = await run(1);
    expect(first).toBe(await run(1));
    expect(first).not.toBe(await run(2));
    const [resets, stalls, cuts, errors] = first.split(",").map(Number);
    expect(resets).toBeWithin(50, 110);
    expect(stalls).toBeWithin(20, 65);
    expect(cuts).toBeWithin(20, 65);
    expect(errors).toBeWithin(10, 45);
  });
});
