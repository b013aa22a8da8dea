import { describe, expect, test } from "bun:test";
import { FakeClock, settlePromises } from "../clock.ts";
import { asAnswer, bytesOf, textOf } from "../upstream/answers.ts";
import { mayTurnAway, readTurnedAway, waitInHead } from "../../src/proxy/refused.ts";

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
    const answer = asAnswer(new Response(bytes, { status: 429, headers }));
    const read = await readTurnedAway("openai", answer, new FakeClock(), null);
    expect(read.refusal).toMatchObject({ kind: "rate_limit", waitMs: 1_500 });
    expect(new Uint8Array(await bytesOf(read.answer))).toEqual(new Uint8Array(bytes));
    expect(read.answer.status).toBe(429);
  });

  test("goes on whole where it is larger than what is looked at", async () => {
    const large = `{"error":{"message":"Rate limit"}}${" ".repeat(300_000)}end`;
    const stream = new Blob([large]).stream();
    const read = await readTurnedAway(
      "openai",
      asAnswer(new Response(stream, { status: 429 })),
      new FakeClock(),
      null,
    );
    expect(read.refusal?.kind).toBe("rate_limit");
    expect(await textOf(read.answer)).toBe(large);
  });

  test("may have no body, and may mean something else", async () => {
    const read = await readTurnedAway(
      "openai",
      asAnswer(new Response(null, { status: 503 })),
      new FakeClock(),
      null,
    );
    expect(read.refusal?.kind).toBe("overload");
    const forbidden = await readTurnedAway(
      "github",
      asAnswer(new Response("no", { status: 403 })),
      new FakeClock(),
      null,
    );
    expect(forbidden.refusal).toBe(null);
  });

  test.each([
    ["7", 2_000],
    // What it is about has to stand in the queue again before the hold ends.
    ["1", 500],
  ])("is not waited for where its body does not end: the head says %p s", async (says, ms) => {
    const clock = new FakeClock();
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode("{")),
    });
    const headers = { "retry-after": says };
    const answer = asAnswer(new Response(stream, { status: 429, headers }));
    const waitMs = waitInHead("generic", answer, clock.now());
    expect(waitMs).toBe(1_000 * Number(says));
    let isRead = false;
    const reading = readTurnedAway("generic", answer, clock, waitMs).finally(() => {
      isRead = true;
    });
    await settlePromises();
    await clock.tick(ms - 1);
    expect(isRead).toBe(false);
    await clock.tick(1);
    await settlePromises();
    expect(isRead).toBe(true);
    const read = await reading;
    expect(read).toMatchObject({ whole: false, refusal: { kind: "rate_limit", waitMs } });
  });

  test("counts for what was there where its body breaks off", async () => {
    let pulls = 0;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (pulls++ === 0) controller.enqueue(new TextEncoder().encode("{"));
        else controller.error(new Error("reset"));
      },
    });
    const headers = { "content-length": "500" };
    const answer = asAnswer(new Response(stream, { status: 503, headers }));
    const read = await readTurnedAway("generic", answer, new FakeClock(), null);
    expect(read).toMatchObject({ whole: true, refusal: { kind: "overload" } });
    expect([await textOf(read.answer), read.answer.headers.get("content-length")]).toEqual([
      "{",
      null,
    ]);
  });
});
