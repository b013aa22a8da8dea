import { windowMs } from "../limit/limit.ts";
import type { Account } from "./account.ts";
import type { LearnedLimit } from "./learned.ts";
import type { Board, Entry } from "./redis-board.ts";

/** For so long what was learned is kept for processes that start later, ms: longer than any pause of a quota in use. */
const learnedMs = 7 * 86_400_000;

/** What answers have told of an account's limits: those the file leaves open, and lower ones than the file's by key. */
interface Learnings {
  learned: readonly LearnedLimit[];
  told: readonly (readonly [key: string, limit: number | null])[];
}

/**
 * What the provider's answers tell one process of an account, told to all: how long it is held, which limits there are.
 *
 * A hold goes on as the longest that any process was told. Limits are those of the process that learned last.
 */
export class ToldAccounts {
  readonly #board: Board;
  /** Our time at Redis's `at`, both ms since the epoch. */
  readonly #local: (at: number) => number;
  /** Called when an account is held by another's word. */
  readonly #held: (account: Account) => void;
  readonly #accounts = new Map<string, Account>();
  /** Until when all know that it is held, by our time, ms since the epoch. */
  readonly #holds = new Map<string, number>();
  /** What all know of each account's limits, as far as we do. */
  readonly #learnings = new Map<string, Learnings>();
  /** What comes from others is not told again. */
  #isHearing = false;

  constructor(board: Board, local: (at: number) => number, held: (account: Account) => void) {
    this.#board = board;
    this.#local = local;
    this.#held = held;
    board.listen("hold", (name, entry) => this.#heard(name, entry, this.#hearHold));
    board.listen("limits", (name, entry) => this.#heard(name, entry, this.#hearLimits));
  }

  /** An account that was made just now. */
  add(account: Account): void {
    const { name } = account;
    this.#accounts.set(name, account);
    account.onTold = () => this.look(account);
    for (const [kind, hear] of [
      ["hold", this.#hearHold],
      ["limits", this.#hearLimits],
    ] as const) {
      const entry = this.#board.read(kind, name);
      if (entry !== null) this.#heard(name, entry, hear);
    }
  }

  forget({ name }: Account): void {
    this.#accounts.delete(name);
    this.#holds.delete(name);
    this.#learnings.delete(name);
  }

  /** Something may have been told of `account`. */
  look(account: Account): void {
    if (this.#isHearing) return;
    const { name, heldUntil } = account;
    const board = this.#board;
    if (heldUntil > (this.#holds.get(name) ?? 0)) {
      this.#holds.set(name, heldUntil);
      const until = board.now() + heldUntil - this.#local(board.now());
      board.post("hold", name, { rank: until, until, value: null });
    }
    const known = this.#learnings.get(name) ?? { learned: [], told: [] };
    const told = toldOf(account, known);
    const { learned } = account.state;
    if (Bun.deepEquals(known, { learned, told })) return;
    const value: Learnings = { learned, told };
    this.#learnings.set(name, value);
    board.post("limits", name, { until: board.now() + learnedMs, value });
  }

  #heard(name: string, entry: Entry, hear: (account: Account, entry: Entry) => void): void {
    const account = this.#accounts.get(name);
    if (account === undefined) return;
    this.#isHearing = true;
    hear(account, entry);
    this.#isHearing = false;
  }

  readonly #hearHold = (account: Account, { until }: Entry): void => {
    const before = account.heldUntil;
    account.restore({ heldUntil: this.#local(until), learned: [] });
    this.#holds.set(account.name, account.heldUntil);
    if (account.heldUntil > before) this.#held(account);
  };

  readonly #hearLimits = (account: Account, { value }: Entry): void => {
    const said = learningsOf(value);
    if (said === null) return;
    this.#learnings.set(account.name, said);
    account.restore({ heldUntil: 0, learned: said.learned });
    for (const [key, limit] of said.told)
      account.limits.find((one) => one.key === key)?.believe?.(limit);
  };
}

/** The lower limits of `account` that answers have told, and those that are over. */
function toldOf({ limits }: Account, known: Learnings): [string, number | null][] {
  const told: [string, number | null][] = [];
  for (const { key, told: limit } of limits) {
    const wasTold = known.told.some(([name]) => name === key);
    if (limit !== undefined && (limit !== null || wasTold)) told.push([key, limit]);
  }
  return told;
}

/** Null where another version may have said it. */
function learningsOf(value: unknown): Learnings | null {
  if (typeof value !== "object" || value === null) return null;
  const { learned, told } = value as Partial<Record<keyof Learnings, unknown>>;
  if (!Array.isArray(learned) || !learned.every(isLearned)) return null;
  if (!Array.isArray(told) || !told.every(isTold)) return null;
  return { learned, told };
}

function isLearned(item: unknown): item is LearnedLimit {
  if (typeof item !== "object" || item === null) return false;
  const { unit, window, limit } = item as Partial<Record<keyof LearnedLimit, unknown>>;
  return (
    typeof unit === "string" &&
    typeof window === "string" &&
    window in windowMs &&
    typeof limit === "number" &&
    limit >= 1
  );
}

function isTold(item: unknown): item is [string, number | null] {
  if (!Array.isArray(item) || typeof item[0] !== "string") return false;
  return item[1] === null || (typeof item[1] === "number" && item[1] > 0);
}
