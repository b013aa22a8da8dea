import { describe, expect, test } from "bun:test";
import { UsageError } from "../../src/errors.ts";
import { readExternalRate } from "../../src/mock/external-load.ts";
import type { MockOptions } from "../../src/mock/options.ts";
import type { MockStats } from "../../src/mock/tally.ts";
import { chat, hello, provider } from "./provider.ts";
import { eventually, post, start } from "./sockets.ts";

const minute = 60_000;

/** What the external load has come to after `minutes`, begun by one client request. */
async function after(minutes: number, options: MockOptions): Promise<MockStats> {
  const { clock, exchange, post } = provider(options);
  const path = options.profile === "anthropic" ? "/v1/messages" : chat;
  await post(path, { ...hello, max_tokens: 100 });
  await clock.advance(minutes * minute);
  exchange.stop();
  return exchange.stats();
}

const usedTokens = 256 + 256;

describe("external load", () => {
  test("nobody is there until the first request; then a Poisson process of that rate", async () => {
    const { clock, exchange, post } = provider({ externalLoad: 60, rpm: 1000 });
    await clock.advance(10 * minute);
    expect(exchange.stats().external).toEqual({ admitted: 0, refused: 0, tokens: 0 });
    await post(chat, hello);
    const perMinute: number[] = [];
    for (let count = 0; count < 40; count++) {
      const before = exchange.stats().external.admitted;
      await clock.advance(minute);
      perMinute.push(exchange.stats().external.admitted - before);
    }
    const mean = perMinute.reduce((sum, count) => sum + count, 0) / perMinute.length;
    const variance =
      perMinute.reduce((sum, count) => sum + (count - mean) ** 2, 0) / perMinute.length;
    expect(mean).toBeWithin(56, 65);
    // Of a Poisson process the variance is the mean; an even or a bursty one is far from it.
    expect(variance / mean).toBeWithin(0.5, 1.8);
    expect(exchange.stats()).toMatchObject({ requests: 1, admitted: 1 });
    const { admitted, tokens } = exchange.stats().external;
    expect(tokens / admitted).toBeWithin(usedTokens * 0.95, usedTokens * 1.05);
    exchange.stop();
    await clock.advance(minute);
    expect(exchange.stats().external.admitted).toBe(admitted);
  });

  test.each<[string, MockOptions, number]>([
    ["of requests, where they are the tightest", { rpm: 100, tpm: 1_000_000 }, 20],
    ["of tokens, where they are", { rpm: 1000, tpm: 100 * usedTokens }, 20],
    [
      "of what is reserved, where that stays counted",
      { profile: "openai", rpm: 0, tpm: 51_200 },
      20,
    ],
    [
      "of output tokens",
      { profile: "anthropic", output_tpm: 25_600, algorithm: "sliding_window" },
      20,
    ],
    ["of requests alone", { profile: "plain", rpm: 100 }, 20],
    ["of the day, where that is all there is", { profile: "plain", rpd: 144_000 }, 20],
  ])("20%% %s", async (_, options, expected) => {
    const { external } = await after(20, { externalLoad: "20%", ...options });
    expect((external.admitted + external.refused) / 20).toBeWithin(
      expected * 0.85,
      expected * 1.15,
    );
  });

  test("consumes the same limits: who comes on top is refused, on both sides", async () => {
    const stats = await after(5, { externalLoad: 300, rpm: 60, algorithm: "sliding_window" });
    expect(stats.external.refused).toBeGreaterThan(500);
    expect(stats.windows[0]).toMatchObject({ unit: "requests", limit: 60, peak: 60 });
    expect(stats).toMatchObject({ rejected_429: 0, admitted: 1 });
    const { clock, exchange, post } = provider({ externalLoad: 600, rpm: 60 });
    await post(chat, hello);
    await clock.advance(minute);
    const statuses = await Promise.all(Array.from({ length: 5 }, () => post(chat, hello)));
    expect(statuses.filter(({ status }) => status === 429).length).toBeGreaterThan(2);
    expect(exchange.log(Infinity).filter(({ external }) => external).length).toBeGreaterThan(50);
    expect(exchange.log(1)[0]?.tokens).toBeGreaterThan(0);
  });

  test("repeats with the seed", async () => {
    const run = async (seed: number): Promise<string> =>
      JSON.stringify((await after(3, { externalLoad: 50, seed })).external);
    expect(await run(1)).toBe(await run(1));
    expect(await run(1)).not.toBe(await run(2));
  });

  test("goes on through a reset in new books, and follows changed limits", async () => {
    const { clock, exchange, post } = provider({ externalLoad: "50%", rpm: 60, latencyMs: 500 });
    const answer = post(chat, hello);
    await clock.advance(minute);
    await answer;
    exchange.reset();
    expect(exchange.stats().external.admitted).toBe(0);
    exchange.setLimits({ rpm: 600 });
    await clock.advance(5 * minute);
    expect(exchange.stats().external.admitted / 5).toBeWithin(250, 350);
    exchange.setLimits({ rpm: 0, rpd: 0, tpm: 0, total_tpm: 0 });
    await clock.advance(minute);
    const { admitted } = exchange.stats().external;
    await clock.advance(minute);
    expect(exchange.stats().external.admitted).toBe(admitted);
    exchange.setLimits({ rpm: 60 });
    await clock.advance(minute);
    expect(exchange.stats().external.admitted).toBeGreaterThan(admitted);
  });

  test("runs on the wall clock behind a socket, and ends with it", async () => {
    const mock = start({ externalLoad: 100, windowMs: 100, rpm: 1000 });
    await post(mock, chat, hello);
    await eventually(() => mock.stats().external.admitted >= 20);
    await mock.stop();
    const { admitted } = mock.stats().external;
    await new Promise((resolve) => setImmediate(resolve));
    expect(mock.stats().external.admitted).toBe(admitted);
  });

  test.each([
    ["20", { kind: "requests", perMinute: 20 }],
    [1.5, { kind: "requests", perMinute: 1.5 }],
    ["12.5%", { kind: "share", share: 0.125 }],
  ])("reads %p", (text, rate) => expect(readExternalRate(text)).toEqual(rate as never));

  test.each(["", "many", "-5", "20 %", "%"])("refuses %p", (text) =>
    expect(() => readExternalRate(text)).toThrow(UsageError),
  );
});
