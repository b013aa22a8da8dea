import { describe, expect, test } from "bun:test";

import { account, leaky, rpm, slots, tokens, tpm } from "../ledger/costs.ts";
import { Desk, leaseOf } from "./desk.ts";

describe("one timer, no polling", () => {
  test("a thousand that wait have one timer, and it fires once for each that goes", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(10)]));
    desk.take(path);
    for (let i = 0; i < 1_000; i++) desk.ask(path);
    expect(desk.clock.pending).toBe(1);
    expect(desk.clock.armed).toBe(1);
    await desk.pass(10_000.2);
    expect(desk.went.length).toBe(100);
    expect(desk.clock.pending).toBe(1);
    expect(desk.clock.armed).toBeLessThanOrEqual(101);
  });

  test("a full window is looked at again when it frees, not before", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [rpm(5)]));
    for (let i = 0; i < 5; i++) desk.take(path);
    for (let i = 0; i < 10; i++) desk.ask(path);
    await desk.pass(60_099);
    expect(desk.went.length).toBe(0);
    expect(desk.clock.armed).toBe(1);
    await desk.pass(1);
    expect(desk.went.length).toBe(5);
    expect(desk.clock.armed).toBe(2);
  });

  test("while only an ending makes room there is none but the deadline's", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { requestTimeoutMs: 5_000 }));
    desk.take(path);
    desk.ask(path);
    expect(desk.clock.nextAt).toBe(desk.start + 5_000);
    await desk.pass(5_000);
    expect(desk.clock.pending).toBe(0);
  });

  test("an idle scheduler leaves no timer behind", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1)]));
    desk.take(path);
    const left = new AbortController();
    desk.ask(path, { signal: left.signal });
    expect(desk.clock.pending).toBe(1);
    left.abort();
    await desk.pass();
    expect(desk.clock.pending).toBe(0);
    expect(desk.scheduler.waiting).toBe(0);
  });

  test("headers that come before the margin is over bring the next start forward", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [rpm(1, 1_000)]));
    const running = leaseOf(desk.ask(path, { name: "running" }));
    running.sent();
    desk.ask(path, { name: "next" });
    // Not known yet when it is counted: at the latest after the margin.
    expect(desk.clock.nextAt).toBe(desk.start + 61_100);
    await desk.pass(150);
    running.arrived();
    expect(desk.clock.nextAt).toBe(desk.start + 60_200);
    await desk.pass(60_050);
    expect(desk.went).toEqual(["running", "next"]);
  });

  test("a timer that fires early is set again", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(10)]));
    desk.take(path, { amount: 10 });
    desk.ask(path, { name: "next", amount: 10 });
    desk.scheduler.replan();
    await desk.pass(60_100);
    expect(desk.went).toEqual(["next"]);
  });

  test("a process that was busy for long catches up at once", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [rpm(2)], { requestTimeoutMs: 100_000 }));
    for (let i = 0; i < 2; i++) desk.take(path).commit(tokens(1));
    for (const name of ["a", "b", "c"]) desk.ask(path, { name });
    desk.clock.skip(90_000);
    desk.ask(path, { name: "d" });
    await desk.pass();
    expect(desk.went).toEqual(["a", "b"]);
  });
});
