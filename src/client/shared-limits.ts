import type { Clock } from "../clock.ts";
import { ProxyError } from "../errors.ts";
import type { RedisLedger } from "../ledger/redis.ts";
import type { ClientCost } from "./algorithm.ts";
import type { ClientAllowance, ClientLimiter, ClientTaken, LimitedClient } from "./limiter.ts";
import { ClientLimits } from "./limits.ts";
import type { ClientLimitsConfig, Plan, Plans } from "./plan.ts";
import { createPlans, isFree } from "./plan.ts";
import type { ClientRefusal } from "./refusal.ts";
import type { RoomHost } from "./shared-room.ts";
import { SharedRoom } from "./shared-room.ts";

/** How often it is looked what there is to report and to forget, ms. */
const everyMs = 500;
/** What the ids of virtual keys begin with; no other id does. */
const keyed = "key:";
const nothing: ClientCost = { requests: 0, tokens: 0 };

export interface SharedClientLimitsOptions {
  readonly clock: Clock;
  readonly config: ClientLimitsConfig;
  /** Where usage is shared, and whose view of Redis holds here too. */
  readonly ledger: Pick<
    RedisLedger,
    "host" | "healthy" | "onSwitch" | "onRecall" | "recall" | "forgetClient"
  >;
}

type Answer = ClientTaken | ClientRefusal;

/**
 * The limits of clients whose requests come to several processes: each client has its limit once, in Redis.
 *
 * A request is charged there before it goes, by the script that quotas use, which answers when there would be room; a
 * client that is told so is refused here until then. A busy client far from its limit has some room fetched ahead, so
 * that most of its requests ask nobody. What Redis has not heard of, memory has: without Redis each process goes on
 * with that (`local`), with nothing (`open`), or serves nobody who is limited (`closed`).
 */
export class SharedClientLimits implements ClientLimiter {
  readonly #clock: Clock;
  readonly #ledger: SharedClientLimitsOptions["ledger"];
  /** What this process alone has let through. */
  readonly #own: ClientLimits;
  readonly #host: RoomHost;
  readonly #rooms = new Map<string, SharedRoom>();
  #config: ClientLimitsConfig;
  #plans: Plans;
  #limited = 0;
  #session = 0;
  #messages = 0;
  /** Since when Redis has heard of what is taken, by its time. */
  #sharedSince = -Infinity;
  #cancelTimer: (() => void) | null = null;
  #isOpen = true;

