import { describe, expect, test } from "bun:test";
import { chat, hello, promptTokens, provider } from "./provider.ts";
import { post, start } from "./sockets.ts";
import { chunks } from "./sse.ts";

const path = "/openai/v1/chat/completions";

describe("groq on a socket", () => {
  test("speaks under its own path and under /v1", async () => {
    const mock = start({ profile: "groq" });
    const headers = { "x-mock-output-tokens": "5" };
    const answer: any = await (await post(mock, path, hello, headers)).json();
    expect(answer).toMatchObject({
      object: "chat.completion",
      usage: { prompt_tokens: promptTokens, completion_tokens: 5 },
      x_groq: { id: "req_mock_0" },
    });
    expect(answer.x_groq.usage).toBeUndefined();
    expect((await post(mock, chat, hello)).status).toBe(200);
    expect((await fetch(`${mock.url}/openai/v1/models`)).status).toBe(200);
    expect((await post(mock, "/openai/chat/completions", hello)).status).toBe(404);
  });

  test.each([false, true])(
    "streams tell their usage in x_groq; include_usage %p",
    async (asked) => {
      const mock = start({ profile: "groq" });
      const body = { ...hello, stream: true, stream_options: { include_usage: asked } };
      const hints = { "x-mock-output-tokens": "30" };
      const events = chunks(await (await post(mock, path, body, hints)).text());
      expect(events[0].x_groq).toEqual({ id: "req_mock_0" });
      const last = events.filter(({ choices }) => choices.length > 0).at(-1);
      expect(last).toMatchObject({
        choices: [{ finish_reason: "stop" }],
        x_groq: { id: "req_mock_0", usage: { completion_tokens: 30 } },
      });
      expect(events.filter(({ usage }) => usage)).toHaveLength(asked ? 1 : 0);
    },
  );

  test("headers: requests of the day, tokens of the minute", async () => {
    const mock = start({ profile: "groq", rpd: 1000, tpm: 8000 });
    const { headers } = await post(mock, path, { ...hello, max_completion_tokens: 800 });
    expect(headers.get("x-ratelimit-limit-requests")).toBe("1000");
    expect(headers.get("x-ratelimit-remaining-requests")).toBe("999");
    expect(headers.get("x-ratelimit-reset-requests")).toMatch(/^1m(26|27)(\.\d+)?s$/);
    expect(headers.get("x-ratelimit-limit-tokens")).toBe("8000");
    expect(headers.get("retry-after")).toBeNull();
  });
});

describe("what groq counts", () => {
  test("the input and the bound, revised to what was used, cached input left out", async () => {
    const { clock, exchange, post } = provider({ profile: "groq", latencyMs: 1000 });
    const headers = {
      "x-mock-prompt-tokens": "500",
      "x-mock-cached-tokens": "400",
      "x-mock-output-tokens": "50",
    };
    const answer = post(chat, hello, { headers });
    await clock.advance(0);
    const used = (): unknown =>
      exchange.stats().windows.find(({ unit }) => unit === "tokens")?.used;
    expect(used()).toBe(600);
    await clock.advance(1000);
    expect(await (await answer).json()).toMatchObject({
      usage: { prompt_tokens: 500, prompt_tokens_details: { cached_tokens: 400 } },
    });
    expect(used()).toBe(150);
    expect(exchange.stats().tokens_used).toBe(550);
  });

  test("429 in its words, with the wait in whole seconds", async () => {
    const { post } = provider({ profile: "groq", tpm: 15_000, rpm: 0 });
    await post(
      chat,
      { ...hello, max_tokens: 11_972 - promptTokens },
      { headers: { "x-mock-output-tokens": "11961" } },
    );
    const refused = await post(chat, { ...hello, max_tokens: 4351 - promptTokens });
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("6");
    expect(await refused.json()).toEqual({
      error: {
        message:
          "Rate limit reached for model `llama3.1-8b` in organization `org_mock` service tier `on_demand` on tokens per minute (TPM): Limit 15000, Used 11972, Requested 4351. Please try again in 5.292s. Need more tokens? Upgrade to Dev Tier today at https://console.groq.com/settings/billing",
        type: "tokens",
        code: "rate_limit_exceeded",
      },
    });
  });

  test("one call over the whole of a limit is 413", async () => {
    const { exchange, post } = provider({ profile: "groq" });
    const response = await post(chat, { ...hello, max_tokens: 32_000 });
    expect(response.status).toBe(413);
    expect(response.headers.get("retry-after")).toBeNull();
    const { error }: any = await response.json();
    expect(error.message).toContain("Limit 6000, Requested 32011, please reduce your message size");
    expect(exchange.stats()).toMatchObject({ rejected_429: 1, by_status: { 413: 1 } });
  });

  test("requests by the minute and the day", async () => {
    const { clock, post } = provider({ profile: "groq", rpd: 3, rpm: 2 });
    const status = async (): Promise<number> => (await post(chat, hello)).status;
    expect([await status(), await status(), await status()]).toEqual([200, 200, 429]);
    await clock.advance(30_000);
    expect(await status()).toBe(200);
    await clock.advance(60_000);
    const refused: any = await (await post(chat, hello)).json();
    expect(refused.error.message).toContain("requests per day (RPD): Limit 3, Used 3");
    expect(refused.error.type).toBe("requests");
  });
});
