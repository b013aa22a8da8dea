import { describe, expect, test } from "bun:test";
import type { Unit } from "../../src/mock/limit.ts";
import { provider } from "./provider.ts";
import { post, start } from "./sockets.ts";
import { namedEvents } from "./sse.ts";

const path = "/v1/messages";
const hello = {
  model: "claude-sonnet-4-6",
  max_tokens: 100,
  messages: [{ role: "user", content: "Hello, world!" }],
};

describe("anthropic on a socket", () => {
  test("a message, with what was read from the cache apart", async () => {
    const mock = start({ profile: "anthropic" });
    const hints = { "x-mock-output-tokens": "3", "x-mock-cached-tokens": "4" };
    const response = await post(mock, path, { ...hello, system: "one two" }, hints);
    expect(response.headers.get("request-id")).toBe("req_mock_0");
    expect(await response.json()).toEqual({
      id: "msg_mock_0",
      type: "message",
      role: "assistant",
      model: "claude-sonnet-4-6",
      content: [{ type: "text", text: "the way of" }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: {
        input_tokens: 17 - 4,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 4,
        output_tokens: 3,
        service_tier: "standard",
      },
    });
  });

  test("a stream: its events in order, usage at both ends", async () => {
    const mock = start({ profile: "anthropic" });
    const hints = { "x-mock-output-tokens": "100" };
    const events = namedEvents(
      await (await post(mock, path, { ...hello, stream: true }, hints)).text(),
    );
    expect(events.map(({ type }) => type)).toEqual([
      "message_start",
      "content_block_start",
      "ping",
      ...Array.from({ length: 5 }, () => "content_block_delta"),
      "content_block_stop",
      "message_delta",
      "message_stop",
    ]);
    expect(events[0].message).toMatchObject({
      content: [],
      stop_reason: null,
      usage: { input_tokens: 11, output_tokens: 1 },
    });
    expect(events.at(-2)).toMatchObject({
      delta: { stop_reason: "max_tokens" },
      usage: { output_tokens: 100 },
    });
    const text = events.map(({ delta }) => delta?.text ?? "").join("");
    expect(text.split(" ")).toHaveLength(100);
  });

  test("headers: limits apart and their sum, rounded, with times of day", async () => {
    const mock = start({ profile: "anthropic", rpm: 50, input_tpm: 50_000, output_tpm: 10_000 });
    const { headers } = await post(mock, path, hello, { "x-mock-prompt-tokens": "2400" });
    expect(Object.fromEntries(headers)).toMatchObject({
      "anthropic-ratelimit-requests-limit": "50",
      "anthropic-ratelimit-requests-remaining": "49",
      "anthropic-ratelimit-input-tokens-limit": "50000",
      "anthropic-ratelimit-input-tokens-remaining": "48000",
      "anthropic-ratelimit-output-tokens-limit": "10000",
      "anthropic-ratelimit-output-tokens-remaining": "10000",
      "anthropic-ratelimit-tokens-limit": "60000",
      "anthropic-ratelimit-tokens-remaining": "58000",
    });
    const reset = headers.get("anthropic-ratelimit-input-tokens-reset") ?? "";
    expect(reset).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(Date.parse(reset) - Date.now()).toBeWithin(1500, 4000);
  });

  test("counting tokens and the list of models cost nothing", async () => {
    const mock = start({ profile: "anthropic", rpm: 1 });
    for (let count = 0; count < 3; count++) {
      const counted = await post(mock, `${path}/count_tokens`, hello);
      expect(await counted.json()).toEqual({ input_tokens: 11 });
    }
    const models: any = await (await fetch(`${mock.url}/v1/models`)).json();
    expect(models.data[0]).toMatchObject({ type: "model" });
    expect(mock.stats().admitted).toBe(0);
  });

  test.each([
    [path, { ...hello, max_tokens: undefined }, 400, "invalid_request_error", "max_tokens"],
    [path, { ...hello, messages: [] }, 400, "invalid_request_error", "messages"],
    [`${path}/count_tokens`, { model: "m" }, 400, "invalid_request_error", "messages"],
    ["/v1/complete", hello, 404, "not_found_error", "Not Found"],
  ])("%s refuses what it cannot read: %#", async (at, body, status, type, words) => {
    const mock = start({ profile: "anthropic" });
    const response = await post(mock, at, body);
    expect(response.status).toBe(status);
    const answer: any = await response.json();
    expect(answer).toMatchObject({ type: "error", error: { type }, request_id: "req_mock_0" });
    expect(answer.error.message).toContain(words);
    expect(response.headers.get("request-id")).toBe("req_mock_0");
  });

  test.each([
    [529, "overloaded_error"],
    [500, "api_error"],
    [413, "request_too_large"],
    [418, "invalid_request_error"],
  ])("an injected %d is %s", async (errorStatus, type) => {
    const mock = start({ profile: "anthropic", errorRate: 1, errorStatus });
    const response = await post(mock, path, hello);
    expect(response.status).toBe(errorStatus);
    expect(await response.json()).toMatchObject({ type: "error", error: { type } });
  });

  test("an account without credit", async () => {
    const mock = start({ profile: "anthropic", insufficientQuota: true });
    const response = await post(mock, path, hello);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error" } });
  });
});

describe("what anthropic counts", () => {
  const used = ({ exchange }: ReturnType<typeof provider>, unit: Unit): number | undefined =>
    exchange.stats().windows.find((window) => window.unit === unit)?.used;

  test("input apart from output, cache reads free, max_tokens not at all", async () => {
    const simulated = provider({ profile: "anthropic" });
    const headers = {
      "x-mock-prompt-tokens": "500",
      "x-mock-cached-tokens": "400",
      "x-mock-output-tokens": "30",
    };
    await simulated.post(path, { ...hello, max_tokens: 64_000 }, { headers });
    expect(used(simulated, "requests")).toBe(1);
    expect(used(simulated, "input_tokens")).toBe(100);
    expect(used(simulated, "output_tokens")).toBe(30);
    expect(simulated.exchange.stats()).toMatchObject({ tokens_used: 530, tokens_reserved: 0 });
  });

  test("output counts as it is produced, and calls are refused once there is no room for any", async () => {
    const simulated = provider({
      profile: "anthropic",
      output_tpm: 60,
      chunkIntervalMs: 1000,
      tokensPerChunk: 30,
      algorithm: "sliding_window",
    });
    const { clock, post } = simulated;
    const headers = { "x-mock-output-tokens": "90" };
    const reader = (await post(path, { ...hello, stream: true }, { headers })).body!.getReader();
    const produced: (number | undefined)[] = [];
    for (let frame = 0; frame < 3; frame++) {
      const read = reader.read();
      await clock.advance(1000);
      await read;
      produced.push(used(simulated, "output_tokens"));
    }
    expect(produced).toEqual([0, 30, 60]);
    const refused = await post(path, hello);
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("58");
    expect(refused.headers.get("anthropic-ratelimit-output-tokens-remaining")).toBe("0");
    const { error }: any = await refused.json();
    expect(error.type).toBe("rate_limit_error");
    expect(error.message).toContain("rate limit of 60 output tokens per minute");
    const rest = reader.read();
    await clock.advance(1000);
    await rest;
    expect(used(simulated, "output_tokens")).toBe(90);
    await reader.cancel();
    expect(used(simulated, "output_tokens")).toBe(90);
  });

  test("a refusal of input tokens", async () => {
    const { post } = provider({ profile: "anthropic", input_tpm: 30_000 });
    const headers = { "x-mock-prompt-tokens": "20000" };
    await post(path, hello, { headers });
    const refused = await post(path, hello, { headers });
    expect(refused.headers.get("retry-after")).toBe("20");
    const answer: any = await refused.json();
    expect(answer).toMatchObject({ type: "error", request_id: "req_mock_1" });
    expect(answer.error.message).toContain(
      "rate limit of 30,000 input tokens per minute (org: org_mock, model: claude-sonnet-4-6)",
    );
  });
});