  constructor({ clock, config, ledger }: SharedClientLimitsOptions) {
    this.#clock = clock;
    this.#ledger = ledger;
    this.#config = config;
    this.#plans = createPlans(config);
    this.#own = new ClientLimits({ clock, config });
    const isOpen = (): boolean => this.#isOpen;
    const session = (): string => `${ledger.host.id}.c${this.#session}`;
    this.#host = {
      redis: ledger.host,
      get session() {
        return session();
      },
      get isOpen() {
        return isOpen();
      },
      next: () => ++this.#messages,
      recall: (account) => ledger.recall(account),
    };
    ledger.onSwitch = (isUp) => this.#switched(isUp);
    ledger.onRecall = (name, isForgotten) => {
      if (isForgotten) this.#rooms.delete(name);
      else this.#rooms.get(name)?.recalled(clock.now());
    };
  }

  take(client: LimitedClient, cost: ClientCost): Answer | Promise<Answer> {
    const plan = this.#planNamed(client.tier?.name ?? null);
    const { mode } = this.#ledger.host;
    if (isFree(plan) || mode !== "shared") return this.#takeHere(client, cost);
    const now = this.#clock.now();
    const room = this.#roomOf(client.id, plan);
    const taken = room.take(now, cost);
    if (taken !== null) return this.#told(client, cost, taken);
    return this.#ask(room, client, cost);
  }

  giveBack(client: LimitedClient, cost: ClientCost, takenAt: number): void {
    this.#own.giveBack(client, cost, this.#localTime(takenAt));
    const room = this.#roomSince(client, takenAt);
    room?.giveBack(this.#clock.now(), cost, takenAt);
  }

  settle(client: LimitedClient, tokens: number, takenAt: number): void {
    if (tokens < 0) return this.giveBack(client, { requests: 0, tokens: -tokens }, takenAt);
    if (tokens === 0) return;
    const cost = { requests: 0, tokens };
    this.#own.charge(client, cost);
    this.#roomSince(client, takenAt)?.charge(this.#clock.now(), cost);
  }

  async get(id: string): Promise<ClientAllowance | null> {
    const plan = this.#planOf(id);
    if (plan === null || isFree(plan)) return null;
    if (this.#ledger.host.mode !== "shared") return this.#own.get(id);
    const room = this.#roomOf(id, plan);
    if ((await room.ask(nothing)) === null) return this.#own.get(id);
    const [requests, tokens] = [room.rate("requests"), room.rate("tokens")];
    const isKnown = (requests?.used ?? 0) > 0 || (tokens?.used ?? 0) > 0;
    if (!isKnown && !id.startsWith(keyed)) return null;
    const resetMs = Math.max(requests?.fullMs ?? 0, tokens?.fullMs ?? 0);
    return {
      id,
      tier: plan.tier,
      algorithm: this.#config.algorithm,
      limit: requests?.allowance.limit ?? null,
      remaining: requests?.allowance.remaining ?? null,
      reset_seconds: Math.ceil(resetMs) / 1_000,
      ...(tokens === null
        ? {}
        : { tokens_limit: tokens.allowance.limit, tokens_remaining: tokens.allowance.remaining }),
    };
  }

  async reset(id: string): Promise<boolean> {
    if ((await this.get(id)) === null) return false;
    this.#own.reset(id);
    const account = accountOf(id);
    this.#rooms.delete(account);
    await new Promise<void>((resolve) => this.#ledger.forgetClient(account, resolve));
    return true;
  }

  /** Of this process. */
  tracked(): number {
    return this.#own.tracked();
  }

  /** By this process. */
  limited(): number {
    return this.#limited;
  }

  configure(config: ClientLimitsConfig): void {
    const plans = createPlans(config);
    const isSame =
      config.algorithm === this.#config.algorithm && Bun.deepEquals([...plans], [...this.#plans]);
    this.#config = config;
    if (!isSame) this.#plans = plans;
    this.#own.configure(this.#ownConfig());
  }

  close(): void {
    this.#isOpen = false;
    this.#cancelTimer?.();
    if (this.#ledger.host.mode === "shared") for (const room of this.#rooms.values()) room.close();
    this.#own.close();
  }

  async #ask(room: SharedRoom, client: LimitedClient, cost: ClientCost): Promise<Answer> {
    const answer = await room.ask(cost);
    return answer === null ? this.#takeHere(client, cost) : this.#told(client, cost, answer);
  }

  /** What Redis has let through, or not. */
  #told(client: LimitedClient, cost: ClientCost, answer: Answer): Answer {
    if (answer.ok) this.#own.charge(client, cost);
    else this.#limited++;
    return answer;
  }

  /** What this process lets through by itself. */
  #takeHere(client: LimitedClient, cost: ClientCost): Answer {
    const { host } = this.#ledger;
    const { mode } = host;
    const plan = this.#planNamed(client.tier?.name ?? null);
    const at = host.remote(this.#clock.now());
    if (isFree(plan) || (mode === "free" && this.#ledger.healthy()))
      return { ok: true, at, limit: null, remaining: null, resetMs: 0 };
    if (mode === "free")
      throw new ProxyError(
        "STORE_UNAVAILABLE",
        "Redis, which holds the limits of clients, cannot be reached (redis.on_failure: closed).",
        1_000,
      );
    const taken = this.#own.take(client, cost);
    if (!taken.ok) this.#limited++;
    return taken.ok ? { ...taken, at } : taken;
  }

  #switched(isUp: boolean): void {
    const { host } = this.#ledger;
    this.#session++;
    this.#own.configure(this.#ownConfig());
    if (isUp) this.#sharedSince = host.remote(this.#clock.now());
    const rooms = [...this.#rooms.values()];
    this.#rooms.clear();
    for (const room of rooms) room.abandon();
  }

  /** What memory holds clients to: this process's part of their limits, where it is alone with them. */
  #ownConfig(): ClientLimitsConfig {
    const { mode, parts } = this.#ledger.host;
    if (mode !== "local" || parts <= 1) return this.#config;
    const part = (limit: number): number => (limit === 0 ? 0 : Math.max(1, limit / parts));
    const { rate_limit, burst, tiers, ...rest } = this.#config;
    return {
      ...rest,
      rate_limit: part(rate_limit),
      burst: burst === null ? null : Math.max(1, Math.floor(burst / parts)),
      tiers: Object.fromEntries(
        Object.entries(tiers).map(([name, { rpm, tpm }]) => [
          name,
          { rpm: rpm === null ? null : part(rpm), tpm: tpm === null ? null : part(tpm) },
        ]),
      ),
    };
  }

  /** Our time when it was `at` there, both ms since the epoch. */
  #localTime(at: number): number {
    const now = this.#clock.now();
    return at - (this.#ledger.host.remote(now) - now);
  }

  /** The room that what was taken at `takenAt` was taken from; null where Redis has not heard of it. */
  #roomSince(client: LimitedClient, takenAt: number): SharedRoom | null {
    const plan = this.#planNamed(client.tier?.name ?? null);
    if (isFree(plan) || this.#ledger.host.mode !== "shared" || takenAt < this.#sharedSince)
      return null;
    return this.#roomOf(client.id, plan);
  }

  #roomOf(id: string, plan: Plan): SharedRoom {
    const account = accountOf(id);
    let room = this.#rooms.get(account);
    if (room?.plan !== plan) {
      // Its limit has changed since.
      room?.retire();
      room = new SharedRoom(this.#host, account, plan, this.#config.algorithm);
      this.#rooms.set(account, room);
      this.#arm();
    }
    return room;
  }

  #planNamed(tier: string | null): Plan {
    const plan = this.#plans.get(tier) ?? this.#plans.get(null);
    if (plan === undefined) throw new Error("There is always a general plan, perhaps a free one.");
    return plan;
  }

  /** The plan of an id; null for one of a virtual key that there is not. */
  #planOf(id: string): Plan | null {
    if (!id.startsWith(keyed)) return this.#planNamed(null);
    const key = this.#config.keys.find(({ name }) => keyed + name === id);
    return key === undefined ? null : this.#planNamed(key.tier);
  }

  #arm(): void {
    if (!this.#isOpen) return;
    this.#cancelTimer ??= this.#clock.at(this.#clock.now() + everyMs, () => {
      this.#cancelTimer = null;
      const now = this.#clock.now();
      for (const [account, room] of this.#rooms) if (!room.look(now)) this.#rooms.delete(account);
      if (this.#rooms.size > 0) this.#arm();
    });
  }
}

/** What Redis knows a client by; no quota is called so. */
function accountOf(id: string): string {
  return `client ${id}`;
}
