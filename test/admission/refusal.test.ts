import { describe, expect, test } from "bun:test";

import { account, bucket, leaky, rpm, slots, tokens, tpm } from "../ledger/costs.ts";
import { Desk, leaseOf, refusalOf } from "./desk.ts";

const mebibyte = 1024 * 1024;

describe("what could never go", () => {
  test.each([
    [
      "tokens in a window",
      [rpm(5), tpm(100)],
      101,
      "101 tokens, more than the whole limit of 100 a minute of a",
    ],
    [
      "tokens in a bucket",
      [bucket(100)],
      101,
      "101 tokens, more than the whole limit of 100 a minute of a",
    ],
    ["slots", [slots(0)], 1, "1 slots, more than the whole limit of 0 of a"],
  ] as const)("%s", (_, limits, amount, message) => {
    const desk = new Desk();
    const refusal = refusalOf(desk.ask(desk.path(account("a", limits)), { amount }));
    expect(refusal).toMatchObject({ refused: "EXCEEDS_QUOTA", retryAfterMs: null });
    expect(refusal.message).toContain(message);
  });

  test("is refused even if many wait", () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)], { maxQueueDepth: 1 }));
    desk.take(path, { amount: 100 });
    desk.ask(path, { amount: 100 });
    expect(refusalOf(desk.ask(path, { amount: 101 })).refused).toBe("EXCEEDS_QUOTA");
  });
});

describe("a full queue", () => {
  test("refuses at once, and says when there should be room", () => {
    const desk = new Desk();
    const path = desk.path(account("a", [rpm(1)], { maxQueueDepth: 2 }));
    desk.take(path);
    desk.ask(path);
    desk.ask(path);
    const refusal = refusalOf(desk.ask(path));
    expect(refusal.refused).toBe("QUEUE_FULL");
    expect(refusal.message).toContain("2 requests are waiting for a already");
    // One window for each of the two ahead after the one that is charged.
    expect(refusal.retryAfterMs).toBe(180_100);
  });

  test("any account on the way may be the full one, and a place that was left is free", async () => {
    const desk = new Desk();
    const tight = account("tight", [leaky(1)], { maxQueueDepth: 1 });
    const path = desk.path(account("wide", [leaky(1)]), tight);
    desk.take(path);
    const left = new AbortController();
    const gone = desk.ask(path, { signal: left.signal });
    expect(refusalOf(desk.ask(path)).refused).toBe("QUEUE_FULL");
    left.abort(new Error("gone"));
    await desk.pass();
    expect(gone.fate).toEqual({ state: "left", reason: new Error("gone") });
    expect(desk.ask(path).fate.state).toBe("waiting");
  });

  test("a leaky bucket tells the turn behind all that wait", () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(2)], { maxQueueDepth: 3 }));
    desk.take(path);
    for (let i = 0; i < 3; i++) desk.ask(path);
    expect(refusalOf(desk.ask(path)).retryAfterMs).toBeCloseTo(2_000, 1);
  });

  test("what waits for other accounts only is not ahead", () => {
    const desk = new Desk();
    const pace = account("pace", [leaky(1)]);
    const busy = desk.path(account("busy", [tpm(100)]), pace);
    const other = desk.path(account("other", [tpm(100)], { maxQueueDepth: 0 }), pace);
    desk.take(busy, { amount: 100 });
    for (let i = 0; i < 10; i++) desk.ask(busy, { amount: 100 });
    // Ten turns of the pace are ahead, none of their tokens.
    const refusal = refusalOf(desk.ask(other, { amount: 100 }));
    expect(refusal.refused).toBe("QUEUE_FULL");
    expect(refusal.retryAfterMs).toBeCloseTo(11_000, 1);
  });

  test("bodies that wait hold 256 MB together at most", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)]));
    const running = desk.take(path);
    const left = new AbortController();
    desk.ask(path, { name: "left", bodyBytes: 200 * mebibyte, signal: left.signal });
    desk.ask(path, { name: "waits", bodyBytes: 56 * mebibyte });
    const refusal = refusalOf(desk.ask(path, { bodyBytes: 1 }));
    expect(refusal).toMatchObject({
      refused: "QUEUE_FULL",
      message: expect.stringContaining("memory"),
    });
    expect(desk.scheduler.waitingBytes).toBe(256 * mebibyte);
    left.abort();
    expect(desk.scheduler.waitingBytes).toBe(56 * mebibyte);
    desk.ask(path, { name: "waits too", bodyBytes: 200 * mebibyte });
    running.commit(tokens(1));
    await desk.pass();
    expect(desk.scheduler.waitingBytes).toBe(200 * mebibyte);
  });
});

