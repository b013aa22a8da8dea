import { createLimit, limitKey } from "../limit/algorithms.ts";
import type { Limit, LimitSpec } from "../limit/limit.ts";

/** One quota as configured: what limits it has, and how requests may wait for it. */
export interface AccountSpec {
  /** Unique among all accounts, and the same after a restart: what the store knows it by. */
  name: string;
  /** What people call it: in messages, `/stats` and metrics. */
  label: string;
  /** Accounts that one request may need together have the same group: their requests are planned together. */
  group: string;
  limits: readonly LimitSpec[];
  /** Requests that may wait. */
  maxQueueDepth: number;
  /** Longest wait, ms. */
  requestTimeoutMs: number;
  /** Share of the token limit above which small requests go first; null where that never happens. */
  priorityThreshold: number | null;
}

/**
 * A quota and what is charged to it. Accounts belong to the process, not to a configuration: a reload gives them
 * another spec, what is used stays used.
 */
export class Account {
  readonly name: string;
  /** Requests waiting for this account; kept by whoever queues them. */
  waiting = 0;
  /** What the store knows this account by; set by the ledger that stores it. */
  storeId = 0;
  #spec: AccountSpec;
  /** Replaced as a whole, never changed in place: reservations keep the list they were charged to. */
  #limits: readonly Limit[];

  constructor(spec: AccountSpec) {
    this.name = spec.name;
    this.#spec = spec;
    this.#limits = spec.limits.map(createLimit);
  }

  get spec(): AccountSpec {
    return this.#spec;
  }

  get limits(): readonly Limit[] {
    return this.#limits;
  }

  /** Takes a changed spec over: limits of the same kind, unit and window keep what is used. */
  respec(spec: AccountSpec): void {
    const old = new Map(this.#limits.map((limit) => [limit.key, limit]));
    this.#limits = spec.limits.map((limitSpec) => {
      const kept = old.get(limitKey(limitSpec));
      kept?.resize(limitSpec);
      return kept ?? createLimit(limitSpec);
    });
    this.#spec = spec;
  }

  idle(now: number): boolean {
    return this.waiting === 0 && this.#limits.every((limit) => limit.idle(now));
  }
}
