import type { Clock } from "../clock.ts";
import type { Algorithm, ClientCost, ClientUnit, Rows } from "./algorithm.ts";
import { bucket } from "./bucket.ts";
import type { ClientAllowance, ClientLimiter, ClientTaken, LimitedClient } from "./limiter.ts";
import type { AlgorithmName, ClientLimitsConfig, Plan, Plans } from "./plan.ts";
import { createPlans, isFree, roomIn } from "./plan.ts";
import type { Allowance, ClientRefusal } from "./refusal.ts";
import type { Page, Slots } from "./slots.ts";
import { pageClients } from "./slots.ts";
import { Tracker } from "./tracker.ts";
import { readUsage } from "./usage.ts";
import { slidingWindow } from "./window.ts";

/** What the ids of virtual keys begin with; no other id does. */
const keyed = "key:";

/** Each way to limit clients: a further one is a file and a row. Rows are given to the one that made them alone. */
const algorithms: Readonly<Record<AlgorithmName, Algorithm<Rows>>> = {
  token_bucket: bucket,
  leaky_bucket: bucket,
  sliding_window: slidingWindow,
};

export interface ClientLimitsOptions {
  readonly clock: Clock;
  readonly config: ClientLimitsConfig;
  /** How many clients are tracked at most: a million, unless a test says otherwise. */
  readonly maxTracked?: number;
}

/**
 * Each client's own limit: requests and tokens a minute, by the algorithm that the configuration names. It refuses at
 * once and never waits, and a refused request costs nothing.
 *
 * A client is tracked from its first request until its allowance is full again, or it has been idle for `idle_ttl`.
 * The clients of virtual keys are few and known, and what they have used can be kept in a store: `onChanged`,
 * `takeChanged`, `pack` and `unpack` are for that.
 */
export class ClientLimits implements ClientLimiter {
  readonly #clock: Clock;
  readonly #tracker: Tracker<Rows>;
  #config: ClientLimitsConfig;
  #plans: Plans;
  /** The same by their index. */
  #planList: readonly Plan[];
  #algorithm: Algorithm<Rows>;
  #limited = 0;
  #changed = new Set<string>();
  /** Called at the first change of a virtual key's usage since `takeChanged`. */
  onChanged: (() => void) | null = null;

