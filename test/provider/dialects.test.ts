import { expect, test } from "bun:test";
import { dialectOf, errorDialectOf } from "../../src/provider/dialects.ts";
import { providers } from "../../src/provider/provider.ts";

test.each([
  ["openai", "/v1/chat/completions", "openai"],
  ["openai", "/v1/threads/t1/messages", "openai"],
  ["openai", "/v1/messages", "anthropic"],
  ["anthropic", "/custom/messages", "anthropic"],
  ["anthropic", "/v1/models", "anthropic"],
  ["anthropic", "/v1/chat/completions", "generic"],
  ["openrouter", "/api/v1/messages", "anthropic"],
  ["openrouter", "/api/v1/chat/completions", "openrouter"],
  ["gemini", "/v1beta/models/gemini-2.5-pro:generateContent", "gemini"],
  ["gemini", "/v1beta/models", "gemini"],
  ["gemini", "/v1beta/openai/chat/completions", "generic"],
  ["gemini", "/v1beta/openai/models", "generic"],
  ["generic", "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", "gemini"],
  ["github", "/inference/chat/completions", "generic"],
  ["azure", "/openai/deployments/a/chat/completions", "azure"],
] as const)("%s at %s speaks %s", (provider, path, name) => {
  expect(dialectOf(provider, path).name).toBe(name);
});

test("every provider has a dialect", () => {
  for (const provider of providers) expect(dialectOf(provider, "/").name).toBeString();
});

test("errors are told in the client's own format", () => {
  expect(errorDialectOf(null, "/any", null).name).toBe("generic");
  expect(errorDialectOf(null, "/any", "2023-06-01").name).toBe("anthropic");
  expect(errorDialectOf("anthropic", "/v1/models", null).name).toBe("anthropic");
  expect(errorDialectOf(null, "/v1beta/models/m:embedContent", null).name).toBe("gemini");
});

test.each([
  ["anthropic", "/v1/messages/count_tokens"],
  ["anthropic", "/v1/messages/batches"],
  ["gemini", "/v1beta/models/m:countTokens"],
  ["gemini", "/v1beta/models/m:batchGenerateContent"],
  ["openai", "/v1/responses/input_tokens"],
  ["openai", "/v1/responses/r/cancel"],
  ["openai", "/v1/batches"],
] as const)("%s does not meter %s", (provider, path) => {
  expect(dialectOf(provider, path).isMetered("POST", path)).toBe(false);
});
