import { expect, test } from "bun:test";
import { setKey } from "../../src/provider/credential.ts";
import type { Provider } from "../../src/provider/provider.ts";

test.each<[Provider, string, string]>([
  ["openai", "authorization", "Bearer ours"],
  ["cerebras", "authorization", "Bearer ours"],
  ["anthropic", "x-api-key", "ours"],
  ["azure", "api-key", "ours"],
  ["gemini", "x-goog-api-key", "ours"],
])("a key of ours takes the place of whatever the client sent: %s", (provider, name, value) => {
  const headers = new Headers({
    authorization: "Bearer theirs",
    "x-api-key": "theirs",
    "api-key": "theirs",
    "x-goog-api-key": "theirs",
    accept: "*/*",
  });
  setKey(headers, provider, "ours");
  expect(headers.toJSON()).toEqual({ accept: "*/*", [name]: value });
});