  constructor({ clock, config, maxTracked = 1_000_000 }: ClientLimitsOptions) {
    this.#clock = clock;
    this.#config = config;
    this.#plans = createPlans(config);
    this.#planList = [...this.#plans.values()];
    this.#algorithm = algorithms[config.algorithm];
    this.#tracker = new Tracker<Rows>(clock, {
      create: () => this.#createRows(),
      forgetAt: (page, place) => this.#forgetAt(page, place),
      stays: (id) => id.startsWith(keyed),
      forgot: (id) => this.#touched(id),
      most: maxTracked,
    });
  }

  /**
   * Charges a request to its client, if there is room for all of it.
   * @param cost `tokens` as estimated: `settle` corrects them
   */
  take(client: LimitedClient, cost: ClientCost): ClientTaken | ClientRefusal {
    const now = this.#clock.now();
    const plan = this.#planNamed(client.tier?.name ?? null);
    if (isFree(plan)) return { ok: true, at: now, limit: null, remaining: null, resetMs: 0 };
    const slot = this.#slotOf(client.id, plan, now);
    const { rows } = this.#slots.page(slot);
    const place = this.#slots.place(slot);
    const waitMs = this.#algorithm.take(rows, place, now, plan, cost);
    const requests = this.#left(rows, place, plan, "requests");
    if (waitMs > 0) {
      this.#limited++;
      const tokens = this.#left(rows, place, plan, "tokens");
      return { ok: false, retryAfterMs: waitMs, cost, requests, tokens };
    }
    this.#touched(client.id);
    return {
      ok: true,
      at: now,
      limit: requests?.limit ?? null,
      remaining: requests?.remaining ?? null,
      resetMs: Math.max(0, this.#algorithm.fullAt(rows, place, plan) - now),
    };
  }

  /**
   * Takes a charge back: the request never left.
   * @param takenAt the `at` of `take`
   */
  giveBack({ id }: LimitedClient, cost: ClientCost, takenAt: number): void {
    const slot = this.#slots.find(id);
    // Who is forgotten has its whole allowance.
    if (slot === -1) return;
    const page = this.#slots.page(slot);
    const place = this.#slots.place(slot);
    const now = this.#clock.now();
    this.#algorithm.giveBack(page.rows, place, now, this.#planAt(page, place), cost, takenAt);
    this.#touched(id);
  }

  /**
   * Corrects the tokens of a request that has ended.
   * @param tokens what it used less what it was charged: more is charged even where there is no room, and is debt then
   * @param takenAt the `at` of `take`
   */
  settle(client: LimitedClient, tokens: number, takenAt: number): void {
    if (tokens < 0) this.giveBack(client, { requests: 0, tokens: -tokens }, takenAt);
    if (tokens > 0) this.charge(client, { requests: 0, tokens });
  }

  /** Charges whatever there is room for or not. */
  charge(client: LimitedClient, cost: ClientCost): void {
    const plan = this.#planNamed(client.tier?.name ?? null);
    if (isFree(plan) || (cost.requests === 0 && plan.tokens === null)) return;
    const now = this.#clock.now();
    const slot = this.#slotOf(client.id, plan, now);
    const { rows } = this.#slots.page(slot);
    this.#algorithm.charge(rows, this.#slots.place(slot), now, plan, cost);
    this.#touched(client.id);
  }

  /** A client's allowance; null for one that is not limited, or neither tracked nor a virtual key's. */
  get(id: string): ClientAllowance | null {
    const now = this.#clock.now();
    const slot = this.#slots.find(id);
    if (slot === -1) {
      const plan = this.#planOfKey(id);
      if (plan === null || isFree(plan)) return null;
      return this.#shown(id, plan, this.#algorithm.create(1, true), 0, now);
    }
    const page = this.#slots.page(slot);
    const place = this.#slots.place(slot);
    const plan = this.#planAt(page, place);
    this.#algorithm.advance(page.rows, place, now, plan);
    return this.#shown(id, plan, page.rows, place, now);
  }

  /** Gives a client its whole allowance. @returns false if it is not known, as with `get` */
  reset(id: string): boolean {
    const slot = this.#slots.find(id);
    if (slot !== -1) this.#tracker.drop(slot);
    return slot !== -1 || this.#planOfKey(id) !== null;
  }

  /** Clients whose allowance is not full; who has become full is counted for another second or two. */
  tracked(): number {
    return this.#slots.size;
  }

  /** Requests refused since the start. */
  limited(): number {
    return this.#limited;
  }

  /**
   * Puts another configuration into force. What clients have used stays used, under other algorithms too. Takes some
   * ten nanoseconds a client if limits have changed, and nothing otherwise.
   */
  configure(config: ClientLimitsConfig): void {
    const before = { config: this.#config, plans: this.#plans, algorithm: this.#algorithm };
    this.#config = config;
    this.#plans = createPlans(config);
    this.#algorithm = algorithms[config.algorithm];
    if (
      this.#algorithm === before.algorithm &&
      Bun.deepEquals([...this.#plans], [...before.plans]) &&
      Bun.deepEquals(tiersOfKeys(config), tiersOfKeys(before.config))
    )
      return;
    const old = [...before.plans.values()];
    const tiers = tiersOfKeys(config);
    const now = this.#clock.now();
    this.#planList = [...this.#plans.values()];
    for (const { page, first } of this.#slots.pages()) {
      const rows = this.#createRows();
      for (const [place, id] of page.ids.entries()) {
        const held = old[page.plan[place] ?? 0];
        if (held === undefined) continue;
        const tier = tiers.get(id);
        const plan = this.#planNamed(tier === undefined ? held.tier : tier);
        if (isFree(plan)) this.#tracker.drop(first + place);
        for (const [at, requests, tokens] of before.algorithm.pack(page.rows, place, now, held))
          this.#algorithm.charge(rows, place, at, plan, { requests, tokens });
        page.plan[place] = plan.index;
      }
      page.rows = rows;
    }
  }

  /** Ends the timer that forgets. */
  close(): void {
    this.#tracker.close();
  }

  /** The ids of virtual keys whose usage has changed since this was asked last. */
  takeChanged(): Iterable<string> {
    const changed = this.#changed;
    this.#changed = new Set();
    return changed;
  }

  /** What is to be stored of a virtual key; undefined where nothing is. */
  pack(id: string): unknown {
    const slot = this.#slots.find(id);
    if (slot === -1) return undefined;
    const page = this.#slots.page(slot);
    const place = this.#slots.place(slot);
    const plan = this.#planAt(page, place);
    const usage = this.#algorithm.pack(page.rows, place, this.#clock.now(), plan);
    return usage.length === 0 ? undefined : usage;
  }

  /** Takes over what `pack` gave, in an earlier process perhaps: false where that is of no use any more. */
  unpack(id: string, stored: unknown): boolean {
    const now = this.#clock.now();
    const plan = this.#planOfKey(id);
    const usage = readUsage(stored, now);
    if (plan === null || isFree(plan) || usage === null || this.#slots.find(id) !== -1)
      return false;
    const slot = this.#slotOf(id, plan, now);
    const { rows } = this.#slots.page(slot);
    for (const [at, requests, tokens] of usage)
      this.#algorithm.charge(rows, this.#slots.place(slot), at, plan, { requests, tokens });
    return true;
  }

  get #slots(): Slots<Rows> {
    return this.#tracker.slots;
  }

  #createRows(): Rows {
    return this.#algorithm.create(
      pageClients,
      this.#planList.some(({ tokens }) => tokens !== null),
    );
  }

  /** The plan of a tier; of one that there is not, or none, the general one. */
  #planNamed(tier: string | null): Plan {
    const plan = this.#plans.get(tier) ?? this.#plans.get(null);
    if (plan === undefined) throw new Error("There is always a general plan, perhaps a free one.");
    return plan;
  }

  /** The plan that the client at a place is held to. */
  #planAt(page: Page<Rows>, place: number): Plan {
    return this.#planList[page.plan[place] ?? 0] ?? this.#planNamed(null);
  }

  /** The plan of a virtual key's id; null if there is no such key. */
  #planOfKey(id: string): Plan | null {
    if (!id.startsWith(keyed)) return null;
    const key = this.#config.keys.find(({ name }) => keyed + name === id);
    return key === undefined ? null : this.#planNamed(key.tier);
  }

  /** The slot of a client, under the plan that it has now. */
  #slotOf(id: string, plan: Plan, now: number): number {
    const slot = this.#slots.find(id);
    if (slot === -1) return this.#tracker.begin(id, plan.index, now);
    const page = this.#slots.page(slot);
    const place = this.#slots.place(slot);
    if (page.plan[place] !== plan.index) {
      this.#algorithm.advance(page.rows, place, now, this.#planAt(page, place));
      page.plan[place] = plan.index;
    }
    return slot;
  }

  /** What is left of a limit, by a row that is up to date. */
  #left(rows: Rows, place: number, plan: Plan, unit: ClientUnit): Allowance | null {
    const rate = plan[unit];
    if (rate === null) return null;
    const used = this.#algorithm.used(rows, place, unit);
    return { limit: rate.perMinute, remaining: roomIn(rate, used) };
  }

  #shown(id: string, plan: Plan, rows: Rows, place: number, now: number): ClientAllowance {
    const requests = this.#left(rows, place, plan, "requests");
    const tokens = this.#left(rows, place, plan, "tokens");
    const resetMs = Math.max(0, this.#algorithm.fullAt(rows, place, plan) - now);
    return {
      id,
      tier: plan.tier,
      algorithm: this.#config.algorithm,
      limit: requests?.limit ?? null,
      remaining: requests?.remaining ?? null,
      reset_seconds: Math.ceil(resetMs) / 1_000,
      ...(tokens === null
        ? {}
        : { tokens_limit: tokens.limit, tokens_remaining: tokens.remaining }),
    };
  }

  #forgetAt(page: Page<Rows>, place: number): number {
    const { numbers, width } = page.rows;
    const idleAt = (numbers[place * width] ?? 0) + this.#config.idle_ttl;
    return Math.min(idleAt, this.#algorithm.fullAt(page.rows, place, this.#planAt(page, place)));
  }

  #touched(id: string): void {
    if (!id.startsWith(keyed)) return;
    this.#changed.add(id);
    if (this.#changed.size === 1) this.onChanged?.();
  }
}

/** By their ids. */
function tiersOfKeys({ keys }: ClientLimitsConfig): Map<string, string | null> {
  return new Map(keys.map(({ name, tier }) => [keyed + name, tier]));
}
