import { expect, test } from "bun:test";
import { chat, hello, provider } from "./provider.ts";
import { post, start } from "./sockets.ts";
import { chunks } from "./sse.ts";

const mostlyCached = {
  headers: {
    "x-mock-prompt-tokens": "1000",
    "x-mock-cached-tokens": "900",
    "x-mock-output-tokens": "100",
  },
};

test("two buckets of tokens: computed ones, and all of them at three times the limit", async () => {
  const { exchange, post } = provider({ tpm: 2400, rpm: 0, algorithm: "sliding_window" });
  const statuses: number[] = [];
  for (let count = 0; count < 7; count++)
    statuses.push((await post(chat, hello, mostlyCached)).status);
  expect(statuses).toEqual([200, 200, 200, 200, 200, 200, 429]);
  const used = Object.fromEntries(exchange.stats().windows.map(({ unit, used }) => [unit, used]));
  expect(used).toMatchObject({ tokens: 1200, total_tokens: 6600 });
  expect(await (await post(chat, hello, mostlyCached)).json()).toMatchObject({
    message: "Total tokens per minute limit exceeded - too many tokens processed.",
    type: "too_many_tokens_error",
    code: "token_quota_exceeded",
  });
});

test("the bucket of computed tokens is hit alone where nothing is cached", async () => {
  const { post } = provider({ tpm: 2000, total_tpm: 100_000, rpm: 0, algorithm: "sliding_window" });
  const headers = { "x-mock-prompt-tokens": "1000", "x-mock-output-tokens": "100" };
  expect((await post(chat, hello, { headers })).status).toBe(200);
  expect(await (await post(chat, hello, { headers })).json()).toMatchObject({
    message: "Tokens per minute limit exceeded - too many tokens processed.",
  });
});

test("usage tells the cached tokens, whole and streamed, over a socket", async () => {
  const mock = start();
  const expected = {
    prompt_tokens: 1000,
    completion_tokens: 100,
    total_tokens: 1100,
    prompt_tokens_details: { cached_tokens: 900 },
  };
  const whole: any = await (await post(mock, chat, hello, mostlyCached.headers)).json();
  expect(whole.usage).toEqual(expected);
  const response = await post(mock, chat, { ...hello, stream: true }, mostlyCached.headers);
  expect(chunks(await response.text()).at(-1).usage).toEqual(expected);
  expect(mock.stats().windows.map(({ unit }) => unit)).toEqual([
    "requests",
    "requests",
    "tokens",
    "total_tokens",
  ]);
});
