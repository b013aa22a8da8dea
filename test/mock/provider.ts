import { createExchange } from "../../src/mock/exchange.ts";
import type { Exchange } from "../../src/mock/exchange.ts";
import { resolveOptions } from "../../src/mock/options.ts";
import type { MockOptions } from "../../src/mock/options.ts";
import { manualClock } from "./manual-clock.ts";
import type { ManualClock } from "./manual-clock.ts";

/** A provider without a socket, on a clock that the test moves. */
export interface Provider {
  clock: ManualClock;
  exchange: Exchange;
  post: (
    path: string,
    body: unknown,
    init?: { headers?: Record<string, string>; signal?: AbortSignal },
  ) => Promise<Response>;
}

/** Latency is 0 unless `options` say otherwise. */
export function provider(options: MockOptions = {}): Provider {
  const clock = manualClock();
  const exchange = createExchange(resolveOptions({ latencyMs: 0, jitterMs: 0, clock, ...options }));
  return {
    clock,
    exchange,
    post: (path, body, init) =>
      exchange.answer(new Request(`http://mock${path}`, request(body, init))),
  };
}

function request(
  body: unknown,
  init: { headers?: Record<string, string>; signal?: AbortSignal } = {},
): RequestInit {
  return { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), ...init };
}

export const chat = "/v1/chat/completions";
export const hello = {
  model: "llama3.1-8b",
  messages: [{ role: "user", content: "Hello, world!" }],
  max_completion_tokens: 100,
};
/** Of `hello`: template, message, four tokens of text. */
export const promptTokens = 3 + 4 + 4;
