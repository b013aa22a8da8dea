import { describe, expect, test } from "bun:test";

import { account, leaky, tokens, tpm } from "../ledger/costs.ts";
import { Desk, leaseOf } from "./desk.ts";

describe("a request that waits is priced by what is known when its turn comes", () => {
  test("less: it goes as soon as that fits, and that is what it holds", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)]));
    const [first, second] = [desk.take(path, { amount: 60 }), desk.take(path, { amount: 40 })];
    let amount = 60;
    const waiting = ["1", "2", "3", "4"].map((name) =>
      desk.ask(path, { name, amount, amountNow: () => amount }),
    );
    amount = 20;
    first.commit(tokens(5));
    await desk.pass();
    expect(desk.went).toEqual(["1", "2"]);
    expect(leaseOf(waiting[0] as (typeof waiting)[0]).reserved).toEqual(tokens(20));
    second.commit(tokens(5));
    await desk.pass();
    expect(desk.went).toEqual(["1", "2", "3", "4"]);
    expect([...desk.ends.values()].every((times) => times === 1)).toBe(true);
  });

  test("more: it does not go before that fits", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)]));
    const first = desk.take(path, { amount: 50 });
    let amount = 60;
    const asked = desk.ask(path, { amount, amountNow: () => amount });
    amount = 80;
    first.commit(tokens(30));
    await desk.pass(50_000);
    expect(asked.fate.state).toBe("waiting");
    await desk.pass(11_100);
    expect(leaseOf(asked).reserved).toEqual(tokens(80));
  });

  test("those that came before stand before newcomers of the same price, small ones first or not", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(40_000), leaky(1)], { priorityThreshold: 0.1 }));
    const first = desk.take(path, { amount: 36_000 });
    let amount = 30_000;
    const amountNow = (): number => amount;
    for (const name of ["old 1", "old 2"]) desk.ask(path, { name, amount, amountNow });
    amount = 3_000;
    for (const name of ["new 1", "new 2"]) desk.ask(path, { name, amount, amountNow });
    first.commit(tokens(20_000));
    await desk.pass(4_001);
    expect(desk.went).toEqual(["old 1", "old 2", "new 1", "new 2"]);
  });

  test("what waits ahead is told at its present price", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)], { maxQueueDepth: 1 }));
    const first = desk.take(path, { amount: 90 });
    let amount = 90;
    desk.ask(path, { amount, amountNow: () => amount });
    amount = 20;
    first.commit(tokens(85));
    await desk.pass();
    const { fate } = desk.ask(path, { amount: 80 });
    // Behind 90 tokens it would be told to come a window later.
    expect(fate.state === "refused" && (fate.refusal.retryAfterMs ?? 0)).toBeLessThan(62_000);
  });
});