describe("deadlines", () => {
  test("what could not go in time even if all that is open were given back is refused at once", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)]));
    const settled = desk.take(path, { amount: 60 });
    settled.commit(tokens(60));
    desk.take(path, { amount: 40 });
    await desk.pass(10_000);
    // 40 can still come back, the other 60 only in 50.1 s.
    const hopeless = desk.ask(path, { amount: 41, patienceMs: 50_000 });
    const refusal = refusalOf(hopeless);
    expect(refusal.refused).toBe("QUEUE_TIMEOUT");
    expect(refusal.retryAfterMs).toBe(50_100);
    expect(refusal.message).toBe(
      "No room in a within the 50 s that this request may wait. Try again in 50.1 s.",
    );
    expect(desk.ask(path, { amount: 40, patienceMs: 50_000 }).fate.state).toBe("waiting");
    expect(desk.ask(path, { amount: 41, patienceMs: 50_200 }).fate.state).toBe("waiting");
  });

  test("anything else is refused when its time is up, by its own patience or the limit's", async () => {
    const desk = new Desk();
    const path = desk.path(
      account("a", [tpm(100)], { requestTimeoutMs: 20_000 }),
      account("b", []),
    );
    desk.take(path, { amount: 100 });
    const short = desk.ask(path, { amount: 10, patienceMs: 5_000 });
    const long = desk.ask(path, { amount: 10 });
    await desk.pass(4_999);
    expect(short.fate.state).toBe("waiting");
    await desk.pass(1);
    // The upper bound: 10 of the open 100 come back with their window, and 10 wait before it.
    expect(refusalOf(short)).toMatchObject({ refused: "QUEUE_TIMEOUT", retryAfterMs: 55_100 });
    await desk.pass(14_999);
    expect(long.fate.state).toBe("waiting");
    await desk.pass(1);
    expect(refusalOf(long)).toMatchObject({ refused: "QUEUE_TIMEOUT", retryAfterMs: 40_100 });
    expect(desk.scheduler.waiting).toBe(0);
  });

  test("waiting only for a slot is never refused early", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)]));
    desk.take(path);
    const asked = desk.ask(path, { patienceMs: 1 });
    expect(asked.fate.state).toBe("waiting");
    await desk.pass(1);
    expect(refusalOf(asked)).toMatchObject({ refused: "QUEUE_TIMEOUT", retryAfterMs: 1_000 });
  });

  test("where a running request's end is known, that is what is told", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { maxQueueDepth: 0 }));
    desk.take(path, { outlook: { durationMs: 7_000, cost: tokens(1) } });
    expect(refusalOf(desk.ask(path)).retryAfterMs).toBe(7_000);
  });

  test("the time told is when it goes, to the millisecond, where nothing can be refunded", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [rpm(3)]));
    for (let i = 0; i < 3; i++) desk.take(path).commit(tokens(1));
    await desk.pass(20_000);
    const { retryAfterMs } = refusalOf(desk.ask(path, { patienceMs: 1_000 }));
    await desk.pass((retryAfterMs ?? NaN) - 1);
    expect(refusalOf(desk.ask(path, { patienceMs: 0 })).retryAfterMs).toBe(1);
    await desk.pass(1);
    expect(leaseOf(desk.ask(path)).waitedMs).toBe(0);
  });
});

describe("a client that leaves", () => {
  test("frees its place, and what it held up goes", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)]));
    desk.take(path, { amount: 50 });
    const left = new AbortController();
    const large = desk.ask(path, { name: "large", amount: 100, signal: left.signal });
    desk.ask(path, { name: "small", amount: 10 });
    await desk.pass();
    expect(desk.went).toEqual([]);
    left.abort(new Error("bye"));
    await desk.pass();
    expect(large.fate).toEqual({ state: "left", reason: new Error("bye") });
    expect(desk.went).toEqual(["small"]);
  });

  test("before it asked, or after its wait has ended, changes nothing", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1)]));
    desk.take(path);
    const before = desk.ask(path, { signal: AbortSignal.abort(new Error("early")) });
    const left = new AbortController();
    const after = desk.ask(path, { signal: left.signal });
    await desk.pass(1_001);
    left.abort();
    await desk.pass();
    expect(before.fate.state).toBe("left");
    expect(leaseOf(after).open).toBe(true);
    expect(desk.scheduler.waitingBytes).toBe(0);
  });
});
