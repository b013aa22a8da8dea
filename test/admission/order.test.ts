import { describe, expect, test } from "bun:test";

import { account, leaky, rpm, slots, tokens, tpm } from "../ledger/costs.ts";
import { Desk, leaseOf } from "./desk.ts";

describe("order", () => {
  test("goes at once while there is room, in one call", () => {
    const desk = new Desk();
    const lease = leaseOf(desk.ask(desk.path(account("a", [rpm(1)]))));
    expect(lease.waitedMs).toBe(0);
    expect(lease.committed).toBeNull();
    expect(lease.reserved).toEqual(tokens(1));
    expect(desk.clock.armed).toBe(0);
  });

  test("high before normal before low, within each first come first", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1)]));
    desk.take(path);
    for (const name of ["low 1", "normal 1", "high 1", "low 2", "high 2", "normal 2"]) {
      desk.ask(path, { name, priority: name.split(" ")[0] as "low" });
    }
    await desk.pass(10_000);
    expect(desk.went).toEqual(["high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"]);
  });

  test("waiting lifts a class each tenth of the longest wait", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { requestTimeoutMs: 100_000 }));
    const first = desk.take(path);
    desk.ask(path, { name: "old and low", priority: "low" });
    await desk.pass(30_000);
    desk.ask(path, { name: "new and high", priority: "high" });
    first.commit(tokens(1));
    await desk.pass();
    expect(desk.went).toEqual(["old and low"]);
  });

  test("clients take turns by their weight", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1)]));
    desk.take(path);
    for (let i = 0; i < 6; i++) desk.ask(path, { name: `greedy`, client: "greedy" });
    for (let i = 0; i < 3; i++) desk.ask(path, { name: `modest`, client: "modest" });
    for (let i = 0; i < 6; i++) desk.ask(path, { name: `double`, client: "double", weight: 2 });
    await desk.pass(8_001);
    const had = Object.groupBy(desk.went, (name) => name);
    expect([had["greedy"]?.length, had["modest"]?.length, had["double"]?.length]).toEqual([
      2, 2, 4,
    ]);
  });

  test("a pile of one client does not keep another waiting", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(1)]));
    desk.take(path);
    for (let i = 0; i < 50; i++) desk.ask(path, { name: "pile", client: "pile" });
    await desk.pass(10_001);
    desk.ask(path, { name: "other", client: "other" });
    await desk.pass(2_001);
    expect(desk.went).toContain("other");
  });

  test("while tokens are tight small requests go first; otherwise whoever came first", async () => {
    for (const threshold of [0.7, 1, null]) {
      const desk = new Desk();
      const path = desk.path(
        account("a", [tpm(30_000), slots(1)], { priorityThreshold: threshold }),
      );
      const first = desk.take(path, { amount: 24_000 });
      desk.ask(path, { name: "large", amount: 5_001 });
      desk.ask(path, { name: "medium", amount: 1_000, client: "two" });
      desk.ask(path, { name: "small", amount: 999, client: "three" });
      // The slot comes back, the tokens do not.
      first.commit(tokens(24_000));
      await desk.pass();
      const [head] = desk.went;
      expect(head).toBe(threshold === 0.7 ? "small" : "large");
    }
  });

  test("small ones do not go first where requests are the tighter limit", async () => {
    const desk = new Desk();
    const path = desk.path(
      account("a", [tpm(10_000), rpm(10), slots(1)], { priorityThreshold: 0.1 }),
    );
    for (let i = 0; i < 8; i++) desk.take(path, { amount: 500 }).commit(tokens(500));
    const held = desk.take(path, { amount: 50 });
    desk.ask(path, { name: "medium", amount: 5_500 });
    desk.ask(path, { name: "small", amount: 50, client: "two" });
    held.commit(tokens(50));
    await desk.pass();
    expect(desk.went).toEqual(["medium"]);
  });

  test("says how long it waited", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [leaky(4)]));
    desk.take(path);
    const asked = desk.ask(path);
    await desk.pass(1_000);
    expect(leaseOf(asked).waitedMs).toBeCloseTo(250, 1);
  });
});

describe("limits together", () => {
  test("a leaky bucket and a quota: both or neither", async () => {
    const desk = new Desk();
    const pace = account("pace", [leaky(1)]);
    const quota = account("quota", [rpm(2)]);
    const path = desk.path(pace, quota);
    for (const name of ["a", "b", "c"]) desk.ask(path, { name });
    await desk.pass(2_000);
    expect(desk.went).toEqual(["a", "b"]);
    // The third waits for the quota and uses no turn of the leaky bucket meanwhile.
    desk.ask(desk.path(pace), { name: "pace only" });
    await desk.pass();
    expect(desk.went).toEqual(["a", "b", "pace only"]);
  });

  test("what shares no limit is not held up, what shares one is planned together", async () => {
    const desk = new Desk();
    const shared = account("shared", [leaky(1)]);
    const full = desk.path(account("full", [rpm(1)]), shared);
    const free = desk.path(account("free", [rpm(100)]), shared);
    const apart = desk.path(account("apart", [rpm(100)], { group: "another" }));
    desk.take(full);
    desk.ask(full, { name: "full" });
    for (const name of ["free 1", "free 2"]) desk.ask(free, { name });
    desk.ask(apart, { name: "apart" });
    await desk.pass(2_500);
    expect(desk.went).toEqual(["apart", "free 1", "free 2"]);
    await desk.pass(60_000);
    expect(desk.went).toEqual(["apart", "free 1", "free 2", "full"]);
  });

  test("a request that needs no limit goes", () => {
    const desk = new Desk();
    expect(leaseOf(desk.ask(desk.path())).open).toBe(true);
    const empty = desk.path(account("empty", []));
    expect(leaseOf(desk.ask(empty)).open).toBe(true);
  });
});

describe("leases", () => {
  test("only the first of commit and cancel takes effect", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)]));
    const lease = desk.take(path, { amount: 60 });
    lease.commit(tokens(20));
    lease.cancel();
    lease.commit(tokens(90));
    expect(lease.open).toBe(false);
    const [limit] = path.limits;
    expect(limit?.usage(desk.clock.now()).used).toBe(20);
  });

  test("a refund lets the next one go at once", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [tpm(100)]));
    const lease = desk.take(path, { amount: 60 });
    desk.ask(path, { name: "next", amount: 60 });
    lease.commit(tokens(20));
    await desk.pass();
    expect(desk.went).toEqual(["next"]);
  });
});
