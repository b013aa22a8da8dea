import { describe, expect, test } from "bun:test";
import { goDuration } from "../../src/mock/duration.ts";
import { chat, provider } from "./provider.ts";
import { post, start } from "./sockets.ts";
import { chunks, namedEvents } from "./sse.ts";

const hello = { model: "gpt-4o", messages: [{ role: "user", content: "Hello, world!" }] };

describe("openai on a socket", () => {
  test("headers: requests and tokens with Go durations, and the id of the request", async () => {
    const mock = start({ profile: "openai", rpm: 60, tpm: 60_000 });
    const response = await post(mock, chat, { ...hello, max_completion_tokens: 1000 });
    expect(response.status).toBe(200);
    const headers = Object.fromEntries(response.headers);
    expect(headers).toMatchObject({
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "59",
      "x-ratelimit-limit-tokens": "60000",
      "x-request-id": "req_mock_0",
    });
    expect(headers["x-ratelimit-reset-requests"]).toMatch(/^(1s|9\d\dms)$/);
    expect(headers["x-ratelimit-reset-tokens"]).toMatch(/^(1s|9\d\dms)$/);
    expect(Number(headers["x-ratelimit-remaining-tokens"])).toBeWithin(59_000, 59_100);
  });

  test.each([
    [undefined, 0, false],
    [{ include_usage: false }, 0, false],
    [{ include_usage: true }, 1, true],
  ])("stream_options %j: %d chunks tell the usage", async (options, count, hasNulls) => {
    const mock = start({ profile: "openai" });
    const body = { ...hello, stream: true, stream_options: options };
    const hints = { "x-mock-output-tokens": "50", "x-mock-cached-tokens": "6" };
    const events = chunks(await (await post(mock, chat, body, hints)).text());
    expect(events.filter(({ usage }) => usage)).toHaveLength(count);
    expect("usage" in events[0]).toBe(hasNulls);
    if (count === 0) return;
    expect(events.at(-1)).toMatchObject({
      choices: [],
      usage: {
        prompt_tokens: 11,
        completion_tokens: 50,
        prompt_tokens_details: { cached_tokens: 6 },
      },
    });
  });

  test("the Responses API, whole", async () => {
    const mock = start({ profile: "openai" });
    const body = {
      model: "gpt-4.1",
      input: "one two",
      instructions: "be brief",
      max_output_tokens: 9,
    };
    const hints = { "x-mock-output-tokens": "4", "x-mock-cached-tokens": "2" };
    const answer: any = await (await post(mock, "/v1/responses", body, hints)).json();
    expect(answer).toMatchObject({
      id: "resp_mock_0",
      object: "response",
      status: "completed",
      incomplete_details: null,
      max_output_tokens: 9,
      output: [
        {
          type: "message",
          role: "assistant",
          content: [{ type: "output_text", text: "the way of a" }],
        },
      ],
      usage: {
        input_tokens: 4,
        input_tokens_details: { cached_tokens: 2 },
        output_tokens: 4,
        total_tokens: 8,
      },
    });
    expect((await post(mock, "/v1/responses", { model: "m" })).status).toBe(400);
  });

  test("the Responses API, streamed: named events in order, the last with the usage", async () => {
    const mock = start({ profile: "openai" });
    const input = [{ role: "user", content: [{ type: "input_text", text: "one two" }] }];
    const body = { model: "gpt-4.1", input, stream: true, max_output_tokens: 50 };
    const hints = { "x-mock-output-tokens": "50" };
    const events = namedEvents(await (await post(mock, "/v1/responses", body, hints)).text());
    expect(events.map(({ type }) => type)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      ...Array.from({ length: 3 }, () => "response.output_text.delta"),
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.incomplete",
    ]);
    expect(events.map(({ sequence_number: number }) => number)).toEqual(events.map((_, i) => i));
    const text = events.map(({ type, delta }) => (type.endsWith(".delta") ? delta : "")).join("");
    expect(events.at(-1).response).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output: [{ content: [{ text }] }],
      usage: { input_tokens: 9, output_tokens: 50, total_tokens: 59 },
    });
  });

  test("an account without credit", async () => {
    const mock = start({ profile: "openai", insufficientQuota: true });
    const response = await post(mock, chat, hello);
    expect(response.status).toBe(429);
    expect(await response.json()).toMatchObject({
      error: { type: "insufficient_quota", code: "insufficient_quota", param: null },
    });
    expect(response.headers.get("retry-after")).toBeNull();
    expect(mock.stats()).toMatchObject({ admitted: 0, rejected_429: 0, by_status: { 429: 1 } });
  });
});

