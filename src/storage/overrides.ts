import type { Database } from "bun:sqlite";

/** A step for the one list of migrations of the store; later steps come after it. */
export const overridesMigration = `
  -- Limits that were changed while running: by name, as JSON, what is in force and what the file said of it then.
  CREATE TABLE override (name TEXT PRIMARY KEY, in_force TEXT NOT NULL, in_file TEXT NOT NULL) STRICT, WITHOUT ROWID;`;

/** What holds instead of the file's values of the same keys, as data for JSON. */
export interface StoredOverride {
  readonly name: string;
  readonly values: Readonly<Record<string, unknown>>;
  readonly inFile: Readonly<Record<string, unknown>>;
}

export interface OverrideStore {
  /** What is stored; what cannot be read is left out. */
  all(): StoredOverride[];
  /** Stores these in place of all others. @throws what the database does where it cannot be written */
  replace(overrides: readonly StoredOverride[]): void;
}

interface Row {
  name: string;
  in_force: string;
  in_file: string;
}

/** @param database opened with `overridesMigration` */
export function openOverrides(database: Database): OverrideStore {
  const replace = database.transaction((overrides: readonly StoredOverride[]) => {
    database.run("DELETE FROM override");
    for (const { name, values, inFile } of overrides) {
      const row = [name, JSON.stringify(values), JSON.stringify(inFile)];
      database.run("INSERT INTO override VALUES (?, ?, ?)", row);
    }
  });
  return {
    all: () =>
      database
        .query<Row, []>("SELECT name, in_force, in_file FROM override")
        .all()
        .flatMap(({ name, in_force, in_file }) => {
          const [values, inFile] = [mapIn(in_force), mapIn(in_file)];
          return values === null || inFile === null ? [] : { name, values, inFile };
        }),
    replace: (overrides) => replace.immediate(overrides),
  };
}

function mapIn(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}
