import { Database } from "bun:sqlite";
import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

import { OperationError } from "../errors.ts";

/** What a commit survives: `process` the end of the process (kill -9 included), `power` the loss of power too. */
export type Durability = "process" | "power";

export interface DatabaseOptions {
  /** A file, created with its folder where missing, or `:memory:`. */
  path: string;
  durability: Durability;
  /**
   * SQL scripts; the n-th one (from 1) brings the schema from version n-1 to n. Only ever append: what has
   * been released has been run somewhere.
   */
  migrations: readonly string[];
}

/** Long enough for a killed predecessor's lock to fall, short enough to be no wait for a person. */
const busyTimeoutMs = 200;
/** Up to this size the whole file is checked at start: 1 ms a megabyte. */
const checkedBytes = 32 * 1024 * 1024;

/**
 * Opens a store for this process alone and brings its schema up to date.
 *
 * In WAL mode a commit under `synchronous=NORMAL` is in the file system's hands when it returns, which is
 * all that kill -9 asks for; `FULL` also waits for the disk (https://sqlite.org/pragma.html#pragma_synchronous).
 * The exclusive lock is held until the database is closed or the process ends in any way, so two processes
 * can never both believe that they know what a quota has left. It also keeps the WAL index in this process's
 * memory, which saves a lock a transaction.
 *
 * The caller must keep a reference: a collected database is a closed one, and its lock is gone.
 *
 * @throws OperationError with what to do: in use, damaged, not a database, not writable, of a newer version.
 */
export function openDatabase(options: DatabaseOptions): Database {
  const { path, durability, migrations } = options;
  const inMemory = path === ":memory:" || path === "";
  const file = inMemory ? ":memory:" : resolve(path);
  let database: Database | null = null;
  try {
    if (!inMemory) mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    database = new Database(file, { create: true, readwrite: true, strict: true });
    database.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
    database.run("PRAGMA locking_mode = EXCLUSIVE");
    database.run("PRAGMA journal_mode = WAL");
    database.run(`PRAGMA synchronous = ${durability === "power" ? "FULL" : "NORMAL"}`);
    database.run("PRAGMA temp_store = MEMORY");
    // A checkpoint leaves the WAL at its largest size otherwise.
    database.run("PRAGMA journal_size_limit = 16777216");
    if (!inMemory) check(database, file);
    migrate(database, file, migrations);
    return database;
  } catch (error) {
    database?.close();
    throw error instanceof OperationError
      ? error
      : new OperationError(explain(file, error), { cause: error });
  }
}

/** Damage is found here, with a message, and not in the middle of a request. */
function check(database: Database, file: string): void {
  if (statSync(file).size > checkedBytes) return;
  const verdict = database
    .query<{ quick_check: string }, []>("PRAGMA quick_check(1)")
    .get()?.quick_check;
  if (verdict !== "ok") throw new OperationError(`${damaged(file)} (${verdict ?? "no verdict"})`);
}

/** One transaction for all steps: the schema is at the old version or the new one, whenever the process ends. */
function migrate(database: Database, file: string, migrations: readonly string[]): void {
  const run = database.transaction(() => {
    const row = database.query<{ user_version: number }, []>("PRAGMA user_version").get();
    const version = row?.user_version ?? 0;
    if (version > migrations.length) {
      throw new OperationError(
        `The store ${file} was written by a newer Cooldown (schema ${version}, this one knows ${migrations.length}). ` +
          "Use that version, or another store with --store PATH.",
      );
    }
    for (const script of migrations.slice(version)) database.run(script);
    // Set even when nothing changed: the write takes the lock that refuses a second process.
    database.run(`PRAGMA user_version = ${migrations.length}`);
  });
  run.immediate();
}

function damaged(file: string): string {
  return (
    `The store ${file} is damaged or not a Cooldown store. Move it away to begin with an empty one ` +
    "(the quota used so far is then forgotten), or choose another with --store PATH."
  );
}

/** SQLite's result codes (https://sqlite.org/rescode.html) and the file system's, as sentences for an operator. */
function explain(file: string, error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const detail = error instanceof Error ? error.message : String(error);
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
    return (
      `The store ${file} is in use by another process, most likely another Cooldown. Stop that one, or give ` +
      "this one a store of its own: --store PATH, or --store :memory: to keep nothing."
    );
  }
  if (/^SQLITE_(NOTADB|CORRUPT)/.test(code)) return `${damaged(file)} (${detail})`;
  if (
    /^SQLITE_(CANTOPEN|READONLY|PERM|AUTH)|^E(ACCES|PERM|ROFS|NOTDIR|EXIST|ISDIR|NOENT)$/.test(code)
  ) {
    return (
      `The store ${file} cannot be written (${detail}). Make its folder writable for this user, or choose ` +
      "another store with --store PATH."
    );
  }
  if (/^SQLITE_FULL|^ENOSPC$/.test(code))
    return `There is no space left for the store ${file} (${detail}).`;
  return `The store ${file} cannot be used: ${detail}. Choose another with --store PATH.`;
}
