import type { Database } from "bun:sqlite";
import type { Clock } from "../clock.ts";

/** A step for the one list of migrations of the store that `openClients` is given; later steps come after it. */
export const clientsMigration = `
  -- What the holders of virtual keys have used of their own limits.
  CREATE TABLE client (id TEXT PRIMARY KEY, usage TEXT NOT NULL) STRICT, WITHOUT ROWID;`;

/** A change is written so much later: what a crash forgets at most, and a busy client costs four writes a second. */
const delayMs = 250;
/** Rows of one transaction, half a millisecond, and the pause between two. */
const batchRows = 256;
const betweenBatchesMs = 10;

/** Clients whose usage is kept, by their ids. */
export interface KeptClients {
  /** Called at the first change since `takeChanged`. */
  onChanged: (() => void) | null;
  /** The ids whose usage has changed since this was asked last. */
  takeChanged(): Iterable<string>;
  /** What is to be stored, as data for JSON; undefined for nothing. */
  pack(id: string): unknown;
  /** Takes over what `pack` gave: false where it is of no use any more. */
  unpack(id: string, stored: unknown): boolean;
}

export interface ClientStore {
  /** Writes what is left and ends; the database stays open. To be called before the database is closed. */
  close(): void;
}

/**
 * Gives `clients` back what is stored of them, and from now on writes what changes, a little behind.
 *
 * @param database opened with `clientsMigration`
 * @param onError hears why a write failed, the first time of a row of failures; it is tried again
 * @throws what the database does if it cannot be read
 */
export function keepClients(
  database: Database,
  clock: Clock,
  clients: KeptClients,
  onError: (reason: string) => void = () => undefined,
): ClientStore {
  const read = database.prepare<{ id: string; usage: string }, []>("SELECT id, usage FROM client");
  const write = database.prepare("INSERT OR REPLACE INTO client VALUES (?, ?)");
  const remove = database.prepare("DELETE FROM client WHERE id = ?");
  const pending = new Set<string>();
  let cancel: (() => void) | null = null;
  let failing = false;
  let isOpen = true;

  const writeRows = database.transaction((ids: readonly string[]) => {
    for (const id of ids) {
      const usage = clients.pack(id);
      if (usage === undefined) remove.run(id);
      else write.run(id, JSON.stringify(usage));
    }
  });

  const flush = (most: number): void => {
    for (const id of clients.takeChanged()) pending.add(id);
    const ids = [...pending.values().take(most)];
    if (ids.length === 0) return;
    try {
      writeRows.immediate(ids);
      for (const id of ids) pending.delete(id);
      failing = false;
    } catch (error) {
      if (!failing) onError(error instanceof Error ? error.message : String(error));
      failing = true;
    }
  };

  const arm = (inMs: number): void => {
    if (!isOpen) return;
    cancel ??= clock.at(clock.now() + inMs, () => {
      cancel = null;
      flush(batchRows);
      if (pending.size > 0) arm(failing ? delayMs : betweenBatchesMs);
    });
  };

  for (const { id, usage } of read.all()) if (!clients.unpack(id, parsed(usage))) pending.add(id);
  clients.onChanged = () => arm(delayMs);
  if (pending.size > 0) arm(delayMs);

  return {
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      clients.onChanged = null;
      cancel?.();
      flush(Infinity);
      for (const statement of [read, write, remove]) statement.finalize();
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
