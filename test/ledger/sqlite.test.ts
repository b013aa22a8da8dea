import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ledgerMigrations } from "../../src/ledger/journal.ts";
import { SqliteLedger } from "../../src/ledger/sqlite.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";
import { openDatabase } from "../../src/storage/sqlite.ts";
import { FakeClock } from "../clock.ts";
import { account, bucket, leaky, rpm, slots, tokens, tpm } from "./costs.ts";
import { only, reserve, Store } from "./store.ts";

function usages(store: Store, now: number): Record<string, { used: number; reserved: number }> {
  const { limits } = only(store.ledger);
  return Object.fromEntries(
    limits.map((limit) => {
      const { used, reserved } = limit.usage(now);
      return [limit.key, { used, reserved }];
    }),
  );
}

function setUp(limits: readonly LimitSpec[]): { clock: FakeClock; store: Store } {
  const clock = new FakeClock();
  return { clock, store: new Store(clock, [account("a", limits)]) };
}

describe("after a crash", () => {
  const window = "sliding_window tokens/minute";
  const tokenBucket = "token_bucket tokens/minute";

  test("what was settled is remembered as settled, what was open in full", () => {
    const { clock, store } = setUp([tpm(100), bucket(100), slots(5)]);
    const settled = reserve(store, clock.now(), 50);
    reserve(store, clock.now(), 30);
    clock.advance(0);
    store.ledger.settle(settled, clock.now(), tokens(10));
    clock.advance(100);
    const again = store.afterCrash();
    expect(usages(again, clock.now())).toEqual({
      [window]: { used: 10, reserved: 30 },
      [tokenBucket]: { used: 10, reserved: 30 },
      concurrency: { used: 0, reserved: 0 },
    });
    // Nobody will settle what was open: it ends with its window.
    clock.advance(80_000);
    reserve(again, clock.now(), 1);
    clock.advance(100);
    expect(usages(again, clock.now())).toMatchObject({ [window]: { used: 0, reserved: 1 } });
    expect(again.rows("open")).toBe(1);
    expect(again.afterCrash().rows("open")).toBe(1);
  });

  test("what was open is used once the upstream has surely counted it, and nobody waits for its refund", () => {
    const { clock, store } = setUp([tpm(100), bucket(100)]);
    reserve(store, clock.now(), 80);
    clock.advance(500);
    const again = store.afterCrash();
    expect(usages(again, clock.now())).toMatchObject({ [window]: { used: 0, reserved: 80 } });
    clock.advance(1_000);
    const refused = again.ledger.reserve(clock.now(), [only(again.ledger)], tokens(50), {
      outlook: null,
      uploading: false,
    });
    expect(refused).toHaveProperty("retryAt");
    expect(usages(again, clock.now())[window]).toEqual({ used: 80, reserved: 0 });
    for (const limit of only(again.ledger).limits) {
      const at = limit.fitsAt(clock.now(), 50);
      expect(limit.earliestAt(clock.now(), 50)).toBeWithin(at - 1, at + 1);
    }
    // That is written, too: it stays so however often it crashes.
    clock.advance(100);
    expect(again.rows("open")).toBe(0);
    const third = again.afterCrash();
    expect(usages(third, clock.now())[window]).toEqual({ used: 80, reserved: 0 });
    clock.advance(59_000);
    expect(usages(third, clock.now())[window]).toEqual({ used: 80, reserved: 0 });
    clock.advance(1_000);
    expect(usages(third, clock.now())[window]).toEqual({ used: 0, reserved: 0 });
  });

  test("a settlement not yet written counts as reserved", () => {
    const { clock, store } = setUp([tpm(100)]);
    const made = reserve(store, clock.now(), 50);
    clock.advance(0);
    store.ledger.settle(made, clock.now(), tokens(10));
    clock.advance(10);
    expect(usages(store.afterCrash(), clock.now())).toEqual({
      [window]: { used: 0, reserved: 50 },
    });
  });

  test("what was still arriving may have been counted as late as the crash", () => {
    const { clock, store } = setUp([tpm(100)]);
    reserve(store, clock.now(), 50, true);
    const sent = reserve(store, clock.now(), 20, true);
    clock.advance(30_000);
    store.ledger.sent(sent, clock.now());
    store.ledger.sent(sent, clock.now());
    clock.advance(1_000);
    const restarted = clock.now();
    const again = store.afterCrash();
    const [limit] = only(again.ledger).limits;
    expect(limit?.fitsAt(restarted, 50)).toBeWithin(restarted + 60_000, restarted + 60_300);
    expect(limit?.fitsAt(restarted, 100)).toBeWithin(restarted + 61_000, restarted + 61_300);
    // That stays so however often it crashes.
    clock.advance(5_000);
    const third = only(again.afterCrash().ledger).limits[0];
    expect(third?.fitsAt(clock.now(), 100)).toBeWithin(restarted + 61_000, restarted + 61_300);
  });

  test("a request may have left a moment after its commit", () => {
    const { clock, store } = setUp([tpm(100)]);
    reserve(store, clock.now(), 50);
    clock.advance(0);
    const leftAt = clock.now() + 100;
    clock.advance(500);
    const [limit] = only(store.afterCrash().ledger).limits;
    expect(limit?.fitsAt(clock.now(), 51)).toBeGreaterThan(leftAt + 1_000 + 60_000);
  });

  test("a leaky bucket goes on where it was, and nothing is numbered twice", () => {
    const { clock, store } = setUp([leaky(0.1, 2), rpm(10)]);
    reserve(store, clock.now(), 1);
    const last = reserve(store, clock.now(), 1);
    clock.advance(1_000);
    const again = store.afterCrash();
    const refused = again.ledger.reserve(clock.now(), [only(again.ledger)], tokens(1), {
      outlook: null,
      uploading: false,
    });
    const at = "retryAt" in refused ? refused.retryAt : NaN;
    // Its mark is written up to a second ahead, so that most requests need no transaction.
    expect(at - clock.now()).toBeWithin(9_000, 10_001);
    clock.advance(10_001);
    expect(reserve(again, clock.now(), 1).id).toBeGreaterThan(last.id);
  });

  test("the clock goes on from the latest time the store has seen", () => {
    const { clock, store } = setUp([leaky(1)]);
    expect(SqliteLedger.latestTime(store.database)).toBe(0);
    reserve(store, clock.now(), 1);
    clock.advance(10);
    expect(SqliteLedger.latestTime(store.database)).toBe(clock.now() - 10);
  });

  test("what is older than any window is not read back", () => {
    const { clock, store } = setUp([tpm(100)]);
    reserve(store, clock.now(), 50);
    clock.advance(3 * 86_400_000);
    expect(store.afterCrash().rows("open")).toBe(0);
  });

  test("released requests leave nothing", () => {
    const { clock, store } = setUp([tpm(100)]);
    const early = reserve(store, clock.now(), 50);
    store.ledger.release(early, clock.now());
    const late = reserve(store, clock.now(), 50);
    clock.advance(0);
    store.ledger.release(late, clock.now());
    clock.advance(100);
    const again = store.afterCrash();
    expect(again.rows("open")).toBe(0);
    expect(usages(again, clock.now())).toEqual({ [window]: { used: 0, reserved: 0 } });
  });

  test("files copied from under a running process are enough", () => {
    const folder = mkdtempSync(join(tmpdir(), "cooldown-ledger-"));
    try {
      const clock = new FakeClock();
      const specs = [account("a", [tpm(100)])];
      const open = (name: string): Database =>
        openDatabase({
          path: join(folder, name, "cooldown.db"),
          durability: "process",
          migrations: ledgerMigrations,
        });
      const store = new Store(clock, specs, open("first"));
      reserve(store, clock.now(), 20);
      clock.advance(0);
      cpSync(join(folder, "first"), join(folder, "second"), { recursive: true });
      const again = new Store(clock, specs, open("second"));
      expect(usages(again, clock.now())).toEqual({ [window]: { used: 0, reserved: 20 } });
      again.ledger.close();
      store.ledger.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("a store that fails", () => {
  const fail = (store: Store, fails: boolean): void =>
    void store.database.run(`PRAGMA query_only = ${fails ? "ON" : "OFF"}`);

  test("refuses reservations, recovers by itself and has lost nothing", async () => {
    const { clock, store } = setUp([tpm(100), rpm(100)]);
    const { ledger } = store;
    const before = reserve(store, clock.now(), 40);
    const arriving = reserve(store, clock.now(), 5, true);
    clock.advance(0);

    fail(store, true);
    const refused = reserve(store, clock.now(), 20);
    const committed = ledger.committed(refused);
    ledger.settle(before, clock.now(), tokens(30));
    ledger.sent(arriving, clock.now());
    clock.advance(0);
    expect(committed).rejects.toMatchObject({
      code: "STORE_UNAVAILABLE",
      status: 503,
      retryAfterMs: 1_000,
    });
    expect(ledger.committed(refused)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    expect(ledger.healthy()).toBe(false);
    ledger.release(refused, clock.now());
    clock.advance(1_000);
    expect(ledger.healthy()).toBe(false);
    expect(usages(store.afterCrash(), clock.now())).toMatchObject({
      "sliding_window tokens/minute": { used: 0, reserved: 45 },
    });

    fail(store, false);
    clock.advance(100);
    expect(ledger.healthy()).toBe(true);
    expect(clock.pending).toBe(0);
    const [row] = store.database.query<{ at: number }, []>("SELECT at FROM open").all();
    expect(row?.at).toBe(clock.now() - 1_100);
    expect(usages(store.afterCrash(), clock.now())).toMatchObject({
      "sliding_window tokens/minute": { used: 30, reserved: 5 },
      "sliding_window requests/minute": { used: 1, reserved: 1 },
    });
    ledger.close();
    await clock.tick();
  });

  test("what a failed turn held is not safe in the next turn either", () => {
    const { clock, store } = setUp([tpm(100)]);
    fail(store, true);
    const lost = reserve(store, clock.now(), 10);
    clock.advance(0);
    fail(store, false);
    const next = reserve(store, clock.now(), 10);
    expect(store.ledger.committed(next)).not.toBeNull();
    expect(store.ledger.committed(lost)).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  test("what was dispatched all the same is remembered once it is settled", () => {
    const { clock, store } = setUp([tpm(100)]);
    fail(store, true);
    const made = reserve(store, clock.now(), 40);
    clock.advance(0);
    fail(store, false);
    clock.advance(100);
    expect(store.ledger.healthy()).toBe(true);
    store.ledger.settle(made, clock.now(), tokens(30));
    clock.advance(100);
    expect(usages(store.afterCrash(), clock.now())).toEqual({
      "sliding_window tokens/minute": { used: 30, reserved: 0 },
    });
  });

  test("a new account is refused with the same code, and is complete when it comes again", () => {
    const { clock, store } = setUp([tpm(100)]);
    reserve(store, clock.now(), 40);
    clock.advance(0);
    const again = new Store(clock, [], Database.deserialize(store.database.serialize()));
    fail(again, true);
    expect(() => again.ledger.account(account("new", [tpm(5)]))).toThrow(
      expect.objectContaining({ code: "STORE_UNAVAILABLE" }),
    );
    fail(again, false);
    const found = again.ledger.account(account("a", [tpm(100)]));
    expect(found.limits[0]?.usage(clock.now()).reserved).toBe(40);
    again.ledger.account(account("new", [tpm(5)]));
    const ids = [...again.ledger.accounts()].map(({ storeId }) => storeId);
    expect(new Set(ids).size).toBe(2);
    expect(Math.min(...ids)).toBeGreaterThan(0);
  });

  test("a transaction that breaks in the middle is rolled back", () => {
    const { clock, store } = setUp([tpm(100)]);
    store.database.run(
      "CREATE TRIGGER broken BEFORE INSERT ON mark BEGIN SELECT raise(ABORT, 'broken'); END",
    );
    const made = reserve(store, clock.now(), 40);
    store.ledger.settle(made, clock.now(), tokens(30));
    reserve(store, clock.now(), 10);
    clock.advance(100);
    expect(store.ledger.healthy()).toBe(false);
    expect(store.rows("open")).toBe(0);
    store.database.run("DROP TRIGGER broken");
    clock.advance(100);
    expect(store.ledger.healthy()).toBe(true);
    expect(store.rows("mark")).toBe(1);
  });
});

test("a turn's reservations are one transaction, settlements follow within 50 ms, old marks are deleted", () => {
  const { clock, store } = setUp([tpm(1_000)]);
  const made = [1, 2, 3].map(() => reserve(store, clock.now(), 10));
  const promises = new Set(made.map((one) => store.ledger.committed(one)));
  expect(promises.size).toBe(1);
  expect(store.rows("open")).toBe(0);
  clock.advance(0);
  expect(store.rows("open")).toBe(3);
  for (const one of made) store.ledger.settle(one, clock.now(), tokens(1));
  clock.advance(49);
  expect([store.rows("open"), store.rows("mark")]).toEqual([3, 0]);
  clock.advance(1);
  expect([store.rows("open"), store.rows("mark")]).toEqual([0, 1]);
  clock.advance(70_000);
  reserve(store, clock.now(), 10);
  clock.advance(0);
  expect(store.rows("mark")).toBe(0);
});

test("an account that was forgotten and comes back reads what the store knows", () => {
  const { clock, store } = setUp([tpm(100)]);
  store.ledger.settle(reserve(store, clock.now(), 10), clock.now(), tokens(10));
  clock.advance(100);
  store.ledger.forget(only(store.ledger));
  store.ledger.account(account("a", [tpm(100)]));
  expect(usages(store, clock.now())).toEqual({
    "sliding_window tokens/minute": { used: 10, reserved: 0 },
  });
});

test("a settled request leaves no row, even if its account has other limits by then", () => {
  const { clock, store } = setUp([tpm(100)]);
  const made = reserve(store, clock.now(), 10);
  clock.advance(0);
  store.ledger.account(account("a", [leaky(1)]));
  store.ledger.settle(made, clock.now(), tokens(10));
  clock.advance(100);
  expect(store.rows("open")).toBe(0);
});
