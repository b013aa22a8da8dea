import type { Clock } from "../clock.ts";
import { ProxyError } from "../errors.ts";
import type { Cost, Unit } from "../limit/cost.ts";
import type { LimitHint, WindowName } from "../limit/limit.ts";
import { Account } from "./account.ts";
import type { AccountSpec } from "./account.ts";
import type { Ledger, Reservation, ReserveOptions } from "./ledger.ts";
import { MemoryLedger } from "./memory.ts";
import { AccountLink } from "./redis-account.ts";
import { Board } from "./redis-board.ts";
import type { LinkHost } from "./redis-pace.ts";
import { deadMs, silenceMs } from "./redis-pace.ts";
import type { Mode } from "./redis-shared.ts";
import type { RedisStore } from "./redis-store.ts";
import { memberMs } from "./redis-store.ts";
import { ToldAccounts } from "./redis-told.ts";

/** How often processes count each other, and how often silence is looked at, ms. */
const pulseMs = 2_000;
const watchMs = 250;
/** Redis's time is learned anew within so long: clocks drift, ms. */
const offsetMs = 30_000;

/** What happens to requests while Redis cannot be reached (contract, section 2). */
export type OnFailure = "closed" | "open" | "local";

export interface RedisLedgerOptions {
  readonly store: RedisStore;
  readonly clock: Clock;
  readonly onFailure: OnFailure;
  /** Unique to this process. */
  readonly id?: string;
  /** Runs a function when the present event-loop turn has handled its input. */
  readonly defer?: (run: () => void) => void;
  /** Called once when Redis is lost and once when it is back; for the log and the metrics. */
  readonly onChange?: (isUp: boolean, reason: string) => void;
}

/**
 * Usage that all processes share through Redis.
 *
 * Admission stays synchronous: what may go is room that Redis has granted to this process. Far from a limit that is
 * a slice fetched ahead, so most requests cost no round trip; near it each head of a queue asks when there should be
 * room (see `Ledger.seek`). Memory holds what this process alone has charged: how charges end, what answers tell, what
 * is expected. Without Redis, `onFailure` says what goes.
 */
export class RedisLedger implements Ledger {
  onRoom: ((group: string) => void) | null = null;
  /** Called with the name of what is no account here: what is unused of it is wanted elsewhere, or it was forgotten. */
  onRecall: ((name: string, isForgotten: boolean) => void) | null = null;
  /** Called when Redis is lost, and when it is back. */
  onSwitch: ((isUp: boolean) => void) | null = null;
  /** How often Redis was lost. */
  failures = 0;
  /** What processes tell each other. */
  readonly board: Board;
  /** Resolves when what was not used has been given back, after `close`. */
  closed: Promise<void> = Promise.resolve();
  readonly #memory: MemoryLedger;
  readonly #store: RedisStore;
  readonly #clock: Clock;
  readonly #onFailure: OnFailure;
  readonly #onChange: (isUp: boolean, reason: string) => void;
  readonly #links = new Map<string, AccountLink>();
  /** What a limit that is no account's needs of Redis. */
  readonly host: LinkHost;
  readonly #told: ToldAccounts;
  #isUp = true;
  /** All accounts are heard of, too. */
  #isWhole = true;
  #parts = 1;
  #countsHeard = 0;
  /** Redis's time less ours: no less than it is, by the last samples, and by those before. */
  #offset = { now: Infinity, before: Infinity, since: -Infinity };
  #pulsedAt = -Infinity;
  /** When a pulse was answered last. */
  #countedAt = -Infinity;
  /** When Redis was there again last; null before its first connection. */
  #backAt: number | null = null;
  #cancelTimer: () => void = () => undefined;
  #isOpen = true;

