import type { Database, Statement } from "bun:sqlite";
import type { Cost } from "../limit/cost.ts";
import type { Mark } from "../limit/limit.ts";
import type { Account, AccountState } from "./account.ts";
import type { LearnedLimit } from "./learned.ts";
import type { Reservation } from "./ledger.ts";

/** The ledger's tables, one statement list a version: append, never change. */
export const ledgerMigrations: readonly string[] = [
  `CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
   -- Reservations that are not settled. "at" is when the request left, NULL while its body is still arriving.
   CREATE TABLE open (
     id INTEGER NOT NULL, account INTEGER NOT NULL, at REAL,
     requests INTEGER NOT NULL, tokens INTEGER NOT NULL, input_tokens INTEGER NOT NULL,
     output_tokens INTEGER NOT NULL, total_tokens INTEGER NOT NULL,
     PRIMARY KEY (account, id)
   ) STRICT, WITHOUT ROWID;
   CREATE TABLE mark (
     account INTEGER NOT NULL, limit_key TEXT NOT NULL, slot INTEGER NOT NULL,
     at REAL NOT NULL, value REAL NOT NULL, expires_at REAL,
     PRIMARY KEY (account, limit_key, slot)
   ) STRICT, WITHOUT ROWID;`,
  `-- What the provider has told: until when nothing may go, and limits that the file leaves open.
   CREATE TABLE hold (account INTEGER PRIMARY KEY, until REAL NOT NULL) STRICT;
   CREATE TABLE learned (
     account INTEGER NOT NULL, unit TEXT NOT NULL, "window" TEXT NOT NULL, "limit" REAL NOT NULL,
     PRIMARY KEY (account, unit, "window")
   ) STRICT, WITHOUT ROWID;`,
];

export interface OpenRow extends Cost {
  id: number;
  at: number;
}

export interface MarkRow {
  limit_key: string;
  slot: number;
  at: number;
  value: number;
}

/** A mark with where it belongs. */
export interface StoredMark {
  account: Account;
  key: string;
  mark: Mark;
}

/** Whether a limit's open charges need rows: a leaky bucket is all mark, and slots end with the process. */
export function isJournalled(limit: { window: string | null }): boolean {
  return limit.window !== null;
}

/** Whether a limit has moved past what the store has of it. */
export function isUnsaved({ unsaved }: { unsaved: boolean }): boolean {
  return unsaved;
}

export type Statements = ReturnType<typeof prepare>;

/** The SQL of the ledger, prepared once. */
export function prepare(database: Database) {
  const open = database.prepare("INSERT INTO open VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  const left = database.prepare("UPDATE open SET at = ? WHERE account = ? AND id = ?");
  const remove = database.prepare("DELETE FROM open WHERE account = ? AND id = ?");
  const mark = database.prepare("INSERT OR REPLACE INTO mark VALUES (?, ?, ?, ?, ?, ?)");
  const prune = database.prepare("DELETE FROM mark WHERE expires_at < ?");
  const findAccount = database.prepare<{ id: number }, [string]>(
    "SELECT id FROM account WHERE name = ?",
  );
  const addAccount = database.prepare("INSERT INTO account (name) VALUES (?)");
  const marks = database.prepare<MarkRow, [number]>(
    "SELECT * FROM mark WHERE account = ? ORDER BY at",
  );
  const opens = database.prepare<OpenRow, [number]>(
    "SELECT id, at, requests, tokens, input_tokens, output_tokens, total_tokens FROM open WHERE account = ? ORDER BY at",
  );
  const hold = database.prepare("INSERT OR REPLACE INTO hold VALUES (?, ?)");
  const lift = database.prepare("DELETE FROM hold WHERE account = ?");
  const learn = database.prepare("INSERT OR REPLACE INTO learned VALUES (?, ?, ?, ?)");
  const holds = database.prepare<{ until: number }, [number]>(
    "SELECT until FROM hold WHERE account = ?",
  );
  const learned = database.prepare<LearnedLimit, [number]>(
    'SELECT unit, "window", "limit" FROM learned WHERE account = ?',
  );
  const all: { finalize(): void }[] = [
    hold,
    lift,
    learn,
    holds,
    learned,
    open,
    left,
    remove,
    mark,
    prune,
    findAccount,
    addAccount,
    marks,
    opens,
  ];
  const begin: Statement = database.prepare("BEGIN IMMEDIATE");
  const commit: Statement = database.prepare("COMMIT");
  const rollback: Statement = database.prepare("ROLLBACK");
  all.push(begin, commit, rollback);
  return {
    transaction(run: () => void): void {
      begin.run();
      try {
        run();
        commit.run();
      } catch (error) {
        if (database.inTransaction) rollback.run();
        throw error;
      }
    },
    open: ({ id, cost }: Reservation, account: Account, at: number | null): void =>
      void open.run(
        id,
        account.storeId,
        at,
        cost.requests,
        cost.tokens,
        cost.input_tokens,
        cost.output_tokens,
        cost.total_tokens,
      ),
    left({ id, accounts }: Reservation, at: number): void {
      for (const account of accounts) left.run(at, account.storeId, id);
    },
    // By the limits it was charged to: those of the account may be others by now.
    remove({ id, accounts, limits }: Reservation): void {
      if (limits.some(isJournalled))
        for (const account of accounts) remove.run(account.storeId, id);
    },
    mark: ({ account, key, mark: { slot, at, value, expiresAt } }: StoredMark): void =>
      void mark.run(
        account.storeId,
        key,
        slot,
        at,
        value,
        expiresAt === Infinity ? null : expiresAt,
      ),
    prune: (now: number): void => void prune.run(now),
    accountId(name: string): number {
      return findAccount.get(name)?.id ?? Number(addAccount.run(name).lastInsertRowid);
    },
    marksOf: (account: number): MarkRow[] => marks.all(account),
    /** Stores what the provider has told of an account. */
    told(account: number, state: AccountState): void {
      if (state.heldUntil > 0) hold.run(account, state.heldUntil);
      else lift.run(account);
      for (const { unit, window, limit } of state.learned) learn.run(account, unit, window, limit);
    },
    stateOf: (account: number): AccountState => ({
      heldUntil: holds.get(account)?.until ?? 0,
      learned: learned.all(account),
    }),
    openOf: (account: number): OpenRow[] => opens.all(account),
    finalize(): void {
      for (const statement of all) statement.finalize();
    },
  };
}
