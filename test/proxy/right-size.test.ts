import { describe, expect, test } from "bun:test";
import { parseBody } from "../../src/provider/body.ts";
import { dialectOf } from "../../src/provider/dialects.ts";
import type { Provider } from "../../src/provider/provider.ts";
import { RightSize } from "../../src/proxy/right-size.ts";
import type { Needs } from "../../src/tokens/need.ts";

const chat = "/v1/chat/completions";

function sizedBody(
  text: string,
  {
    capFor = 500,
    provider = "cerebras",
    path = chat,
  }: Partial<{ capFor: number | null; provider: Provider; path: string }> = {},
): string | null {
  const dialect = dialectOf(provider, path);
  const body = new TextEncoder().encode(text);
  const parsed = parseBody(body);
  const needs = { capFor: () => capFor } as unknown as Needs;
  const { maxOutput } = dialect.readCall(path, parsed);
  if (maxOutput === null) return null;
  const sized = new RightSize(
    { needs, key: "k", provider, dialect, path },
    body,
    parsed,
    maxOutput,
  );
  const lowered = sized.bodyFor(sized.capNow());
  return lowered === null ? null : new TextDecoder().decode(lowered);
}

describe("an over-large cap", () => {
  test("is lowered, and every other byte stays", () => {
    const before =
      '{ "model":"m", "seed": 12345678901234567890,\n "max_completion_tokens" : 32000 , "messages":[{"role":"user","content":"\\u00e9 é"}]}';
    expect(sizedBody(before)).toBe(before.replace("32000", "500"));
  });

  test("is lowered, and bytes that are no UTF-8 stay", () => {
    const dialect = dialectOf("cerebras", chat);
    const text = '{"max_tokens":900,"user":"\xff\xfe","messages":[]}';
    const body = Buffer.from(text, "latin1");
    const needs = { capFor: () => 500 } as unknown as Needs;
    const sizing = { needs, key: "k", provider: "cerebras", dialect, path: chat } as const;
    const sized = new RightSize(sizing, body, { max_tokens: 900, messages: [] }, 900);
    expect(sized.bodyFor(sized.capNow())).toEqual(
      Buffer.from(text.replace("900", "500"), "latin1"),
    );
  });

  test("is lowered in both of two fields", () => {
    expect(sizedBody('{"max_tokens":900,"max_completion_tokens":32000,"messages":[]}')).toBe(
      '{"max_tokens":500,"max_completion_tokens":500,"messages":[]}',
    );
  });

  test("stays where a smaller field already holds", () => {
    expect(sizedBody('{"max_tokens":100,"max_completion_tokens":32000,"messages":[]}')).toBe(
      '{"max_tokens":100,"max_completion_tokens":500,"messages":[]}',
    );
  });

  test.each([
    ["no cap", '{"messages":[]}', {}],
    ["a cap below the need", '{"max_tokens":400,"messages":[]}', {}],
    ["several answers", '{"max_tokens":32000,"n":2,"messages":[]}', {}],
    ["nothing learned", '{"max_tokens":32000,"messages":[]}', { capFor: null }],
    [
      "a provider that does not reserve it",
      '{"max_tokens":32000,"messages":[]}',
      { provider: "anthropic", path: "/v1/messages" },
    ],
    ["the field twice", '{"max_tokens":32000,"metadata":{"max_tokens":5},"messages":[]}', {}],
    ["a number that is not plain", '{"max_tokens":3.2e4,"messages":[]}', {}],
  ] as const)("stays as it is: %s", (_, text, options) => {
    expect(sizedBody(text, options)).toBe(null);
  });
});
