import { Path } from "../../src/admission/path.ts";
import { Scheduler } from "../../src/admission/scheduler.ts";
import { RedisLedger } from "../../src/ledger/redis.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";
import type { FakeClock } from "../clock.ts";
import { account, tokens } from "./costs.ts";
import { ModelStore } from "./model-store.ts";
import { RedisModel } from "./redis-model.ts";

/** A store of one of several processes; a dead one says nothing any more, and hears nothing. */
class Wire extends ModelStore {
  isDead = false;
  /** Messages so far. */
  sent = 0;
  /** How long one is under way, in each direction, ms. */
  lateMs = 0;
  readonly #clock: FakeClock;

  constructor(model: RedisModel, clock: FakeClock) {
    super(model, () => clock.now());
    this.#clock = clock;
  }

  override exchange(account: string, message: string, done: (reply: string | null) => void): void {
    if (this.isDead) return;
    this.sent++;
    const tell = (reply: string | null): void => (this.isDead ? undefined : done(reply));
    this.#later(() => super.exchange(account, message, (reply) => this.#later(() => tell(reply))));
  }

  #later(run: () => void): void {
    if (this.lateMs === 0) run();
    else this.#clock.at(this.#clock.now() + this.lateMs, run);
  }
}

/** So many processes on one quota in one Redis, whose answers take no time. */
export function crowd(clock: FakeClock, limits: readonly LimitSpec[], size: number) {
  const model = new RedisModel();
  const processes = Array.from({ length: size }, (_, i) => {
    const store = new Wire(model, clock);
    const ledger = new RedisLedger({
      store,
      clock,
      onFailure: "closed",
      id: `p${i}`,
      defer: (run) => void clock.at(clock.now(), run),
    });
    store.onCount(size);
    const scheduler = new Scheduler(clock, ledger);
    const path = new Path([ledger.account(account("quota", limits))]);
    let count = 0;
    const went: { at: number; amount: number }[] = [];
    const ask = (amount: number, latencyMs: number, actual: number): void => {
      if (store.isDead) return;
      count++;
      const answer = scheduler.admit({ ...patient, path, cost: tokens(amount) });
      const go = async (): Promise<void> => {
        const lease = await answer;
        if ("refused" in lease || store.isDead) return;
        const at = clock.now();
        // Counted at the last moment at which it can be.
        const countedAt = at + Math.min(latencyMs, 1_000);
        went.push({ at: countedAt, amount });
        lease.sent();
        clock.at(at + latencyMs, () => {
          if (store.isDead) return;
          lease.arrived();
          lease.commit(tokens(actual));
        });
      };
      void go();
    };
    const kill = (): void => {
      store.isDead = true;
      ledger.close();
    };
    return { ask, asked: () => count, went, kill, ledger, store };
  });
  return Object.assign(processes, { model });
}

/** A request that nothing but room is needed for. */
export const patient = {
  outlook: null,
  priority: "normal",
  client: "one",
  weight: 1,
  patienceMs: Infinity,
  again: null,
  bodyBytes: 0,
  uploading: false,
  signal: null,
} as const;

/** The most units that fall into any span of `ms`. */
export function peak(items: readonly { at: number; amount: number }[], ms: number): number {
  const sorted = items.toSorted((a, b) => a.at - b.at);
  let most = 0;
  let sum = 0;
  let from = 0;
  for (const item of sorted) {
    sum += item.amount;
    for (let first = sorted[from]; first !== undefined && item.at - first.at >= ms;) {
      sum -= first.amount;
      first = sorted[++from];
    }
    most = Math.max(most, sum);
  }
  return most;
}

/** The most that a bucket misses that fills up again at `limit` in `windowMs`. */
export function deepest(
  items: readonly { at: number; amount: number }[],
  limit: number,
  windowMs: number,
) {
  let level = 0;
  let most = 0;
  let last = -Infinity;
  for (const { at, amount } of items.toSorted((a, b) => a.at - b.at)) {
    level = Math.max(0, level - ((at - last) * limit) / windowMs) + amount;
    most = Math.max(most, level);
    last = at;
  }
  return most;
}
