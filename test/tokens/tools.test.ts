import { expect, test } from "bun:test";
import { textCounter } from "../../src/tokens/bpe.ts";
import { familyOf } from "../../src/tokens/family.ts";
import { toolTokens } from "../../src/tokens/tools.ts";

const parameters = {
  type: "object",
  properties: {
    location: { type: "string", description: "The city and state, e.g. San Francisco, CA" },
    unit: {
      type: "string",
      description: "The unit of temperature to return",
      enum: ["celsius", "fahrenheit"],
    },
  },
  required: ["location"],
};
const weather = {
  name: "get_current_weather",
  description: "Get the current weather in a given location",
};
const count = textCounter("o200k");
const openai = familyOf("gpt-4o").tools;
const claude = familyOf("claude-sonnet-4-5").tools;

test("reads tools as OpenAI, Anthropic and Gemini write them", () => {
  const nested = toolTokens(
    openai,
    JSON.stringify({ type: "function", function: { ...weather, parameters } }),
    count,
  );
  expect(toolTokens(openai, JSON.stringify({ ...weather, input_schema: parameters }), count)).toBe(
    nested,
  );
  expect(toolTokens(openai, JSON.stringify({ ...weather, parameters }), count)).toBe(nested);
});

test("a tool without parameters costs its words", () => {
  const words = count("get_current_weather:Get the current weather in a given location");
  expect(toolTokens(openai, JSON.stringify(weather), count)).toBe(openai.each + words);
});

test("Claude's tools cost more", () => {
  const json = JSON.stringify({ ...weather, input_schema: parameters });
  expect(toolTokens(claude, json, count)).toBeGreaterThan(claude.each + 2 * claude.property);
});

test.each([
  ["not JSON"],
  ["null"],
  ['{"function":7}'],
  ['{"parameters":{"properties":[1,{"enum":3}]}}'],
])("%s is counted somehow", (json) => {
  expect(toolTokens(openai, json, count)).toBeGreaterThan(0);
});

test("templates that write JSON, and huge definitions, cost their JSON text", () => {
  const llama = familyOf("llama3.1-8b").tools;
  const json = JSON.stringify(weather);
  expect(toolTokens(llama, json, count)).toBe(llama.each + count(json));
  const huge = JSON.stringify({ ...weather, description: "word ".repeat(20_000) });
  expect(toolTokens(openai, huge, count)).toBe(openai.each + count(huge));
});
