import { createLimit, limitKey } from "../limit/algorithms.ts";
import { Hold } from "../limit/hold.ts";
import type { Limit, LimitHint, LimitSpec } from "../limit/limit.ts";
import type { LearnedLimit } from "./learned.ts";
import { Learned, openSpecs } from "./learned.ts";

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
  /** Whether the provider's answers may set limits that are left open here; no if absent. */
  learns?: boolean;
}

/** What the provider has told of an account, and a restart must not forget. */
export interface AccountState {
  /** Nothing goes before this time, ms since the epoch; 0 where nothing is held. */
  heldUntil: number;
  learned: readonly LearnedLimit[];
}

/**
 * A quota and what is charged to it. Accounts belong to the process, not to a configuration: a reload gives them
 * another spec, what is used stays used, and what the provider has told stays told.
 */
export class Account {
  readonly name: string;
  /** Requests waiting for this account; kept by whoever queues them. */
  waiting = 0;
  /** What the store knows this account by; set by the ledger that stores it. */
  storeId = 0;
  /** Called when `state` has changed; set by the ledger that stores it. */
  onTold: (() => void) | null = null;
  #spec: AccountSpec;
  readonly #learned = new Learned();
  #learnedSpecs: readonly LimitSpec[] = [];
  #hold: Hold | null = null;
  /** Replaced as a whole, never changed in place: reservations keep the list they were charged to. */
  #limits: readonly Limit[];

  readonly #create: (spec: LimitSpec) => Limit;

  /** @param create makes its limits: of a ledger that shares them, others than those of this process alone */
  constructor(spec: AccountSpec, create: (spec: LimitSpec) => Limit = createLimit) {
    this.name = spec.name;
    this.#spec = spec;
    this.#create = create;
    this.#limits = spec.limits.map((limit) => create(limit));
  }

  get spec(): AccountSpec {
    return this.#spec;
  }

  /** All that a request has to fit into: what is configured, what was learned, and a hold while there is one. */
  get limits(): readonly Limit[] {
    return this.#limits;
  }

  /** Limits in force that the configuration leaves open. */
  get learned(): readonly LimitSpec[] {
    return this.#learnedSpecs;
  }

  /** When the hold ends, ms since the epoch; 0 where nothing is held. */
  get heldUntil(): number {
    return this.#hold?.until ?? 0;
  }

  get state(): AccountState {
    return { heldUntil: this.heldUntil, learned: this.#learned.limits };
  }

  /** Takes a changed spec over: limits of the same kind, unit and window keep what is used. */
  respec(spec: AccountSpec): void {
    this.#spec = spec;
    this.#compose();
  }

  /**
   * Lets nothing go before `until`, ms since the epoch: the provider said so; then one request, and the others when
   * that was served (`lift`) or a little later (see `Hold`). A hold is only ever prolonged.
   */
  hold(until: number): void {
    if (until <= this.heldUntil) return;
    if (this.#hold === null) {
      this.#hold = new Hold(until);
      this.#limits = [...this.#limits, this.#hold];
    } else this.#hold.prolong(until);
    this.onTold?.();
  }

  /** Takes a hold that is over out of the limits. */
  forgetHold(now: number): void {
    if (this.#hold?.isOver(now) === true) this.lift();
  }

  /** Ends the hold, if any: a request was served, or nobody has to wait any more. */
  lift(): void {
    const hold = this.#hold;
    if (hold === null) return;
    this.#hold = null;
    this.#limits = this.#limits.filter((limit) => limit !== hold);
    this.onTold?.();
  }

  /**
   * An answer speaks of a limit. Only for accounts that learn.
   * @returns whether a limit that the configuration leaves open has begun or changed
   */
  learn(hint: LimitHint): boolean {
    if (!this.#learned.see(hint)) return false;
    const before = this.#learnedSpecs;
    this.#compose();
    this.onTold?.();
    return !Bun.deepEquals(before, this.#learnedSpecs);
  }

  /** Takes over what a store remembers, or another process tells: holds are only prolonged. */
  restore(state: AccountState): void {
    this.#learned.restore(state.learned);
    this.#compose();
    if (state.heldUntil > 0) this.hold(state.heldUntil);
  }

  idle(now: number): boolean {
    return this.waiting === 0 && this.#limits.every((limit) => limit.idle(now));
  }

  #compose(): void {
    const { limits, learns } = this.#spec;
    this.#learnedSpecs = learns === true ? openSpecs(this.#learned.limits, limits) : [];
    const old = new Map(this.#limits.map((limit) => [limit.key, limit]));
    const fresh: Limit[] = [...limits, ...this.#learnedSpecs].map((spec) => {
      const kept = old.get(limitKey(spec));
      kept?.resize(spec);
      return kept ?? this.#create(spec);
    });
    if (this.#hold !== null) fresh.push(this.#hold);
    this.#limits = fresh;
  }
}
