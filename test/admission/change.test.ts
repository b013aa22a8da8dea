import { describe, expect, test } from "bun:test";

import { account, leaky, rpm, slots, tokens, tpm } from "../ledger/costs.ts";
import { Desk, leaseOf, refusalOf } from "./desk.ts";

describe("changed limits", () => {
  test("hold under a living queue: order is kept, nobody is lost", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [rpm(4)]));
    for (let i = 0; i < 4; i++) desk.take(path).commit(tokens(1));
    const names = ["a", "b", "c", "d", "e"];
    const asked = names.map((name) => desk.ask(path, { name }));
    desk.path(account("a", [rpm(2)]));
    desk.scheduler.replan();
    await desk.pass(60_100);
    expect(desk.went).toEqual(["a", "b"]);
    desk.path(account("a", [rpm(4)]));
    desk.scheduler.replan();
    await desk.pass();
    expect(desk.went).toEqual(["a", "b", "c", "d"]);
    for (const one of asked.slice(0, 4)) leaseOf(one).commit(tokens(1));
    await desk.pass(60_100);
    expect(desk.went).toEqual(names);
  });

  test("what can no longer ever fit is told so, once, even if its time is up as well", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)], { requestTimeoutMs: 5_000 }));
    desk.take(path, { amount: 100 });
    const asked = [1, 2].map((i) =>
      desk.ask(path, { name: `large ${i}`, amount: 60, bodyBytes: 1_000 }),
    );
    desk.ask(path, { name: "small", amount: 20, bodyBytes: 10 });
    desk.path(account("a", [tpm(50)], { requestTimeoutMs: 5_000 }));
    desk.clock.skip(4_999);
    desk.scheduler.replan();
    await desk.pass();
    expect(asked.map((one) => refusalOf(one).refused)).toEqual(["EXCEEDS_QUOTA", "EXCEEDS_QUOTA"]);
    expect(desk.scheduler.waitingBytes).toBe(10);

    const late = [1, 2].map((i) =>
      desk.ask(path, { name: `late ${i}`, amount: 40, bodyBytes: 1_000 }),
    );
    desk.path(account("a", [tpm(30)], { requestTimeoutMs: 5_000 }));
    desk.clock.skip(5_001);
    desk.scheduler.replan();
    await desk.pass();
    expect(late.map(({ fate }) => fate.state)).toEqual(["refused", "refused"]);
    expect(desk.scheduler.waitingBytes).toBe(0);
    expect([...desk.ends.values()].every((times) => times === 1)).toBe(true);
  });

  test("accounts that are planned together from now on take their queues along, in order", async () => {
    const desk = new Desk();
    const first = account("first", [leaky(1)], { group: "one" });
    const second = account("second", [leaky(1)], { group: "two" });
    const [a, b] = [desk.path(first), desk.path(second)];
    desk.take(a);
    desk.take(b);
    for (const name of ["a1", "b1", "a2", "b2"]) desk.ask(name.startsWith("a") ? a : b, { name });
    const left = new AbortController();
    desk.ask(b, { name: "left", signal: left.signal });
    expect(desk.clock.pending).toBe(2);
    const together = { group: "both" };
    desk.path(account("first", [leaky(1)], together));
    desk.path(account("second", [leaky(1)], together));
    desk.scheduler.replan();
    expect(desk.clock.pending).toBe(1);
    left.abort();
    await desk.pass(2_001);
    expect(desk.went).toEqual(["a1", "b1", "a2", "b2"]);
    expect(desk.ends.get("left")).toBe(1);
    expect(desk.clock.pending).toBe(0);
  });

  test("what waits for other accounts from now on stands there in its order, and what never fits there is told so", async () => {
    const desk = new Desk();
    const before = desk.path(account("before", [tpm(100)], { group: "one" }));
    const first = desk.take(before, { amount: 100 });
    let pathNow = before;
    const asks = ["a", "large", "b", "left", "c"].map((name) => {
      const leaving = new AbortController();
      const amount = name === "large" ? 90 : 30;
      const options = { name, amount, bodyBytes: 10, pathNow: () => pathNow };
      return { name, leaving, asked: desk.ask(before, { ...options, signal: leaving.signal }) };
    });
    desk.scheduler.replan();
    pathNow = desk.path(account("after", [tpm(65)], { group: "two" }));
    desk.path(account("before", [], { group: "one" }));
    desk.scheduler.replan();
    await desk.pass();
    expect(desk.went).toEqual(["a", "b"]);
    asks[3]?.leaving.abort();
    const [, large, b] = asks;
    if (large === undefined || b === undefined) throw new Error("They were asked");
    expect(refusalOf(large.asked).refused).toBe("EXCEEDS_QUOTA");
    expect(leaseOf(b.asked).path).toBe(pathNow);
    leaseOf(b.asked).commit(tokens(0));
    await desk.pass();
    expect(desk.went).toEqual(["a", "b", "c"]);
    expect([desk.scheduler.waiting, desk.scheduler.waitingBytes]).toEqual([0, 0]);
    expect([...desk.ends.values()].every((times) => times === 1)).toBe(true);
    first.commit(tokens(0));
  });

  test("moving a queue lets nobody pass that could not have", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)], { group: "one" }));
    desk.take(path, { amount: 50 });
    desk.ask(path, { name: "small", amount: 10, priority: "low" });
    await desk.pass();
    expect(desk.went).toEqual(["small"]);
    desk.ask(path, { name: "low", amount: 90, priority: "low" });
    desk.ask(path, { name: "high", amount: 95, priority: "high" });
    desk.path(account("a", [tpm(190)], { group: "two" }));
    desk.scheduler.replan();
    await desk.pass();
    expect(desk.went).toEqual(["small", "high"]);
  });

  test("a limit that was added holds from then on", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [rpm(100)]), account("b", []));
    desk.take(path);
    desk.path(account("a", [rpm(100), slots(1)]));
    expect(desk.ask(path).fate.state).toBe("granted");
    expect(desk.ask(path).fate.state).toBe("waiting");
  });
});

