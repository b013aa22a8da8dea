import { describe, expect, test } from "bun:test";
import { chat, hello, promptTokens, provider } from "./provider.ts";

describe("refusals", () => {
  test("requests over the limit: Cerebras's body, headers and Retry-After", async () => {
    const { clock, exchange, post } = provider({ rpm: 2, outputFraction: 0 });
    await post(chat, hello);
    await post(chat, hello);
    await clock.advance(5_000);
    const response = await post(chat, hello);
    expect(response.status).toBe(429);
    expect(await response.json()).toEqual({
      message: "Requests per minute limit exceeded - too many requests sent.",
      type: "too_many_requests_error",
      param: "quota",
      code: "request_quota_exceeded",
    });
    expect(response.headers.get("retry-after")).toBe("25");
    expect(response.headers.get("x-ratelimit-limit-requests-minute")).toBe("2");
    expect(response.headers.get("x-ratelimit-remaining-requests-minute")).toBe("0");
    expect(Number(response.headers.get("x-ratelimit-reset-requests-minute"))).toBeCloseTo(55, 6);
    expect(response.headers.get("x-ratelimit-limit-requests-day")).toBe("1440000");
    expect(response.headers.get("x-ratelimit-remaining-tokens-minute")).not.toBeNull();
    expect(exchange.stats()).toMatchObject({
      requests: 3,
      admitted: 2,
      rejected_429: 1,
      by_status: { 200: 2, 429: 1 },
    });
    await clock.advance(25_000);
    expect((await post(chat, hello)).status).toBe(200);
  });

  test("tokens over the limit are refused by what would be reserved", async () => {
    const { post } = provider({
      tpm: promptTokens + 100,
      outputFraction: 1,
      algorithm: "sliding_window",
    });
    expect((await post(chat, hello)).status).toBe(200);
    const response = await post(chat, { ...hello, max_completion_tokens: 1 });
    expect(await response.json()).toMatchObject({ code: "token_quota_exceeded" });
    expect(response.headers.get("retry-after")).toBe("60");
  });

  test("more than the whole limit names no time to retry", async () => {
    const response = await provider({ tpm: 50 }).post(chat, hello);
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBeNull();
  });

  test("what was not used comes back at the end of the answer", async () => {
    const { post } = provider({
      tpm: 2 * (promptTokens + 100) - 75,
      outputFraction: 0.25,
      algorithm: "sliding_window",
    });
    expect((await post(chat, hello)).status).toBe(200);
    expect((await post(chat, hello)).status).toBe(200);
    expect((await post(chat, hello)).status).toBe(429);
  });
});

describe("when a request is counted", () => {
  test("at random: within its latency, so refusals and counts are spread over it", async () => {
    const { clock, exchange, post } = provider({
      latencyMs: 225,
      jitterMs: 175,
      countAt: "random",
      rpm: 30,
      algorithm: "sliding_window",
    });
    const start = clock.now();
    const answers = Array.from({ length: 60 }, () => post(chat, hello));
    await clock.advance(0);
    expect(exchange.stats()).toMatchObject({ requests: 60, admitted: 0, in_flight: 60 });
    await clock.advance(400);
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(30);
    const times = exchange.log(100).map(({ at }) => at - start);
    expect(Math.min(...times)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...times)).toBeLessThan(400);
    expect(new Set(times).size).toBe(30);
    expect(exchange.stats().windows[0]).toMatchObject({ limit: 30, peak: 30 });
  });

  test("latencies, lengths and errors repeat with the seed", async () => {
    const run = async (seed: number): Promise<string> => {
      const { clock, exchange, post } = provider({
        seed,
        latencyMs: 100,
        jitterMs: 100,
        errorRate: 0.2,
        errorStatus: 503,
      });
      const answers = Array.from({ length: 50 }, () => post(chat, hello));
      await clock.advance(200);
      await Promise.all(answers);
      return JSON.stringify([exchange.stats().by_status, exchange.stats().tokens_used]);
    };
    expect(await run(1)).toBe(await run(1));
    expect(await run(1)).not.toBe(await run(2));
  });
});

