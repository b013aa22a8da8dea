import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Cost } from "../../src/limit/cost.ts";
import { oneRequest } from "../../src/limit/cost.ts";
import {
  chargeFailed,
  chargeFor,
  countsCacheReads,
  extraLimits,
  plainCost,
  reserveFor,
  reservesMaxOutput,
} from "../../src/provider/meter.ts";
import { providers } from "../../src/provider/provider.ts";
import type { Provider } from "../../src/provider/provider.ts";

const usage = { input: 100, output: 20, total: 120, cachedInput: 60 };
const call = { input: 100, maxOutput: 500, predictedOutput: 30.5 };

function cost(tokens: number, input: number, output: number, total: number): Cost {
  return {
    requests: 1,
    tokens,
    input_tokens: input,
    output_tokens: output,
    total_tokens: total,
  };
}

/** What each reserves for `call`, charges for `usage`, and charges for it where `call` is known. */
const rows: Record<Provider, [Cost, Cost, number]> = {
  cerebras: [cost(600, 100, 500, 600), cost(60, 100, 20, 120), 60],
  openai: [cost(500, 100, 500, 600), cost(120, 100, 20, 120), 500],
  azure: [cost(600, 100, 500, 600), cost(120, 100, 20, 120), 600],
  anthropic: [cost(131, 100, 31, 131), cost(60, 40, 20, 120), 60],
  gemini: [cost(100, 100, 31, 131), cost(100, 100, 20, 120), 100],
  groq: [cost(600, 100, 500, 600), cost(60, 40, 20, 120), 60],
  mistral: [cost(600, 100, 500, 600), cost(120, 100, 20, 120), 120],
  openrouter: [cost(600, 100, 500, 600), cost(120, 100, 20, 120), 120],
  github: [cost(600, 100, 500, 600), cost(120, 100, 20, 120), 120],
  generic: [cost(600, 100, 500, 600), cost(120, 100, 20, 120), 120],
};

describe.each([...providers])("%s", (provider) => {
  test("reserves and charges as it counts", () => {
    const [reserved, charged, tokensOfCall] = rows[provider];
    expect(reserveFor(provider, call)).toEqual(reserved);
    expect(chargeFor(provider, usage)).toEqual(charged);
    expect(chargeFor(provider, usage, call)).toEqual({ ...charged, tokens: tokensOfCall });
  });

  test("reserves what is predicted where there is no cap", () => {
    const open = reserveFor(provider, { ...call, maxOutput: null });
    expect(open.output_tokens).toBe(31);
    expect(open.tokens).toBe(provider === "gemini" ? 100 : 131);
  });

  test("never charges more than it reserved for an answer that kept to estimate and cap", () => {
    fc.assert(
      fc.property(
        fc.nat(100_000),
        fc.option(fc.nat(100_000)),
        fc.nat(100_000),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (input, maxOutput, predictedOutput, share, cachedShare) => {
          const asked = { input, maxOutput, predictedOutput };
          const reserved = reserveFor(provider, asked);
          const most = Math.min(maxOutput ?? predictedOutput, predictedOutput);
          const output = Math.floor(most * share);
          const cachedInput = Math.floor(input * cachedShare);
          const answer = { input, output, total: input + output, cachedInput };
          for (const charged of [
            chargeFor(provider, answer),
            chargeFor(provider, answer, asked),
            chargeFailed(provider, 400, reserved),
            chargeFailed(provider, 500, reserved),
          ]) {
            for (const unit of Object.keys(reserved) as (keyof Cost)[]) {
              expect(charged[unit]).toBeLessThanOrEqual(reserved[unit]);
              expect(charged[unit]).toBeGreaterThanOrEqual(0);
              expect(Number.isInteger(charged[unit])).toBe(true);
            }
          }
        },
      ),
    );
  });

  test("charges no tokens for what reached no model", () => {
    const reserved = reserveFor(provider, call);
    const request = cost(0, 0, 0, 0);
    for (const status of [400, 401, 403, 404, 413, 422, 503, 529])
      expect(chargeFailed(provider, status, reserved)).toEqual(request);
    for (const status of [408, 500, 502, 504])
      expect(chargeFailed(provider, status, reserved)).toEqual(
        provider === "gemini" ? request : reserved,
      );
    const isFree = provider === "cerebras" || provider === "anthropic";
    expect(chargeFailed(provider, 429, reserved)).toEqual({ ...request, requests: isFree ? 0 : 1 });
  });
});

test.each([
  ["anthropic", "claude-3-5-haiku-20241022", true],
  ["anthropic", "claude-3-5-haiku-latest", true],
  ["anthropic", "anthropic/claude-3.5-haiku", true],
  ["anthropic", "claude-haiku-4-5", false],
  ["anthropic", "claude-3-5-sonnet-20241022", false],
  ["groq", "claude-3-5-haiku-latest", false],
] as const)("%s of %s counts cached input: %p", (provider, model, counts) => {
  expect(countsCacheReads(provider, model)).toBe(counts);
});

test("OpenAI counts the prompt's characters where that is more", () => {
  const asked = { input: 100, maxOutput: 50, predictedOutput: 50, promptCharacters: 1_001 };
  expect(reserveFor("openai", asked).tokens).toBe(251);
  expect(chargeFor("openai", usage, asked).tokens).toBe(251);
  expect(chargeFor("openai", { ...usage, total: 900 }, asked).tokens).toBe(900);
});

test("a lower cap frees quota only where the cap is reserved", () => {
  const free = providers.filter((provider) => !reservesMaxOutput(provider));
  expect(free).toEqual(["anthropic", "gemini"]);
});

test.each([
  ["github", "GET", 1],
  ["github", "HEAD", 1],
  ["github", "POST", 5],
  ["github", "DELETE", 5],
  ["generic", "POST", 0],
  ["openai", "GET", 0],
] as const)("%s counts %s as a request and %p points", (provider, method, points) => {
  const cost = plainCost(provider, method);
  expect(cost).toEqual({ ...oneRequest, tokens: points });
  expect(chargeFailed(provider, 404, cost)).toEqual(cost);
});

const minute = { unit: "requests", window: "minute", limit: 90 } as const;
const second = { unit: "requests", window: "second", limit: 5 } as const;
const tokens = { unit: "tokens", window: "minute", limit: 90 } as const;

test("Azure's requests a minute leave evenly", () => {
  const even = [{ kind: "leaky_bucket", requestsPerSecond: 1.5, burst: 1 }];
  expect(extraLimits("azure", [tokens, minute])).toEqual(even as never);
  expect(extraLimits("azure", [minute, second])).toEqual([]);
  expect(extraLimits("azure", [tokens])).toEqual([]);
  expect(extraLimits("openai", [minute])).toEqual([]);
});
