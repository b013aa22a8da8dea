import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Database } from "bun:sqlite";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { OperationError } from "../../src/errors.ts";
import { openDatabase } from "../../src/storage/sqlite.ts";
import type { DatabaseOptions } from "../../src/storage/sqlite.ts";

let folder = "";
let path = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cooldown-"));
  path = join(folder, "state", "deep", "cooldown.db");
});
const children: Bun.Subprocess[] = [];
afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
  rmSync(folder, { recursive: true });
});

const first =
  "CREATE TABLE slices (at INTEGER PRIMARY KEY, amount INTEGER) STRICT; INSERT INTO slices VALUES (1, 10)";
const second = "ALTER TABLE slices ADD COLUMN quota TEXT";
const open = (options: Partial<DatabaseOptions> = {}): Database =>
  openDatabase({ path, durability: "process", migrations: [first], ...options });
const value = (database: Database, sql: string): unknown =>
  database.query<{ v: unknown }, []>(sql).get()?.v;

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(OperationError);
    return (error as Error).message;
  }
  throw new Error("was not refused");
}

/** Another process that opens the same store and says so. */
async function holder(body: string) {
  const module = resolve(import.meta.dir, "../../src/storage/sqlite.ts");
  const source = `import { openDatabase } from ${JSON.stringify(module)};
    const path = ${JSON.stringify(path)};
    try {
      const database = openDatabase({ path, durability: "process", migrations: [${JSON.stringify(first)}] });
      ${body}
      console.log("ready");
      // Named here, so that it is not collected, which would close it.
      setInterval(() => database.filename, 1000);
    } catch (error) { console.log(error.name + ": " + error.message); }`;
  const child = Bun.spawn([process.execPath, "-e", source], { stdout: "pipe", stderr: "inherit" });
  children.push(child);
  const said = new TextDecoder().decode((await child.stdout.getReader().read()).value).trim();
  return { child, said };
}

test("makes the folder and the schema, and keeps what was written", () => {
  const database = open();
  database.run("INSERT INTO slices VALUES (2, 20)");
  database.close();
  const again = open();
  expect(value(again, "SELECT sum(amount) AS v FROM slices")).toBe(30);
  again.close();
});

test.each([
  ["process", 1],
  ["power", 2],
] as const)("durability %s is synchronous=%i over a WAL", (durability, synchronous) => {
  const database = open({ durability });
  expect(database.query("PRAGMA synchronous").get()).toEqual({ synchronous });
  expect(database.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
  database.close();
});

test(":memory: leaves nothing behind, and two of them are two", () => {
  const [one, two] = [open({ path: ":memory:" }), open({ path: ":memory:" })];
  one.run("DELETE FROM slices");
  expect(value(two, "SELECT count(*) AS v FROM slices")).toBe(1);
  expect(existsSync(":memory:")).toBe(false);
});

describe("migrations", () => {
  test("each runs once", () => {
    open().close();
    open({ migrations: [first, second] }).close();
    const database = open({ migrations: [first, second] });
    expect(database.query("PRAGMA user_version").get()).toEqual({ user_version: 2 });
    expect(database.query("SELECT * FROM slices").all()).toEqual([
      { at: 1, amount: 10, quota: null },
    ]);
    database.close();
  });

  test("a failing one leaves the version and the tables as they were", () => {
    open().close();
    const message = refusal(() =>
      open({ migrations: [first, `${second}; CREATE TABLE broken (`] }),
    );
    expect(message).toContain(path);
    const database = open();
    expect(database.query("SELECT * FROM slices").all()).toEqual([{ at: 1, amount: 10 }]);
    database.close();
  });

  test("a newer schema is refused", () => {
    open({ migrations: [first, second] }).close();
    expect(refusal(open)).toMatch(/newer Cooldown \(schema 2, this one knows 1\).*--store/);
  });
});

describe("a store that is in use", () => {
  test("is refused to a second process, with its name and what to do", async () => {
    const database = open();
    const { said, child } = await holder("");
    expect(said).toContain(`OperationError: The store ${path} is in use by another process`);
    expect(said).toContain("--store");
    await child.exited;
    database.close();
  });

  test("even before anything was written to it, and inside one process", async () => {
    const { child, said } = await holder("");
    expect(said).toBe("ready");
    expect(refusal(open)).toContain("in use by another process");
    child.kill("SIGKILL");
    await child.exited;
    const database = open();
    expect(refusal(open)).toContain("in use");
    database.close();
  });

  test("opens again after kill -9, with every commit", async () => {
    const { child, said } = await holder(
      `for (let at = 2; at < 1002; at += 1) database.run("INSERT INTO slices VALUES (?, 1)", [at]);
       database.run("BEGIN"); database.run("INSERT INTO slices VALUES (5000, 1)");`,
    );
    expect(said).toBe("ready");
    child.kill("SIGKILL");
    await child.exited;
    const database = open();
    expect(value(database, "SELECT sum(amount) AS v FROM slices")).toBe(1010);
    database.close();
  });
});

describe("what cannot be a store is refused with its name and what to do", () => {
  test("a file that is something else, which is left as it is", () => {
    open().close();
    writeFileSync(path, "just some notes\n".repeat(500));
    expect(refusal(open)).toMatch(/damaged or not a Cooldown store.*--store/);
    expect(readFileSync(path, "utf8")).toStartWith("just some notes");
  });

  test("a damaged file", () => {
    const database = open();
    const insert = database.prepare("INSERT INTO slices VALUES (?, 1)");
    database.transaction(() => {
      for (let at = 2; at < 20_000; at += 1) insert.run(at);
    })();
    insert.finalize();
    database.close();
    const bytes = readFileSync(path);
    bytes.fill(0x5a, 8192, 65_536);
    writeFileSync(path, bytes);
    rmSync(`${path}-wal`, { force: true });
    expect(refusal(open)).toContain(`The store ${path} is damaged`);
  });

  test("a file cut short", () => {
    const database = open();
    database.run(`CREATE TABLE wide AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5000)
      SELECT i, hex(randomblob(50)) AS text FROM n`);
    database.close(true);
    rmSync(`${path}-wal`, { force: true });
    truncateSync(path, 8192);
    expect(refusal(open)).toContain("damaged");
  });

  test("a folder", () => {
    expect(refusal(() => open({ path: folder }))).toMatch(/cannot be written.*--store/);
  });

  test("a folder that is a file", () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    expect(refusal(() => open({ path: join(file, "cooldown.db") }))).toMatch(/cannot be written/);
  });

  test.skipIf(process.platform !== "linux")("a place where nothing can be made", () => {
    expect(refusal(() => open({ path: "/proc/cooldown/cooldown.db" }))).toContain(
      "/proc/cooldown/cooldown.db",
    );
    expect(refusal(() => open({ path: "/proc/cooldown.db" }))).toContain("/proc/cooldown.db");
  });
});