describe("errors and aborts", () => {
  test("an injected error costs its request, not its tokens", async () => {
    const { exchange, post } = provider({ errorRate: 1, errorStatus: 503, rpm: 1 });
    const response = await post(chat, hello);
    expect(response.status).toBe(503);
    expect(response.headers.get("x-ratelimit-remaining-requests-minute")).toBe("0");
    expect(await response.json()).toMatchObject({ error: { type: "server_error" } });
    expect((await post(chat, hello)).status).toBe(429);
    expect(exchange.stats()).toMatchObject({
      errors_injected: 1,
      tokens_used: 0,
      tokens_reserved: 0,
    });
  });

  test("an abort while waiting is charged for the share that was made", async () => {
    const { clock, exchange, post } = provider({ latencyMs: 1000, outputFraction: 1 });
    const client = new AbortController();
    const answer = post(chat, hello, { signal: client.signal });
    await clock.advance(300);
    client.abort();
    await answer;
    expect(exchange.stats()).toMatchObject({
      aborted: 1,
      in_flight: 0,
      tokens_reserved: 0,
      tokens_used: promptTokens + 30,
    });
    expect(exchange.stats().by_status).toEqual({});
  });

  test("an abort before the count does not take the request back", async () => {
    const { clock, exchange, post } = provider({ latencyMs: 1000, countAt: "random" });
    const client = new AbortController();
    const answer = post(chat, hello, { signal: client.signal });
    await clock.advance(0);
    client.abort();
    await clock.advance(1000);
    await answer;
    expect(exchange.stats()).toMatchObject({ admitted: 1, aborted: 1, in_flight: 0 });
  });

  test.each(["signal", "cancel"] as const)(
    "a stream left by %s is charged for what was sent",
    async (by) => {
      const { clock, exchange, post } = provider({
        outputFraction: 1,
        tokensPerChunk: 10,
        chunkIntervalMs: 100,
      });
      const client = new AbortController();
      const response = await post(chat, { ...hello, stream: true }, { signal: client.signal });
      const reader = response.body!.getReader();
      await reader.read();
      const second = reader.read();
      await clock.advance(100);
      await second;
      if (by === "signal") client.abort();
      else await reader.cancel();
      expect(exchange.stats()).toMatchObject({
        aborted: 1,
        in_flight: 0,
        tokens_reserved: 0,
        tokens_used: promptTokens + 10,
        by_status: { 200: 1 },
      });
    },
  );

  test("hints decide about one request", async () => {
    const { clock, exchange, post } = provider();
    const headers = {
      "x-mock-prompt-tokens": "1200",
      "x-mock-output-tokens": "30",
      "x-mock-latency": "2s",
      "x-mock-status": "201",
    };
    const answer = post(chat, hello, { headers });
    await clock.advance(1999);
    expect(exchange.stats().in_flight).toBe(1);
    await clock.advance(1);
    expect((await answer).status).toBe(201);
    expect(exchange.stats()).toMatchObject({ tokens_used: 1230, tokens_reserved_peak: 1300 });
    expect((await post(chat, hello, { headers: { "x-mock-latency": "soon" } })).status).toBe(400);
    const failed = await post(chat, hello, { headers: { "x-mock-status": "529" } });
    expect(failed.status).toBe(529);
    const empty = await post(chat, hello, { headers: { "x-mock-status": "204" } });
    expect(await empty.text()).toBe("");
  });
});

describe("stats", () => {
  test("the timeline counts seconds from the first admitted request and forgets after 600", async () => {
    const { clock, exchange, post } = provider({ profile: "plain" });
    await clock.advance(12_345);
    for (const waitMs of [0, 900, 200, 58_900, 600_000]) {
      await clock.advance(waitMs);
      await post("/", "");
    }
    expect(exchange.stats().timeline).toEqual([{ second: 660, admitted: 1 }]);
    exchange.reset();
    for (const waitMs of [0, 900, 200, 58_900]) {
      await clock.advance(waitMs);
      await post("/", "");
    }
    expect(exchange.stats().timeline).toEqual([
      { second: 0, admitted: 2 },
      { second: 1, admitted: 1 },
      { second: 60, admitted: 1 },
    ]);
  });

  test("a reset fills the quota up; calls in flight end in the old books", async () => {
    const { clock, exchange, post } = provider({ rpm: 1, latencyMs: 100 });
    const before = post(chat, hello);
    await clock.advance(50);
    exchange.reset();
    const after = post(chat, hello);
    await clock.advance(100);
    expect((await before).status).toBe(200);
    expect((await after).status).toBe(200);
    expect(exchange.stats()).toMatchObject({
      requests: 1,
      admitted: 1,
      in_flight: 0,
      peak_in_flight: 1,
    });
  });
});
