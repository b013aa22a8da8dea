import { expect, test } from "bun:test";
import { chargeFor, reserveFor } from "../../src/provider/meter.ts";
import { providers } from "../../src/provider/provider.ts";

const usage = { input: 100, output: 20, total: 120, cachedInput: 60 };

test.each([...providers])("%s: reserves all it may count, charges what it counted", (provider) => {
  expect(reserveFor(provider, { input: 100, maxOutput: 50, predictedOutput: 10 })).toEqual({
    requests: 1,
    tokens: 150,
    input_tokens: 100,
    output_tokens: 50,
    total_tokens: 150,
  });
  expect(reserveFor(provider, { input: 100, maxOutput: null, predictedOutput: 9.5 }).tokens).toBe(
    110,
  );
  expect(chargeFor(provider, usage)).toEqual({
    requests: 1,
    tokens: provider === "cerebras" ? 60 : 120,
    input_tokens: 100,
    output_tokens: 20,
    total_tokens: 120,
  });
});