describe("what openai counts", () => {
  test.each([
    ["max_completion_tokens", { max_completion_tokens: 1000 }, 1000],
    [
      "max_tokens, the smaller of two fields ignored",
      { max_tokens: 7, max_completion_tokens: 90 },
      90,
    ],
    [
      "the prompt's characters, where they are more",
      { max_tokens: 1, messages: [{ role: "user", content: "x".repeat(400) }] },
      100,
    ],
    ["no bound: little", {}, 16],
  ])("%s", async (_, fields, tokens) => {
    const { exchange, post } = provider({ profile: "openai" });
    await post(chat, { ...hello, ...fields });
    const used = exchange.stats().windows.find(({ unit }) => unit === "tokens")?.used;
    expect(used).toBe(tokens);
  });

  test("what was reserved stays counted, or is revised when told to", async () => {
    const asked = { ...hello, max_completion_tokens: 1000 };
    const headers = { "x-mock-output-tokens": "50", "x-mock-cached-tokens": "4" };
    for (const [settling, used] of [
      ["reserved", 1000],
      ["actual", 61],
    ] as const) {
      const { exchange, post } = provider({ profile: "openai", settling });
      await post(chat, asked, { headers });
      expect(exchange.stats()).toMatchObject({ tokens_used: 61 });
      expect(exchange.stats().windows[1]).toMatchObject({ unit: "tokens", used });
    }
  });

  test("a refusal of tokens: the message's numbers, and when to try again", async () => {
    const { clock, post } = provider({ profile: "openai", tpm: 30_000 });
    await post(chat, { ...hello, max_completion_tokens: 29_937 });
    await clock.advance(0);
    const refused = await post(chat, { ...hello, max_completion_tokens: 385 });
    expect(refused.status).toBe(429);
    expect(await refused.json()).toEqual({
      error: {
        message:
          "Rate limit reached for gpt-4o in organization org-mock on tokens per min (TPM): Limit 30000, Used 29937, Requested 385. Please try again in 644ms. Visit https://platform.openai.com/account/rate-limits to learn more.",
        type: "tokens",
        param: null,
        code: "rate_limit_exceeded",
      },
    });
    expect(refused.headers.get("retry-after-ms")).toBe("644");
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(refused.headers.get("x-ratelimit-remaining-tokens")).toBe("63");
    await clock.advance(643);
    expect((await post(chat, { ...hello, max_completion_tokens: 385 })).status).toBe(429);
    await clock.advance(1);
    expect((await post(chat, { ...hello, max_completion_tokens: 385 })).status).toBe(200);
  });

  test("refused requests count as requests, so trying again at once makes it later", async () => {
    const { clock, exchange, post } = provider({ profile: "openai", rpm: 3 });
    for (let count = 0; count < 3; count++) expect((await post(chat, hello)).status).toBe(200);
    const first: any = await (await post(chat, hello)).json();
    expect(first.error).toMatchObject({ type: "requests" });
    expect(first.error.message).toContain(
      "on requests per min (RPM): Limit 3, Used 4, Requested 1. Please try again in 40s.",
    );
    const second: any = await (await post(chat, hello)).json();
    expect(second.error.message).toContain("try again in 1m0s");
    await clock.advance(60_000);
    expect((await post(chat, hello)).status).toBe(200);
    expect(exchange.stats()).toMatchObject({ admitted: 4, rejected_429: 2 });
  });

  test("a call over the whole limit is told that it is too large", async () => {
    const { post } = provider({ profile: "openai", tpm: 100 });
    const response = await post(chat, { ...hello, max_tokens: 101 });
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after-ms")).toBeNull();
    const { error }: any = await response.json();
    expect(error.message).toStartWith(
      "Request too large for gpt-4o in organization org-mock on tokens per min (TPM): Limit 100, Requested 101. The input",
    );
  });

  test("with a limit by the day, the headers speak of the day's requests", async () => {
    const { post } = provider({ profile: "openai", rpd: 10_000 });
    const { headers } = await post(chat, hello);
    expect(headers.get("x-ratelimit-limit-requests")).toBe("10000");
    expect(headers.get("x-ratelimit-reset-requests")).toBe("8.64s");
  });
});

test.each([
  [0, "0s"],
  [0.2, "1ms"],
  [120, "120ms"],
  [7660, "7.66s"],
  [179_560, "2m59.56s"],
  [360_000, "6m0s"],
  [3_723_004, "1h2m3.004s"],
  [3_600_000, "1h0m0s"],
])("%d ms is %s in Go", (ms, text) => expect(goDuration(ms)).toBe(text));
