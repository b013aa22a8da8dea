import { describe, expect, test } from "bun:test";
import { Path } from "../../src/admission/path.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";
import { account, rpm, slots, tpm } from "../ledger/costs.ts";
import { Desk, leaseOf, refusalOf } from "./desk.ts";

/** A quota with several keys, each with these limits. */
function pool(desk: Desk, limits: readonly LimitSpec[], keys = 2): Path {
  const group = { group: "q" };
  const alternatives = Array.from({ length: keys }, (_, i) =>
    desk.path(account(`q key=${i}`, limits, group)),
  );
  return new Path(
    [desk.ledger.account(account("q", [], { ...group, maxQueueDepth: 5 }))],
    alternatives,
  );
}

const chosen = (path: Path): string => path.accounts[0]?.name ?? "";

describe("of several keys", () => {
  test("they take turns while all have room", () => {
    const desk = new Desk();
    const path = pool(desk, [rpm(10)]);
    const went = Array.from({ length: 6 }, () => chosen(desk.take(path).path));
    expect(went).toEqual(["q key=0", "q key=1", "q key=0", "q key=1", "q key=0", "q key=1"]);
  });

  test("a request waits only when none has room, and goes on the first that gets some", async () => {
    const desk = new Desk();
    const path = pool(desk, [slots(1)]);
    desk.take(path);
    const second = desk.take(path);
    const third = desk.ask(path);
    expect(third.fate.state).toBe("waiting");
    second.commit(second.reserved);
    await desk.pass();
    expect(chosen(leaseOf(third).path)).toBe("q key=1");
  });

  test("one that is held is left out, and used again afterwards", async () => {
    const desk = new Desk();
    const path = pool(desk, [rpm(10)]);
    const held = path.alternatives[0]?.accounts[0];
    held?.hold(desk.clock.now() + 5_000);
    expect([desk.take(path), desk.take(path)].map((lease) => chosen(lease.path))).toEqual([
      "q key=1",
      "q key=1",
    ]);
    await desk.pass(5_000);
    expect(chosen(desk.take(path).path)).toBe("q key=0");
  });

  test("the start is that of the earliest; the queue is one", async () => {
    const desk = new Desk();
    const path = pool(desk, [rpm(1, 0)]);
    const first = desk.take(path);
    first.commit(first.reserved);
    await desk.pass(10_000);
    const second = desk.take(path);
    second.commit(second.reserved);
    const refusal = refusalOf(desk.ask(path, { patienceMs: 1_000 }));
    expect(refusal.refused).toBe("QUEUE_TIMEOUT");
    expect(refusal.retryAfterMs ?? 0).toBeWithin(49_900, 50_201);
    const waiting = Array.from({ length: 5 }, () => desk.ask(path));
    expect(refusalOf(desk.ask(path)).refused).toBe("QUEUE_FULL");
    await desk.pass(50_200);
    expect(waiting.filter(({ fate }) => fate.state === "granted")).toHaveLength(1);
  });

  test("what no key could ever take is refused", () => {
    const desk = new Desk();
    const refusal = refusalOf(desk.ask(pool(desk, [tpm(100)]), { amount: 101 }));
    expect(refusal.refused).toBe("EXCEEDS_QUOTA");
    expect(refusal.message).toContain("100 a minute of q:");
  });

  test("a request that only one key can take at once goes there, past a larger one that waits", async () => {
    const desk = new Desk();
    const path = pool(desk, [tpm(100, 0)]);
    desk.take(path, { amount: 90 });
    desk.take(path, { amount: 50 });
    const large = desk.ask(path, { amount: 100, name: "large" });
    const small = desk.ask(path, { amount: 10, name: "small" });
    await desk.pass();
    expect(chosen(leaseOf(small).path)).toBe("q key=1");
    expect([large.fate.state, small.fate.state]).toEqual(["waiting", "granted"]);
    await desk.pass(60_200);
    expect(large.fate.state).toBe("granted");
  });
});

describe("a request that the upstream has turned away", () => {
  const again = (desk: Desk, ms = 60_000) => ({ again: { deadlineAt: desk.clock.now() + ms } });

  test("goes before all others, whatever their class", async () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)]));
    const lease = desk.take(path);
    desk.ask(path, { name: "high", priority: "high" });
    desk.ask(path, { name: "again", priority: "low", ...again(desk) });
    lease.cancel();
    await desk.pass();
    expect(desk.went).toEqual(["again"]);
  });

  test("finds a place in a full queue", () => {
    const desk = new Desk();
    const path = desk.path(account("a", [slots(1)], { maxQueueDepth: 1 }));
    desk.take(path);
    desk.ask(path);
    expect(desk.ask(path, again(desk)).fate.state).toBe("waiting");
  });

  test("waits for the end of the hold, to the millisecond, and everything else behind it", async () => {
    const desk = new Desk();
    const spec = account("a", [rpm(100)]);
    const path = desk.path(spec);
    const lease = desk.take(path);
    const [quota] = path.accounts;
    if (quota === undefined) throw new Error("No account");
    quota.hold(desk.clock.now() + 2_000);
    lease.commit(lease.reserved);
    desk.ask(path, { name: "other" });
    desk.ask(path, { name: "again", ...again(desk) });
    await desk.pass(1_999);
    expect(desk.went).toEqual([]);
    await desk.pass(1);
    expect(desk.went).toEqual(["again"]);
    // One shows whether there is room; then, or a second later, all may go.
    await desk.pass(999);
    expect(desk.went).toEqual(["again"]);
    await desk.pass(1);
    expect(desk.went).toEqual(["again", "other"]);
  });

  test("is refused at once where the hold ends after its deadline", () => {
    const desk = new Desk();
    const path = desk.path(account("a", [rpm(100)]));
    path.accounts[0]?.hold(desk.clock.now() + 30_000);
    const refusal = refusalOf(desk.ask(path, again(desk, 29_999)));
    expect(refusal).toMatchObject({ refused: "QUEUE_TIMEOUT", retryAfterMs: 30_000 });
  });
});
