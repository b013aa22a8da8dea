import { expect, test } from "bun:test";
import { dialectOf, errorDialectOf } from "../../src/provider/dialects.ts";
import { providers } from "../../src/provider/provider.ts";

test.each([
  ["openai", "/v1/chat/completions", "openai"],
  ["openai", "/v1/threads/t1/messages", "openai"],
  ["openai", "/v1/messages", "anthropic"],
  ["anthropic", "/custom/messages", "anthropic"],
  ["anthropic", "/v1/models", "anthropic"],
  ["openrouter", "/api/v1/messages", "anthropic"],
] as const)("%s at %s speaks %s", (provider, path, name) => {
  expect(dialectOf(provider, path).name).toBe(name);
});

test("every provider has a dialect", () => {
  for (const provider of providers) expect(dialectOf(provider, "/").name).toBeString();
});

test("errors are told in the client's own format", () => {
  expect(errorDialectOf(null, "/any", null).name).toBe("openai");
  expect(errorDialectOf(null, "/any", "2023-06-01").name).toBe("anthropic");
  expect(errorDialectOf("anthropic", "/v1/models", null).name).toBe("anthropic");
});
