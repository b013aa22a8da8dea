import { describe, expect, test } from "bun:test";

import { account, leaky, rpm, slots, tokens, tpm } from "../ledger/costs.ts";
import { Desk, leaseOf } from "./desk.ts";

describe("a smaller request passes a larger one that does not fit", () => {
  test("only as far as that one starts as early in the worst case", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(1_000)]));
    desk.take(path, { amount: 300 });
    await desk.pass(10_000);
    desk.take(path, { amount: 500 });
    // 200 are free. In 50.1 s 300 more are: 400 go then, so 100 may go before.
    desk.ask(path, { name: "large", amount: 400 });
    desk.ask(path, { name: "too much", amount: 130, client: "two" });
    desk.ask(path, { name: "just right", amount: 100, client: "three" });
    await desk.pass();
    expect(desk.went).toEqual(["just right"]);
    await desk.pass(50_100);
    expect(desk.went).toEqual(["just right", "large"]);
  });

  test("and only if it starts as early when running requests settle as predicted", async () => {
    for (const [endsMs, passes] of [
      [1_000, true],
      [9_000, false],
    ] as const) {
      const desk = new Desk();
      const path = desk.path(account("a", [tpm(100)]));
      const outlook = { durationMs: 5_000, cost: tokens(10) };
      const running = desk.take(path, { amount: 80, outlook });
      // Worst case: 60.1 s, and then there is room for both. Expected: at 5 s, 90 are free.
      desk.ask(path, { name: "large", amount: 85 });
      const small = { durationMs: endsMs, cost: tokens(2) };
      desk.ask(path, { name: "small", amount: 10, client: "two", outlook: small });
      await desk.pass();
      expect(desk.went).toEqual(passes ? ["small"] : []);
      await desk.pass(5_000);
      running.commit(tokens(10));
      await desk.pass();
      // The small one has not ended as it should have: now the large one waits for it.
      if (!passes) expect(desk.went).toEqual(["large"]);
    }
  });

  test("in every limit: a free token does not help where the slot is needed", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100), slots(2)]));
    const running = desk.take(path, { amount: 90 });
    desk.ask(path, { name: "large", amount: 50 });
    desk.ask(path, { name: "small", amount: 5, client: "two" });
    await desk.pass();
    expect(desk.went).toEqual([]);
    running.commit(tokens(10));
    await desk.pass();
    expect(desk.went).toEqual(["large", "small"]);
  });

  test("nothing passes what could go now", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1), tpm(100)]));
    desk.take(path, { amount: 1 });
    desk.ask(path, { name: "large", amount: 90 });
    desk.ask(path, { name: "small", amount: 1, client: "two" });
    await desk.pass(2_001);
    expect(desk.went).toEqual(["large", "small"]);
  });
});

describe("nobody starves", () => {
  test("a large one starts among small ones that give back most of what they reserve", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(20_000)]));
    const ends: { at: number; end: () => void }[] = [];
    const ask = (): void => {
      const outlook = { durationMs: 400, cost: tokens(100) };
      const asked = desk.ask(path, { name: "small", amount: 1_000, client: "crowd", outlook });
      small.push(asked);
    };
    let small: ReturnType<Desk["ask"]>[] = [];
    for (let i = 0; i < 40; i++) ask();
    await desk.pass();
    desk.ask(path, { name: "large", amount: 12_000, client: "patient" });
    while (!desk.went.includes("large") && desk.clock.now() < desk.start + 20_000) {
      for (const asked of small) {
        if (asked.fate.state !== "granted") continue;
        const lease = leaseOf(asked);
        lease.sent();
        lease.arrived();
        ends.push({ at: desk.clock.now() + 400, end: () => lease.commit(tokens(100)) });
      }
      small = small.filter(({ fate }) => fate.state === "waiting");
      for (const { end } of ends.filter(({ at }) => at <= desk.clock.now())) {
        end();
        ask();
      }
      for (let i = ends.length - 1; i >= 0; i--)
        if ((ends[i]?.at ?? 0) <= desk.clock.now()) ends.splice(i, 1);
      await desk.pass(50);
    }
    expect(desk.went).toContain("large");
    expect(desk.clock.now() - desk.start).toBeLessThan(5_000);
  });

  test("a low one goes in the end, however many high ones keep coming", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1)], { requestTimeoutMs: 60_000 }));
    desk.take(path);
    desk.ask(path, { name: "low", priority: "low" });
    for (let i = 0; i < 50 && !desk.went.includes("low"); i++) {
      desk.ask(path, { name: "high", priority: "high" });
      desk.ask(path, { name: "high", priority: "high" });
      await desk.pass(1_000.1);
    }
    expect(desk.went).toContain("low");
    // Two classes at a tenth of a minute each, and one more above those that have just come.
    expect(desk.clock.now() - desk.start).toBeLessThan(25_000);
  });

  test("a head that waits for a slot keeps nobody else's tokens", async () => {
    const desk = new Desk();
    const shared = account("shared", [rpm(100)]);
    const narrow = desk.path(account("narrow", [slots(1)]), shared);
    const wide = desk.path(shared);
    const running = desk.take(narrow);
    desk.ask(narrow, { name: "narrow" });
    for (const name of ["wide 1", "wide 2"]) desk.ask(wide, { name, client: "two" });
    await desk.pass();
    expect(desk.went).toEqual(["wide 1", "wide 2"]);
    running.commit(tokens(1));
    await desk.pass();
    expect(desk.went.at(-1)).toBe("narrow");
  });
});
