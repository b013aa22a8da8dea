import { describe, expect, test } from "bun:test";
import type { ManualClock } from "./manual-clock.ts";
import { chat, hello, promptTokens, provider } from "./provider.ts";
import { chunks as events } from "./sse.ts";

async function drain(response: Promise<Response>, clock: ManualClock): Promise<string> {
  const text = response.then((answer) => answer.text());
  await clock.advance(60_000);
  return text;
}

describe("chat completions", () => {
  test("answer with usage that agrees with the text and the reservation", async () => {
    const { exchange, post } = provider({ outputFraction: 0.25 });
    const response = await post(chat, hello);
    expect(response.status).toBe(200);
    const answer: any = await response.json();
    expect(answer).toMatchObject({
      id: "chatcmpl-mock-0",
      object: "chat.completion",
      model: "llama3.1-8b",
      usage: {
        prompt_tokens: promptTokens,
        completion_tokens: 25,
        total_tokens: promptTokens + 25,
      },
    });
    expect(answer.choices[0]).toMatchObject({
      index: 0,
      finish_reason: "stop",
      message: { role: "assistant" },
    });
    expect(answer.choices[0].message.content.split(" ")).toHaveLength(25);
    expect(exchange.stats()).toMatchObject({
      requests: 1,
      admitted: 1,
      in_flight: 0,
      by_status: { 200: 1 },
      tokens_used: promptTokens + 25,
      tokens_reserved: 0,
      tokens_reserved_peak: promptTokens + 100,
    });
  });

  test("an answer as long as its bound ends with length", async () => {
    const answer: any = await (await provider({ outputFraction: 1 }).post(chat, hello)).json();
    expect(answer.choices[0].finish_reason).toBe("length");
  });

  test("a stream is server-sent events with the usage in its last chunk", async () => {
    const { clock, exchange, post } = provider({ outputFraction: 0.5, tokensPerChunk: 20 });
    const response = post(chat, { ...hello, stream: true });
    expect((await response).headers.get("content-type")).toBe("text/event-stream");
    const chunks = events(await drain(response, clock));
    expect(chunks).toHaveLength(1 + 3 + 1);
    expect(chunks[0].choices[0]).toEqual({
      index: 0,
      delta: { role: "assistant", content: "" },
      finish_reason: null,
    });
    expect(
      chunks
        .map((chunk) => chunk.choices[0].delta.content ?? "")
        .join("")
        .split(" "),
    ).toHaveLength(50);
    expect(chunks.at(-1)).toMatchObject({
      object: "chat.completion.chunk",
      choices: [{ delta: {}, finish_reason: "stop" }],
      usage: { prompt_tokens: promptTokens, completion_tokens: 50 },
    });
    expect(exchange.stats()).toMatchObject({
      in_flight: 0,
      aborted: 0,
      tokens_used: promptTokens + 50,
    });
  });

  test.each([
    ["asked", true, 1],
    ["asked", false, 0],
    ["never", true, 0],
  ] as const)(
    "stream usage %s, include_usage %p: %d chunks with usage",
    async (streamUsage, include, count) => {
      const { clock, post } = provider({ outputFraction: 0.2, streamUsage });
      const body = { ...hello, stream: true, stream_options: { include_usage: include } };
      const chunks = events(await drain(post(chat, body), clock));
      expect(chunks.filter((chunk) => chunk.usage)).toHaveLength(count);
      if (count === 1) expect(chunks.at(-1).choices).toEqual([]);
    },
  );

  test("chunks come at their interval, and the reservation is held until the last", async () => {
    const options = { outputFraction: 0.4, tokensPerChunk: 20, chunkIntervalMs: 50, tpm: 1000 };
    const { clock, exchange, post } = provider(options);
    const reader = (await post(chat, { ...hello, stream: true })).body!.getReader();
    await reader.read();
    const second = reader.read();
    await clock.advance(49);
    expect(exchange.stats().tokens_reserved).toBe(promptTokens + 100);
    await clock.advance(1);
    expect(new TextDecoder().decode((await second).value)).toContain('"content":"the way');
    const rest = Promise.all([reader.read(), reader.read()]);
    await clock.advance(100);
    await rest;
    expect(exchange.stats()).toMatchObject({ tokens_reserved: 0, tokens_used: promptTokens + 40 });
  });

  test("without a bound the assumed output is reserved", async () => {
    const { exchange, post } = provider({ assumedOutputTokens: 700 });
    await post(
      chat,
      { ...hello, max_completion_tokens: undefined },
      { headers: { "x-mock-output-tokens": "900" } },
    );
    expect(exchange.stats()).toMatchObject({
      tokens_reserved_peak: promptTokens + 700,
      tokens_used: promptTokens + 900,
    });
  });

  test.each([
    ["{", 400, "could not parse"],
    ["[]", 400, "JSON object"],
    ['{"messages":[]}', 400, "model"],
    ['{"model":"m"}', 400, "messages"],
  ])("a body of %s is %d and costs nothing", async (body, status, words) => {
    const { exchange, post } = provider();
    const response = await post(chat, body);
    expect(response.status).toBe(status);
    const { error }: any = await response.json();
    expect(error).toMatchObject({ type: "invalid_request_error" });
    expect(error.message).toContain(words);
    expect(exchange.stats()).toMatchObject({ requests: 1, admitted: 0, in_flight: 0 });
  });
});

