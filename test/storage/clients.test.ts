import { expect, test } from "bun:test";
import type { Database } from "bun:sqlite";

import type { KeptClients } from "../../src/storage/clients.ts";
import { clientsMigration, keepClients } from "../../src/storage/clients.ts";
import { openDatabase } from "../../src/storage/sqlite.ts";
import { FakeClock } from "../clock.ts";

/** Clients that have used what a test says. */
class Clients implements KeptClients {
  onChanged: (() => void) | null = null;
  readonly used = new Map<string, unknown>();
  #changed = new Set<string>();

  constructor(readonly known: readonly string[]) {}

  use(id: string, usage: unknown): void {
    this.used.set(id, usage);
    this.#changed.add(id);
    if (this.#changed.size === 1) this.onChanged?.();
  }

  takeChanged(): Iterable<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  pack(id: string): unknown {
    return this.used.get(id);
  }

  unpack(id: string, stored: unknown): boolean {
    if (!this.known.includes(id)) return false;
    this.used.set(id, stored);
    return true;
  }
}

function setUp(): { clock: FakeClock; database: Database; rows: () => unknown[] } {
  const database = openDatabase({
    path: ":memory:",
    durability: "process",
    migrations: [clientsMigration],
  });
  const query = database.query("SELECT id, usage FROM client ORDER BY id");
  return { clock: new FakeClock(), database, rows: () => query.all() };
}

test("what changes is written a little later, and is there for the next process", () => {
  const { clock, database, rows } = setUp();
  const clients = new Clients([]);
  const store = keepClients(database, clock, clients);
  expect(clock.pending).toBe(0);
  clients.use("key:a", [[1, 2, 3]]);
  clients.use("key:b", [[4, 5, 6]]);
  expect(rows()).toEqual([]);
  clock.advance(250);
  expect(rows()).toEqual([
    { id: "key:a", usage: "[[1,2,3]]" },
    { id: "key:b", usage: "[[4,5,6]]" },
  ]);
  clients.use("key:b", undefined);
  clients.use("key:a", [[7, 8, 9]]);
  store.close();
  store.close();
  expect(rows()).toEqual([{ id: "key:a", usage: "[[7,8,9]]" }]);
  expect(clock.pending).toBe(0);

  const next = new Clients(["key:a"]);
  keepClients(database, clock, next);
  expect([...next.used]).toEqual([["key:a", [[7, 8, 9]]]]);
});

test("rows that are of no use any more are deleted, damaged ones too", () => {
  const { clock, database, rows } = setUp();
  database.run("INSERT INTO client VALUES ('key:a', '[]'), ('key:b', '{'), ('key:gone', '[]')");
  keepClients(database, clock, new Clients(["key:a", "key:b"]));
  clock.advance(250);
  expect(rows()).toHaveLength(2);
});

test("many are written in parts", () => {
  const { clock, database, rows } = setUp();
  const clients = new Clients([]);
  keepClients(database, clock, clients);
  for (let i = 0; i < 600; i++) clients.use(`key:${i}`, [[i, 1, 0]]);
  clock.advance(250);
  expect(rows()).toHaveLength(256);
  clock.advance(1_000);
  expect(rows()).toHaveLength(600);
});

test("a write that fails is told once, and tried again", () => {
  const { clock, database, rows } = setUp();
  const clients = new Clients([]);
  const told: string[] = [];
  keepClients(database, clock, clients, (reason) => told.push(reason));
  database.run("PRAGMA query_only = 1");
  clients.use("key:a", [[1, 2, 3]]);
  clock.advance(2_000);
  expect(told).toHaveLength(1);
  database.run("PRAGMA query_only = 0");
  clock.advance(250);
  expect(rows()).toHaveLength(1);
});
