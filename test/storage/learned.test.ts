import { describe, expect, test } from "bun:test";
import type { Database } from "bun:sqlite";

import { learnedMigration, type LearnedKeys, openLearned } from "../../src/storage/learned.ts";
import { openDatabase } from "../../src/storage/sqlite.ts";
import { FakeClock } from "../clock.ts";

const open = (): Database =>
  openDatabase({ path: ":memory:", durability: "process", migrations: [learnedMigration] });
const rows = (database: Database): number =>
  database.query<{ n: number }, []>("SELECT count(*) AS n FROM learned_value").get()?.n ?? 0;

/** Learns numbers. */
class Numbers implements LearnedKeys {
  readonly values = new Map<string, number>();
  #changed = new Set<string>();
  packed = 0;

  learn(key: string, value: number): void {
    this.values.set(key, value);
    this.#changed.add(key);
  }

  takeChanged(): Set<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  pack(key: string): unknown {
    this.packed++;
    return this.values.get(key);
  }

  unpack(key: string, stored: unknown): boolean {
    if (typeof stored === "number") this.values.set(key, stored);
    return typeof stored === "number";
  }
}

describe("learned values", () => {
  test("are there again after a restart, each kind by itself", () => {
    const database = open();
    const clock = new FakeClock();
    const store = openLearned(database, clock);
    const [one, two] = [new Numbers(), new Numbers()];
    store.keep("one/1", one);
    store.keep("two/1", two);
    one.learn("a", 1);
    two.learn("a", 2);
    store.close();
    const [first, second, newer] = [new Numbers(), new Numbers(), new Numbers()];
    const again = openLearned(database, clock);
    again.keep("one/1", first);
    again.keep("two/1", second);
    again.keep("one/2", newer);
    expect([...first.values]).toEqual([["a", 1]]);
    expect([...second.values]).toEqual([["a", 2]]);
    expect(newer.values.size).toBe(0);
    again.close();
  });

  test("are written behind, a key once in five seconds however often it changes", () => {
    const database = open();
    const clock = new FakeClock();
    const numbers = new Numbers();
    const store = openLearned(database, clock);
    store.keep("n/1", numbers);
    for (let i = 0; i < 1000; i++) {
      numbers.learn("busy", i);
      clock.advance(4);
    }
    expect([rows(database), numbers.packed]).toEqual([0, 0]);
    clock.advance(1500);
    expect([rows(database), numbers.packed]).toEqual([1, 1]);
    clock.advance(60_000);
    expect(numbers.packed).toBe(1);
    store.close();
    expect(clock.pending).toBe(0);
  });

  test("are written a few at a time", () => {
    const database = open();
    const clock = new FakeClock();
    const numbers = new Numbers();
    const store = openLearned(database, clock);
    store.keep("n/1", numbers);
    for (let i = 0; i < 100; i++) numbers.learn(`k${i}`, i);
    clock.advance(5000);
    expect(rows(database)).toBe(32);
    clock.advance(50);
    expect(rows(database)).toBe(64);
    clock.advance(1000);
    expect(rows(database)).toBe(100);
    store.close();
  });

  test("are all written at the end, once", () => {
    const database = open();
    const numbers = new Numbers();
    const store = openLearned(database, new FakeClock());
    store.keep("n/1", numbers);
    for (let i = 0; i < 100; i++) numbers.learn(`k${i}`, i);
    store.close();
    store.close();
    expect(rows(database)).toBe(100);
  });

  test("are bounded: the ones written last are kept", () => {
    const database = open();
    const clock = new FakeClock();
    const numbers = new Numbers();
    const store = openLearned(database, clock);
    store.keep("n/1", numbers);
    let largest = 0;
    for (let i = 0; i < 5000; i++) {
      numbers.learn(`k${i}`, i);
      clock.advance(100);
      largest = Math.max(largest, rows(database));
    }
    store.close();
    expect(largest).toBeLessThanOrEqual(1600);
    const again = new Numbers();
    openLearned(database, clock).keep("n/1", again);
    expect(again.values.get("k4999")).toBe(4999);
    expect(again.values.has("k0")).toBe(false);
  });

  test("that nobody has changed for 90 days are forgotten at the start", () => {
    const database = open();
    const clock = new FakeClock();
    const numbers = new Numbers();
    const store = openLearned(database, clock);
    store.keep("n/1", numbers);
    numbers.learn("a", 1);
    store.close();
    clock.advance(91 * 86_400_000);
    openLearned(database, clock).close();
    expect(rows(database)).toBe(0);
  });

  test("that make no sense, or are too large or forgotten, do no harm", () => {
    const database = open();
    const clock = new FakeClock();
    database.run("INSERT INTO learned_value VALUES ('n/1', 'bad', '{', ?)", [clock.now()]);
    database.run("INSERT INTO learned_value VALUES ('n/1', 'odd', '\"x\"', ?)", [clock.now()]);
    database.run("INSERT INTO learned_value VALUES ('n/1', 'good', '7', ?)", [clock.now()]);
    const numbers = new Numbers();
    const store = openLearned(database, clock);
    store.keep("n/1", numbers);
    expect([...numbers.values]).toEqual([["good", 7]]);
    store.keep("t/1", {
      takeChanged: () => ["long", "gone"],
      pack: (key) => (key === "long" ? "x".repeat(100_000) : undefined),
      unpack: () => false,
    });
    clock.advance(5000);
    expect(rows(database)).toBe(3);
    store.close();
  });

  test("are kept and tried again where they cannot be written, which is told once", () => {
    const database = open();
    const clock = new FakeClock();
    const numbers = new Numbers();
    const errors: string[] = [];
    const store = openLearned(database, clock, (reason) => errors.push(reason));
    store.keep("n/1", numbers);
    database.run(
      "CREATE TRIGGER full BEFORE INSERT ON learned_value BEGIN SELECT raise(ABORT, 'no space'); END",
    );
    numbers.learn("a", 1);
    clock.advance(20_000);
    expect(errors).toEqual(["no space"]);
    database.run("DROP TRIGGER full");
    clock.advance(5000);
    expect(rows(database)).toBe(1);
    store.close();
  });
});
