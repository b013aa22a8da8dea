import { expect, test } from "bun:test";
import { familyOf } from "../../src/tokens/family.ts";

test.each([
  ["gpt-4o", "o200k"],
  ["openai/gpt-4o-mini", "o200k"],
  ["gpt-4.1-nano-2025-04-14", "o200k"],
  ["gpt-4.5-preview", "o200k"],
  ["chatgpt-4o-latest", "o200k"],
  ["gpt-5-mini", "o200k"],
  ["o1", "o200k"],
  ["o3-mini", "o200k"],
  ["o4-mini-2025-04-16", "o200k"],
  ["ft:gpt-4o:acme::abc", "o200k"],
  ["gpt-4", "cl100k"],
  ["gpt-4-turbo", "cl100k"],
  ["gpt-3.5-turbo", "cl100k"],
  ["gpt-35-turbo", "cl100k"],
  ["text-embedding-3-small", "cl100k"],
  ["text-embedding-ada-002", "cl100k"],
  ["gpt-oss-120b", "gpt-oss"],
  ["openai/gpt-oss-20b", "gpt-oss"],
  ["llama3.1-8b", "llama3"],
  ["llama-3.3-70b", "llama3"],
  ["accounts/fireworks/models/llama-v3p1-405b", "llama3"],
  ["meta-llama/Llama-4-Scout-17B", "llama4"],
  ["qwen-3-235b-a22b-instruct-2507", "qwen"],
  ["deepseek-chat", "deepseek"],
  ["DeepSeek-R1-Distill-Llama-70B", "llama3"],
  ["models/gemini-2.5-pro", "gemini"],
  ["gemma-3-27b-it", "gemma"],
  ["claude-sonnet-4-5", "claude"],
  ["us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude"],
  ["mistral-large-latest", "mistral"],
  ["open-mixtral-8x22b", "mistral"],
  ["zai-glm-4.6", "glm"],
  ["what/is-this", "o200k"],
  ["", "o200k"],
  ["x".repeat(1_000_000), "o200k"],
])("%s is of the family %s", (model, family) => {
  expect(familyOf(model).name).toBe(family);
});

test.each([
  ["gpt-oss-120b", "o200k"],
  ["llama3.1-8b", "llama3"],
  ["llama-3.3-70b", "llama3"],
  ["DeepSeek-R1-Distill-Llama-70B", "llama3"],
  ["qwen-3-235b-a22b-instruct-2507", "qwen3"],
  ["DeepSeek-R1-Distill-Qwen-32B", "qwen3"],
  ["deepseek-chat", "deepseek"],
])("%s is counted with the vocabulary %s, exactly", (model, vocabulary) => {
  const family = familyOf(model);
  expect(family.vocabulary).toBe(vocabulary as typeof family.vocabulary);
  expect(family.ratio).toBe(1);
});
