import { describe, expect, test } from "bun:test";

import { asksForWhole, cacheable, cacheKey, hasCredential } from "../../src/cache/key.ts";
import type { Fields, Question } from "../../src/cache/key.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const call = bytes('{"model":"claude","messages":[]}');
const question: Question = {
  method: "POST",
  host: "api.openai.com",
  target: "/v1/chat/completions",
  fields: { authorization: "Bearer a", "content-type": "application/json" },
  body: call,
};
const keyWith = (fields: Fields): string =>
  cacheKey({ ...question, fields: { ...question.fields, ...fields } });

describe("what can be cached", () => {
  test.each([
    ["GET", "/anything", undefined, true],
    ["POST", "/v1/chat/completions", undefined, true],
    ["POST", "/openai/deployments/x/chat/completions", null, true],
    ["POST", "/v1/completions", undefined, true],
    ["POST", "/v1/embeddings", undefined, true],
    ["POST", "/v1/messages", undefined, true],
    ["POST", "/v1/messages", call, true],
    ["POST", "/v1/messages", bytes('{"to":"+49","text":"hi"}'), false],
    ["POST", "/v1/threads/t/messages", bytes('{"content":"\\"model\\" \\"messages\\""}'), false],
    ["POST", "/v1/messages", null, false],
    ["POST", "/v1/messages/batches", undefined, false],
    ["POST", "/v1/chat/completions/1", undefined, false],
    ["POST", "/v1/images", undefined, false],
    ["HEAD", "/anything", undefined, false],
    ["PUT", "/v1/completions", undefined, false],
    ["DELETE", "/anything", undefined, false],
  ])("%s %s with %j: %p", (method, path, body, expected) => {
    expect(cacheable(method, path, body)).toBe(expected);
  });

  test.each([
    ["GET", {}, true],
    ["GET", { range: "bytes=0-1" }, false],
    ["GET", { "if-none-match": '"a"' }, false],
    ["GET", { "if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT" }, false],
    ["GET", { upgrade: "websocket" }, false],
    ["GET", { accept: "text/event-stream" }, false],
    ["POST", { accept: "text/event-stream" }, true],
    ["POST", { accept: "application/json" }, true],
  ])("%s with %j asks for a whole answer: %p", (method, fields, expected) => {
    expect(asksForWhole(method, fields as Fields)).toBe(expected);
  });
});

describe("key", () => {
  test("is a SHA-256 and the same for the same question", () => {
    expect(cacheKey(question)).toBe(cacheKey({ ...question, body: call.slice() }));
    expect(Buffer.from(cacheKey(question), "base64")).toHaveLength(32);
  });

  test("does not depend on the order of fields", () => {
    const { authorization, ...rest } = question.fields;
    const turned = { ...rest, authorization } as Fields;
    expect(cacheKey({ ...question, fields: turned })).toBe(cacheKey(question));
  });

  test.each([
    [{ method: "GET" }],
    [{ host: "api.openai.com:8443" }],
    [{ target: "/v1/chat/completions?api-version=2" }],
    [{ body: bytes("{}") }],
    [{ body: null }],
  ])("depends on %p", (other) => {
    expect(cacheKey({ ...question, ...other })).not.toBe(cacheKey(question));
  });

  test.each([
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-cooldown-key",
    "cookie",
    "x-auth-token",
    "private-token",
    "accept",
    "accept-encoding",
    "accept-language",
    "anthropic-version",
    "anthropic-beta",
    "openai-organization",
    "openai-project",
    "origin",
    "content-encoding",
  ])("depends on %s", (name) => {
    expect(keyWith({ [name]: "x" })).not.toBe(keyWith({}));
    expect(keyWith({ [name]: "x" })).not.toBe(keyWith({ [name]: "y" }));
  });

  test.each([
    "user-agent",
    "content-length",
    "connection",
    "cache-control",
    "x-request-id",
    "traceparent",
    "x-stainless-retry-count",
    "x-stainless-read-timeout",
    "x-cooldown-timeout",
    "x-cooldown-priority",
  ])("does not depend on %s", (name) => {
    expect(keyWith({ [name]: "x" })).toBe(keyWith({}));
  });

  test("two credentials never have one key, wherever they stand", () => {
    const names = ["authorization", "x-api-key", "api-key", "x-goog-api-key", "x-cooldown-key"];
    const keys = names.flatMap((name) =>
      ["one", "two"].map((value) => cacheKey({ ...question, fields: { [name]: value } })),
    );
    expect(new Set(keys).size).toBe(keys.length);
  });

  test("parts cannot be moved from one to the next", () => {
    expect(cacheKey({ ...question, fields: {}, body: bytes("a:b\n\nc") })).not.toBe(
      cacheKey({ ...question, fields: { a: "b" }, body: bytes("c") }),
    );
    expect(cacheKey({ ...question, host: "a", target: "/b" })).not.toBe(
      cacheKey({ ...question, host: "a/b", target: "" }),
    );
  });
});

test.each([
  [{}, false],
  [{ "user-agent": "x" }, false],
  [{ authorization: "Bearer a" }, true],
  [{ "x-cooldown-key": "a" }, true],
  [{ cookie: "session=1" }, true],
])("%p names who asks: %p", (fields, expected) => {
  expect(hasCredential(fields as Fields)).toBe(expected);
});

test.each([
  "x-forwarded-user",
  "x-forwarded-access-token",
  "x-forwarded-host",
  "x-real-ip",
  "forwarded",
])("what a proxy before us says of its client tells answers apart: %s", (name) => {
  const keyOf = (value: string): string =>
    cacheKey({
      method: "GET",
      host: "https://api.test",
      target: "/v1/models",
      fields: { [name]: value },
      body: null,
    });
  expect(keyOf("alice")).not.toBe(keyOf("bob"));
  expect(keyOf("alice")).toBe(keyOf("alice"));
});
