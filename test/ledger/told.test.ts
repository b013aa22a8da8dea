import { describe, expect, test } from "bun:test";

import { ledgerMigrations } from "../../src/ledger/journal.ts";
import { SqliteLedger } from "../../src/ledger/sqlite.ts";
import { openDatabase } from "../../src/storage/sqlite.ts";
import { FakeClock } from "../clock.ts";
import { account, rpm, tokens, tpm } from "./costs.ts";
import { only, reserve, Store } from "./store.ts";

const spec = account("a", [tpm(1_000)], { learns: true });
const daily = { unit: "requests", window: "day", limit: 50, remaining: 20, resetAt: null } as const;

describe.each(["afterCrash", "afterClose"] as const)("%s", (restart) => {
  test("a hold that is still running is honoured, and gone once it is over or lifted", () => {
    const clock = new FakeClock();
    const store = new Store(clock, [spec]);
    const end = clock.now() + 30_000;
    only(store.ledger).hold(end);
    clock.advance(100);
    const next = store[restart]();
    const held = only(next.ledger);
    expect(held.heldUntil).toBe(end);
    expect(
      next.ledger.reserve(clock.now(), [held], tokens(1), { outlook: null, uploading: false }),
    ).toEqual({ retryAt: end });
    clock.advance(31_000);
    reserve(next, clock.now(), 1);
    expect(held.heldUntil).toBe(0);
    clock.advance(100);
    expect(only(next[restart]().ledger).heldUntil).toBe(0);
  });

  test("learned limits are in force again, with what is used of them", () => {
    const clock = new FakeClock();
    const store = new Store(clock, [spec]);
    const first = reserve(store, clock.now(), 1);
    store.ledger.hint(first, clock.now(), [daily]);
    store.ledger.hint(first, clock.now(), [daily]);
    const made = reserve(store, clock.now(), 1);
    store.ledger.settle(made, clock.now(), tokens(1));
    clock.advance(100);
    const next = only(store[restart]().ledger);
    expect(next.learned).toEqual(only(store.ledger).learned);
    const [, limit] = next.limits;
    expect(limit?.usage(clock.now())).toMatchObject({ limit: 50, used: 1 });
  });
});

test("a store of the version before is brought up to date", () => {
  const [first = ""] = ledgerMigrations;
  const clock = new FakeClock();
  const database = openDatabase({ path: ":memory:", durability: "process", migrations: [first] });
  for (const script of ledgerMigrations.slice(1)) database.run(script);
  const ledger = new SqliteLedger(database, clock, (run) => run());
  expect(ledger.account(account("a", [rpm(5)])).learned).toEqual([]);
  ledger.close();
});