describe("the other routes", () => {
  test("completions, whole and streamed", async () => {
    const { clock, post } = provider({ outputFraction: 0.5 });
    const body = { model: "m", prompt: "one two", max_tokens: 10 };
    expect(await (await post("/v1/completions", body)).json()).toMatchObject({
      object: "text_completion",
      choices: [{ text: "the way of a river" }],
      usage: { prompt_tokens: 2, completion_tokens: 5 },
    });
    const chunks = events(await drain(post("/v1/completions", { ...body, stream: true }), clock));
    expect(chunks.map((chunk) => chunk.choices[0].text).join("")).toBe("the way of a river");
  });

  test("embeddings as numbers and as base64, charged as input alone", async () => {
    const { exchange, post } = provider();
    const body = { model: "m", input: ["one", "two three"], dimensions: 4 };
    const plain: any = await (await post("/v1/embeddings", body)).json();
    expect(plain.data.map(({ embedding }: any) => embedding)).toEqual([
      [0.5, 0.5, 0.5, 0.5],
      [0.5, 0.5, 0.5, 0.5],
    ]);
    const packed: any = await (
      await post("/v1/embeddings", { ...body, encoding_format: "base64" })
    ).json();
    expect(Buffer.from(packed.data[0].embedding, "base64").readFloatLE(0)).toBe(0.5);
    expect(exchange.stats()).toMatchObject({ tokens_used: 6, tokens_reserved_peak: 3 });
    expect((await post("/v1/embeddings", { model: "m" })).status).toBe(400);
    expect((await post("/v1/embeddings", { ...body, dimensions: -1 })).status).toBe(400);
  });

  test("models are free; what is unknown is 404", async () => {
    const { exchange } = provider({ rpm: 1 });
    for (let count = 0; count < 3; count++) {
      const response = await exchange.answer(new Request("http://mock/v1/models"));
      expect(((await response.json()) as any).data[0]).toMatchObject({ object: "model" });
    }
    expect((await exchange.answer(new Request("http://mock/v1/other"))).status).toBe(404);
    expect(exchange.stats()).toMatchObject({
      requests: 4,
      admitted: 0,
      by_status: { 200: 3, 404: 1 },
    });
  });

  test("plain answers any method and path with what it received", async () => {
    const { exchange, post } = provider({ profile: "plain" });
    const response = await post("/any/path?q=%20", "12345", { headers: { "x-a": "b" } });
    expect(await response.json()).toMatchObject({
      method: "POST",
      path: "/any/path?q=%20",
      body_bytes: 5,
      headers: { "x-a": "b" },
    });
    expect(exchange.stats().windows).toEqual([
      { unit: "requests", window: "minute", limit: null, used: 1, peak: 1, peak_reserved: 1 },
    ]);
  });
});
