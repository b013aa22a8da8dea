import { Database } from "bun:sqlite";

import type { AccountSpec } from "../../src/ledger/account.ts";
import { ledgerMigrations, SqliteLedger } from "../../src/ledger/sqlite.ts";
import { openDatabase } from "../../src/storage/sqlite.ts";
import type { FakeClock } from "../clock.ts";

/** A store in memory with a ledger on it, and the accounts it was made with. */
export class Store {
  readonly database: Database;
  readonly ledger: SqliteLedger;
  readonly #clock: FakeClock;
  readonly #specs: readonly AccountSpec[];

  constructor(clock: FakeClock, specs: readonly AccountSpec[], database?: Database) {
    this.database =
      database ?? openDatabase({ path: ":memory:", durability: "process", migrations: ledgerMigrations });
    this.#clock = clock;
    this.#specs = specs;
    this.ledger = new SqliteLedger(this.database, clock, (run) => void clock.at(clock.now(), run));
    for (const spec of specs) this.ledger.account(spec);
  }

  /** What a process finds that starts now, after this one was killed: all that is committed, and nothing else. */
  afterCrash(): Store {
    return new Store(this.#clock, this.#specs, Database.deserialize(this.database.serialize(), { strict: true }));
  }

  rows(table: "open" | "mark"): number {
    return this.database.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table}`).get()?.n ?? 0;
  }
}