describe("draining", () => {
  test("what can still go goes, the rest is told at once or when the time is up", async () => {
    const desk = new Desk();
    const pace = desk.path(account("pace", [leaky(0.1)], { group: "pace" }));
    const slot = desk.path(account("slot", [slots(1)], { group: "slot" }));
    const window = desk.path(account("window", [rpm(1)], { group: "window" }));
    desk.take(pace);
    desk.take(window).commit(tokens(1));
    const running = desk.take(slot);
    const impatient = desk.ask(pace, { name: "impatient", priority: "low", patienceMs: 12_000 });
    desk.ask(pace, { name: "in time", priority: "high" });
    desk.ask(slot, { name: "when the slot is free" });
    const late = desk.ask(slot, { name: "too late" });
    const hopeless = desk.ask(window, { name: "hopeless" });
    desk.scheduler.drain(15_000);
    expect(refusalOf(desk.ask(pace, { name: "new" }))).toMatchObject({
      refused: "SHUTTING_DOWN",
      retryAfterMs: 15_000,
    });
    await desk.pass();
    expect(refusalOf(hopeless).refused).toBe("SHUTTING_DOWN");
    await desk.pass(10_001);
    running.commit(tokens(1));
    await desk.pass(5_000);
    expect(desk.went).toEqual(["in time", "when the slot is free"]);
    expect(refusalOf(impatient).refused).toBe("QUEUE_TIMEOUT");
    expect(refusalOf(late)).toMatchObject({ refused: "SHUTTING_DOWN", retryAfterMs: 1_000 });
    expect(desk.scheduler.waiting).toBe(0);
    expect(desk.clock.pending).toBe(0);
  });

  test("lets nobody pass that could not have", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100), slots(5)]));
    desk.take(path, { amount: 50 });
    desk.ask(path, { name: "first", amount: 60, priority: "low" });
    desk.ask(path, { name: "high", amount: 100, priority: "high" });
    desk.ask(path, { name: "small", amount: 10, priority: "low", client: "two" });
    await desk.pass();
    expect(desk.went).toEqual([]);
    desk.scheduler.drain(100_000);
    await desk.pass(60_100);
    expect(desk.went).toEqual(["high"]);
  });
});
