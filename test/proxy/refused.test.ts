import { describe, expect, test } from "bun:test";
import { mayTurnAway, readTurnedAway } from "../../src/proxy/refused.ts";

const over =
  '{"error":{"message":"Rate limit reached. Please try again in 1.5s.","code":"rate_limit_exceeded"}}';

test.each([
  ["openai", 200, false],
  ["openai", 400, false],
  ["openai", 403, false],
  ["github", 403, true],
  ["groq", 498, true],
  ["openai", 429, true],
  ["anthropic", 529, true],
  ["generic", 503, true],
  ["generic", 500, false],
] as const)("%s %p may turn a request away: %p", (provider, status, may) => {
  expect(mayTurnAway(provider, status)).toBe(may);
});

describe("an answer that is looked into", () => {
  test.each([
    ["as it is", {}, new TextEncoder().encode(over)],
    ["compressed", { "content-encoding": "gzip" }, Bun.gzipSync(over)],
  ] as const)("goes on byte for byte, %s", async (_, headers, bytes) => {
    const answer = new Response(bytes, { status: 429, headers });
    const read = await readTurnedAway("openai", answer, 0);
    expect(read.refusal).toMatchObject({ kind: "rate_limit", waitMs: 1_500 });
    expect(new Uint8Array(await read.answer.arrayBuffer())).toEqual(new Uint8Array(bytes));
    expect(read.answer.status).toBe(429);
  });

  test("goes on whole where it is larger than what is looked at", async () => {
    const large = `{"error":{"message":"Rate limit"}}${" ".repeat(300_000)}end`;
    const stream = new Blob([large]).stream();
    const read = await readTurnedAway("openai", new Response(stream, { status: 429 }), 0);
    expect(read.refusal?.kind).toBe("rate_limit");
    expect(await read.answer.text()).toBe(large);
  });

  test("may have no body, and may mean something else", async () => {
    const read = await readTurnedAway("openai", new Response(null, { status: 503 }), 0);
    expect(read.refusal?.kind).toBe("overload");
    const forbidden = await readTurnedAway("github", new Response("no", { status: 403 }), 0);
    expect(forbidden.refusal).toBe(null);
  });
});
