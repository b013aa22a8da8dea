import { Database } from "bun:sqlite";

import type { Account, AccountSpec } from "../../src/ledger/account.ts";
import type { Reservation } from "../../src/ledger/ledger.ts";
import { ledgerMigrations } from "../../src/ledger/journal.ts";
import { SqliteLedger } from "../../src/ledger/sqlite.ts";
import { openDatabase } from "../../src/storage/sqlite.ts";
import type { FakeClock } from "../clock.ts";
import { tokens } from "./costs.ts";

/** A store in memory with a ledger on it, and the accounts it was made with. */
export class Store {
  readonly database: Database;
  readonly ledger: SqliteLedger;
  readonly #clock: FakeClock;
  readonly #specs: readonly AccountSpec[];

  constructor(clock: FakeClock, specs: readonly AccountSpec[], database?: Database) {
    this.database =
      database ??
      openDatabase({ path: ":memory:", durability: "process", migrations: ledgerMigrations });
    this.#clock = clock;
    this.#specs = specs;
    this.ledger = new SqliteLedger(this.database, clock, (run) => void clock.at(clock.now(), run));
    for (const spec of specs) this.ledger.account(spec);
  }

  /** What a process finds that starts now, after this one was killed: all that is committed, and nothing else. */
  afterCrash(): Store {
    return new Store(
      this.#clock,
      this.#specs,
      Database.deserialize(this.database.serialize(), { strict: true }),
    );
  }

  /** What a process finds after this one has ended in good order. */
  afterClose(): Store {
    const { database } = this;
    const found: { content: Uint8Array | null } = { content: null };
    // A database in memory is gone once it is closed, so it is read at the last moment.
    const close = database.close.bind(database);
    database.close = () => {
      found.content = database.serialize();
      close();
    };
    this.ledger.close();
    if (found.content === null) throw new Error("The ledger did not close its database");
    return new Store(
      this.#clock,
      this.#specs,
      Database.deserialize(found.content, { strict: true }),
    );
  }

  rows(table: "open" | "mark"): number {
    return (
      this.database.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table}`).get()?.n ?? 0
    );
  }
}

/** The one account of a ledger. */
export function only(ledger: SqliteLedger): Account {
  const [first] = ledger.accounts();
  if (first === undefined) throw new Error("No account");
  return first;
}

/** Reserves what must fit into it. */
export function reserve(store: Store, now: number, amount: number, uploading = false): Reservation {
  const made = store.ledger.reserve(now, [only(store.ledger)], tokens(amount), {
    outlook: null,
    uploading,
  });
  if ("retryAt" in made) throw new Error("Does not fit");
  return made;
}