  constructor(options: RedisLedgerOptions) {
    const { store, clock } = options;
    this.#store = store;
    this.#clock = clock;
    this.#onFailure = options.onFailure;
    this.#onChange = options.onChange ?? (() => undefined);
    const id = options.id ?? crypto.randomUUID().slice(0, 13);
    this.host = this.#hostFor(id, options.defer ?? setImmediate);
    this.board = new Board(store, () => this.host.remote(clock.now()));
    this.#told = new ToldAccounts(
      this.board,
      (at) => at - this.#offsetAt(clock.now()),
      ({ spec }) => this.onRoom?.(spec.group),
    );
    this.#memory = new MemoryLedger(0, (spec) => this.#make(spec));
    store.onNews = (news) => this.#heed(news);
    store.onCount = (count) => {
      this.#parts = Math.max(1, count);
      this.#countsHeard++;
    };
    store.onConnect = () => {
      this.#pulse();
      this.#returned();
    };
    store.open();
    this.#watch();
  }

  /** Processes that share the quotas, as far as is known. */
  get parts(): number {
    return this.#parts;
  }

  account(spec: AccountSpec): Account {
    return this.#memory.account(spec);
  }

  accounts(): Iterable<Account> {
    return this.#memory.accounts();
  }

  forget(account: Account): void {
    this.#memory.forget(account);
    this.#told.forget(account);
    this.#links.get(account.name)?.close();
    this.#links.delete(account.name);
  }

  reserve(
    now: number,
    accounts: readonly Account[],
    cost: Readonly<Cost>,
    options: ReserveOptions,
  ): Reservation | { retryAt: number } {
    const made = this.#memory.reserve(now, accounts, cost, options);
    if (!("retryAt" in made) || !this.#isUp) return made;
    if (!this.#fetch(now, accounts, cost, null)) return made;
    return this.#memory.reserve(now, accounts, cost, options);
  }

  /** Has all processes give back what they hold and do not use of a client's limit. */
  recall(name: string): void {
    this.#store.recall(name);
  }

  /** Forgets a client's limit; `done` is called when that was heard, or will not be. */
  forgetClient(name: string, done: () => void): void {
    this.#store.forget(name, done);
  }

  seek(
    now: number,
    accounts: readonly Account[],
    cost: Readonly<Cost>,
    ahead: (account: Account) => Readonly<Cost>,
  ): void {
    if (this.#isUp) this.#fetch(now, accounts, cost, ahead);
  }

  committed(reservation: Reservation): Promise<void> | null {
    if (this.#onFailure !== "closed" || !reservation.open) return null;
    const isShared = ({ name }: Account): boolean => this.#links.get(name)?.mode === "shared";
    if (reservation.accounts.every(isShared)) return null;
    return Promise.reject(
      new ProxyError(
        "STORE_UNAVAILABLE",
        "Redis, which holds the quotas, cannot be reached (redis.on_failure: closed).",
        1_000,
      ),
    );
  }

  sent(reservation: Reservation, now: number): void {
    this.#memory.sent(reservation, now);
  }

  arrived(reservation: Reservation, now: number): void {
    this.#memory.arrived(reservation, now);
  }

  hint(reservation: Reservation, now: number, hints: readonly LimitHint[]): void {
    this.#memory.hint(reservation, now, hints);
    for (const account of reservation.accounts) this.#told.look(account);
  }

  refused(
    account: Account,
    reservation: Reservation | null,
    now: number,
    unit: Unit | null,
    window: WindowName | null,
  ): void {
    this.#memory.refused(account, reservation, now, unit, window);
  }

  settle(
    reservation: Reservation,
    now: number,
    actual: Readonly<Cost>,
    counted: Readonly<Cost> = actual,
  ): void {
    this.#memory.settle(reservation, now, actual, counted);
  }

  release(reservation: Reservation, now: number): void {
    this.#memory.release(reservation, now);
  }

  healthy(): boolean {
    return this.#isUp || this.#onFailure !== "closed";
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#cancelTimer();
    for (const link of this.#links.values()) link.close();
    this.closed = this.#store.close();
  }

  #make(spec: AccountSpec): Account {
    const link = new AccountLink(this.host, spec.name);
    const account = new Account(spec, (limit) => link.limit(limit));
    link.attach(account);
    this.#links.set(spec.name, link);
    this.#told.add(account);
    return account;
  }

  /**
   * Asks for the room that is lacking, one account after another: two processes never hold what the other waits for.
   * @returns whether all of it is here
   */
  #fetch(
    now: number,
    accounts: readonly Account[],
    cost: Readonly<Cost>,
    ahead: ((account: Account) => Readonly<Cost>) | null,
  ): boolean {
    for (const { heldUntil } of accounts) if (now < heldUntil) return false;
    for (const account of accounts) {
      const link = this.#links.get(account.name);
      if (link !== undefined && !link.wants(now, cost)) return false;
    }
    for (const account of accounts) {
      const link = this.#links.get(account.name);
      if (link !== undefined && !link.ask(now, cost, ahead?.(account) ?? null)) return false;
    }
    return true;
  }

  #hostFor(id: string, defer: (run: () => void) => void): LinkHost {
    const store = this.#store;
    const clock = this.#clock;
    const mode = (): Mode => this.#mode;
    const parts = (): number => this.#parts;
    const backAt = (): number => this.#backAt ?? -Infinity;
    return {
      get mode() {
        return mode();
      },
      without: this.#onFailure === "local" ? "local" : "free",
      get parts() {
        return parts();
      },
      id,
      channel: store.channel,
      get backAt() {
        return backAt();
      },
      now: () => clock.now(),
      at: (at, run) => clock.at(at, run),
      defer,
      send: (account, message, done) => store.exchange(account, message, done),
      giveUp: (account) => store.giveUp(account),
      remote: (now) => now + this.#offsetAt(now),
      heard: (sentAt, now, remoteNow) => this.#hear(sentAt, now, remoteNow),
      room: (account) => this.onRoom?.(account.spec.group),
    };
  }

  get #mode(): Mode {
    return this.#isUp ? "shared" : this.host.without;
  }

  /** Before the first answer our own time has to do: nothing is charged by then that Redis has granted. */
  #offsetAt(now: number): number {
    const { before, since } = this.#offset;
    if (now - since > 2 * offsetMs) return this.#offset.now === Infinity ? 0 : this.#offset.now;
    return Math.min(this.#offset.now, before);
  }

  #hear(sentAt: number, now: number, remoteNow: number): void {
    const sample = remoteNow - sentAt;
    const { since } = this.#offset;
    if (now - since > offsetMs)
      this.#offset = { now: sample, before: this.#offset.now, since: now };
    else this.#offset.now = Math.min(this.#offset.now, sample);
  }

  #heed({ to, account }: { to: string; account: string }): void {
    const link = this.#links.get(account);
    if (link === undefined && (to === "*" || to === "-")) this.onRecall?.(account, to === "-");
    else if (to === "*") link?.called();
    else if (link?.id === to) link.invited();
  }

  /** Counts the processes; the answer is the sign of life, too. */
  #pulse(): void {
    if (!this.#isOpen) return;
    this.#pulsedAt = this.#clock.now();
    const heard = this.#countsHeard;
    this.#store.pulse(this.host.id, (parts, isNew) => {
      if (parts === null || !this.#isOpen) return;
      const now = this.#clock.now();
      // It knew us a moment ago: somebody has emptied it.
      if (isNew && this.#isUp && now - this.#countedAt < memberMs) this.#returned();
      this.#countedAt = now;
      // News come on a connection of their own: nobody can say which of the two counts is older.
      const isDoubtful = heard !== this.#countsHeard && parts !== this.#parts;
      this.#parts = Math.max(1, parts, isDoubtful ? this.#parts : 0);
      if (isDoubtful) this.#pulse();
      if (!this.#isUp) this.#switch(true, "");
    });
  }

  /** Redis is there, perhaps with nothing in it. */
  #returned(): void {
    this.#backAt = this.#backAt === null ? -Infinity : this.#clock.now();
    this.board.connected();
    if (this.#isUp) for (const link of this.#links.values()) link.connected();
  }

  #watch(): void {
    const now = this.#clock.now();
    const silent = this.#store.silentSince;
    if (silent !== null && now - silent >= silenceMs && this.#isUp)
      this.#switch(false, this.#store.reason);
    if (silent !== null && now - silent >= deadMs) this.#store.reopen(now);
    if (now - this.#pulsedAt >= pulseMs && this.#store.isConnected) this.#pulse();
    if (this.#isUp) this.#look(now);
    this.#cancelTimer = this.#clock.at(now + watchMs, () => this.#watch());
  }

  /** A node of a cluster may be gone while the others are there: then its accounts alone go by the policy. */
  #look(now: number): void {
    let isWhole = true;
    for (const link of this.#links.values()) if (!link.watch(now)) isWhole = false;
    this.#say(isWhole, this.#store.reason);
  }

  /** Tells of each change once. */
  #say(isWhole: boolean, reason: string): void {
    if (isWhole === this.#isWhole) return;
    this.#isWhole = isWhole;
    if (!isWhole) this.failures++;
    this.#onChange(isWhole, reason);
  }

  #switch(isUp: boolean, reason: string): void {
    this.#isUp = isUp;
    this.#say(isUp, reason);
    this.onSwitch?.(isUp);
    for (const link of this.#links.values()) link.switched();
    if (isUp) for (const link of this.#links.values()) link.connected();
    const groups = new Set([...this.#memory.accounts()].map(({ spec }) => spec.group));
    for (const group of groups) this.onRoom?.(group);
  }
}
