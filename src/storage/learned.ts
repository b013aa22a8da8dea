import type { Database } from "bun:sqlite";
import type { Clock } from "../clock.ts";

/** A step for the one list of migrations of the store that `openLearned` is given; later steps come after it. */
export const learnedMigration = `
  -- What was learned from answers: a hint, never needed for correct accounting.
  CREATE TABLE learned_value (
    kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (kind, key)
  ) STRICT, WITHOUT ROWID;`;

/** A changed value is written so much later: a crash loses that much learning at most, and a busy key costs one write. */
const everyMs = 5_000;
/** Rows of one transaction (measured: 1 to 2 ms with the largest values), and the pause between two. */
const batchRows = 32;
const betweenBatchesMs = 50;
/** Rows of one kind that are kept, the ones written last. */
const mostRows = 1000;
/** Rows may be so many more before the oldest are deleted. */
const pruneEvery = 500;
const longestValue = 64 * 1024;
const forgottenAfterMs = 90 * 86_400_000;

/** What learns: by key, and each value as data for JSON. */
export interface LearnedKeys {
  /** The keys that have changed since this was asked last. */
  takeChanged(): Iterable<string>;
  /** What is to be stored of `key`; undefined for nothing. */
  pack(key: string): unknown;
  /** Takes over what `pack` gave, perhaps another version's: false where it makes no sense. */
  unpack(key: string, stored: unknown): boolean;
}

export interface LearnedStore {
  /**
   * Gives `keys` back what was stored, and writes from now on what changes.
   *
   * @param kind what it is and the version of its form, such as `output/1`: other forms are not read
   */
  keep(kind: string, keys: LearnedKeys): void;
  /** Writes what is left and ends; the database stays open. To be called before the database is closed. */
  close(): void;
}

/** Something kept, and what of it is still to be written. */
interface Kept {
  readonly kind: string;
  readonly keys: LearnedKeys;
  readonly pending: Set<string>;
  /** Rows written since the oldest were deleted. */
  written: number;
}

/**
 * Keeps learned values in a database, behind the traffic: a learner only notes which keys have changed, and every five
 * seconds those are written, a few at a time. At most 1,500 rows of a kind are there at any time, and values that
 * nobody has changed for 90 days are deleted at the start.
 *
 * @param database opened with `learnedMigration`; everything here is synchronous, so its owner may go on using it
 * @param onError hears why a write failed, the first time of a row of failures; the values stay in memory and
 *   are tried again
 * @throws what the database does if it cannot be read
 */
export function openLearned(
  database: Database,
  clock: Clock,
  onError: (reason: string) => void = () => undefined,
): LearnedStore {
  database.run("DELETE FROM learned_value WHERE at < ?", [clock.now() - forgottenAfterMs]);
  const read = database.prepare<{ key: string; value: string }, [string]>(
    "SELECT key, value FROM learned_value WHERE kind = ? ORDER BY at",
  );
  const write = database.prepare("INSERT OR REPLACE INTO learned_value VALUES (?, ?, ?, ?)");
  const prune = database.prepare(
    `DELETE FROM learned_value WHERE kind = ?1 AND key IN
       (SELECT key FROM learned_value WHERE kind = ?1 ORDER BY at DESC LIMIT -1 OFFSET ${mostRows})`,
  );
  const kept: Kept[] = [];
  let failing = false;
  let isOpen = true;

  const writeKeys = database.transaction((item: Kept, keys: readonly string[]) => {
    const now = clock.now();
    for (const key of keys) {
      const text = JSON.stringify(item.keys.pack(key)) as string | undefined;
      if (text === undefined || text.length > longestValue) continue;
      write.run(item.kind, key, text, now);
      item.written++;
    }
    if (item.written < pruneEvery) return;
    prune.run(item.kind);
    item.written = 0;
  });

  /** Writes up to `most` rows. @returns whether there are more */
  const flush = (most: number): boolean => {
    let left = most;
    for (const item of kept) {
      const keys = [...item.pending.values().take(left)];
      if (keys.length > 0) writeKeys.immediate(item, keys);
      for (const key of keys) item.pending.delete(key);
      left -= keys.length;
    }
    return kept.some(({ pending }) => pending.size > 0);
  };

  const tryFlush = (most: number): boolean => {
    try {
      const more = flush(most);
      failing = false;
      return more;
    } catch (error) {
      if (!failing) onError(error instanceof Error ? error.message : String(error));
      failing = true;
      return false;
    }
  };

  const collect = (): void => {
    for (const { keys, pending } of kept) for (const key of keys.takeChanged()) pending.add(key);
  };

  let cancel: () => void = () => undefined;
  const arm = (inMs: number): void => {
    cancel = clock.at(clock.now() + inMs, () => {
      if (inMs === everyMs) collect();
      arm(tryFlush(batchRows) ? betweenBatchesMs : everyMs);
    });
  };
  arm(everyMs);

  return {
    keep: (kind, keys) => {
      // The oldest first, so that the ones changed last count as used last.
      for (const { key, value } of read.all(kind)) keys.unpack(key, parsed(value));
      kept.push({ kind, keys, pending: new Set(), written: pruneEvery });
    },
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      cancel();
      collect();
      tryFlush(Infinity);
      for (const statement of [read, write, prune]) statement.finalize();
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
