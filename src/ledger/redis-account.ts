import type { Cost } from "../limit/cost.ts";
import { createLimit, limitKey } from "../limit/algorithms.ts";
import type { Limit, LimitSpec } from "../limit/limit.ts";
import type { Account } from "./account.ts";
import { SharedQuota } from "./redis-limit.ts";
import { Again } from "./redis-again.ts";
import type { Need, Sending } from "./redis-asking.ts";
import { fillIn, isHere, needOf, whatLacks } from "./redis-asking.ts";
import { Courier } from "./redis-courier.ts";
import { Lead } from "./redis-lead.ts";
import type { Message, Reply } from "./redis-message.ts";
import type { LinkHost } from "./redis-pace.ts";
import { ttlMs, safetyMs, lazyMs, tightLazyMs, keepMs, tightMs } from "./redis-pace.ts";
import type { Gate, Mode, SharedLimit } from "./redis-shared.ts";
import { Session } from "./redis-session.ts";
import { SharedTurns } from "./redis-turns.ts";

/**
 * What one account's limits tell Redis and hear from it: one message at a time; what happens meanwhile goes with the
 * next one.
 */
export class AccountLink implements Gate {
  readonly #host: LinkHost;
  readonly #name: string;
  #account: Account | null = null;
  /** Those in force, and those that are not but still have something charged. */
  #limits: SharedLimit[] = [];
  readonly #session: Session;
  readonly #courier: Courier;
  readonly #lead = new Lead();
  readonly #again = new Again();
  #isDeferred = false;
  #wanted: Map<SharedLimit, Need> | null = null;
  /** Redis keeps a place for the head of our queue; it is to be taken back. */
  #hasClaim = false;
  #drops = false;
  /** Until when what is held stays held, our time. */
  #liveUntil = -Infinity;
  #askedAt = -Infinity;
  /** When room was used last. */
  #usedAt = -Infinity;
  #tightUntil = -Infinity;
  #reportAt = Infinity;
  /** When to let the planner look again. */
  #wakeAt = Infinity;
  #timerAt = Infinity;
  #cancelTimer: () => void = () => undefined;
  #others = 0;

  constructor(host: LinkHost, name: string) {
    this.#host = host;
    this.#name = name;
    this.#session = new Session(host.id);
    this.#courier = new Courier(host, name, (sending, reply) => this.#heard(sending, reply));
  }

  /** Whose link it is; before anything else. */
  attach(account: Account): void {
    this.#account = account;
  }

  /** Makes one of the account's limits. */
  limit(spec: LimitSpec): Limit {
    const inner = createLimit(spec);
    const limit =
      spec.kind === "leaky_bucket"
        ? new SharedTurns(spec, inner, this)
        : new SharedQuota(spec, inner, this);
    if (this.mode === "local") limit.scale(this.#host.parts);
    this.#limits.push(limit);
    return limit;
  }

  get mode(): Mode {
    const { mode, without } = this.#host;
    return mode === "shared" && this.#courier.isSilent ? without : mode;
  }

  get retryAt(): number {
    return this.#again.retryAt;
  }

  get alone(): boolean {
    return this.#host.parts <= 1 && this.#others === 0;
  }

  remote(now: number): number {
    return this.#host.remote(now);
  }

  local(at: number): number {
    return this.#lead.local(at);
  }

  live(now: number): boolean {
    return now < this.#liveUntil;
  }

  tight(now: number): boolean {
    return now < this.#tightUntil;
  }

  used(now: number): void {
    this.#usedAt = now;
  }

  changed(frees: boolean): void {
    const now = this.#host.now();
    const isTight = now < this.#tightUntil;
    if (frees && isTight) return this.#flushSoon();
    this.#reportAt = Math.min(this.#reportAt, now + (isTight ? tightLazyMs : lazyMs));
    this.#arm();
  }

  /**
   * A request of `cost` wants room, all that wait `ahead` together (null: nobody is known to wait). Asks for it where
   * some is lacking.
   * @returns whether all the room is here
   */
  ask(now: number, cost: Readonly<Cost>, ahead: Readonly<Cost> | null): boolean {
    if (this.mode !== "shared") return true;
    const needs = new Map<SharedLimit, Need>();
    for (const limit of this.#current()) needs.set(limit, needOf(limit, cost, ahead));
    const { parts } = this.#host;
    const { lacks, wantsMore } = whatLacks(needs, { parts, isLive: this.live(now), now });
    if (!lacks && (!wantsMore || ahead === null)) return true;
    if (this.#mayAsk(now, needs, lacks)) {
      this.#wanted = needs;
      this.#flushSoon();
    }
    return !lacks || (this.live(now) && isHere(needs));
  }

  /** Whether asking for a request of `cost` helps yet: if not, and time makes it help, the next look is planned. */
  wants(now: number, cost: Readonly<Cost>): boolean {
    let at = now;
    for (const limit of this.#current())
      at = Math.max(at, limit.wantedAt(now, needOf(limit, cost, null).amount));
    if (at === now) return true;
    this.#wakeAt = Math.min(this.#wakeAt, at);
    this.#arm();
    return false;
  }

  /** Somebody waits for what we hold. */
  called(): void {
    const now = this.#host.now();
    this.#tightUntil = now + tightMs;
    for (const limit of this.#limits) if (limit instanceof SharedTurns) limit.needsMore(now);
    if (this.#reportsAt <= now || this.#limits.some(({ allowance }) => allowance > 0)) {
      // While a message is under way, it goes when that is answered.
      this.#reportAt = -Infinity;
      this.#flushSoon();
    } else this.#reportDue();
    this.#room();
  }

  /** There is room for the one that waits here. */
  invited(): void {
    this.#again.now();
    this.#look();
  }

  /** Redis is there again: what was not answered is sent again. */
  connected(): void {
    this.#again.now();
    if (this.#courier.sending !== null) this.#courier.again();
    // It may have forgotten what we used, and others may ask for it now.
    else if (this.#session.isOpen) this.#flush();
  }

  /**
   * Called now and then: looks after a message that is not answered.
   * @returns whether answers come
   */
  watch(now: number): boolean {
    const wasSilent = this.#courier.isSilent;
    this.#courier.watch(now);
    if (this.#courier.isSilent && !wasSilent) {
      this.switched();
      this.#room();
    }
    return !this.#courier.isSilent;
  }

  /** The mode has changed. */
  switched(): void {
    const specs = [...(this.#account?.spec.limits ?? []), ...(this.#account?.learned ?? [])];
    for (const limit of this.#current()) {
      const found = specs.find((item) => limitKey(item) === limit.key);
      if (this.mode === "local") limit.scale(this.#host.parts);
      else if (found !== undefined) limit.resize(found);
    }
  }

  get #isBusy(): boolean {
    return this.#limits.some(({ busy }) => busy);
  }

  get #reportsAt(): number {
    return Math.min(Infinity, ...this.#limits.map(({ reportsAt }) => reportsAt));
  }

  /** What is in flight is in somebody's way: its end is reported when it is due. */
  #reportDue(): void {
    this.#reportAt = Math.min(this.#reportAt, this.#reportsAt);
    this.#arm();
  }

  /** Gives everything back and says nothing more. */
  close(): void {
    for (const limit of this.#limits) limit.giveBack();
    if (this.mode === "shared" && this.#courier.sending === null && this.#session.isOpen)
      this.#flush();
    this.#cancelTimer();
    this.#timerAt = -Infinity;
  }

  #current(): SharedLimit[] {
    const limits = this.#account?.limits ?? [];
    return this.#limits.filter((limit) => limits.includes(limit));
  }

  /** Whether asking now can help; if not, the next look is planned. */
  #mayAsk(now: number, needs: ReadonlyMap<SharedLimit, Need>, lacks: boolean): boolean {
    if (this.#courier.sending?.asks === true) return false;
    const at = this.#again.at(now, needs, { lacks, parts: this.#host.parts });
    if (at <= now) return true;
    this.#wakeAt = Math.min(this.#wakeAt, at);
    this.#arm();
    return false;
  }

  #flushSoon(): void {
    if (this.#isDeferred || this.#timerAt === -Infinity) return;
    this.#isDeferred = true;
    this.#host.defer(() => {
      this.#isDeferred = false;
      this.#flush();
    });
  }

  /** Sends what there is to say, if nothing is under way. */
  #flush(): void {
    if (this.#courier.sending !== null || this.mode !== "shared") return;
    const now = this.#host.now();
    const wanted = this.#wanted;
    this.#wanted = null;
    if (
      wanted === null &&
      (now - this.#usedAt >= keepMs || (now < this.#tightUntil && this.#account?.waiting === 0))
    )
      for (const limit of this.#limits) limit.giveBack();
    const current = this.#current();
    for (const limit of this.#limits) if (!current.includes(limit)) limit.giveBack();
    if (now >= this.#liveUntil && this.#session.isOpen && !this.#isBusy) this.#session.end();
    const parts = this.#limits.map((limit) => ({ limit, message: limit.take(now) }));
    this.#limits = this.#limits.filter((limit) => current.includes(limit) || limit.busy);
    // What is in flight may be in the way of who waits: it is not left to the next question.
    const isAwaited = now < this.#tightUntil || this.#again.isBlind;
    this.#reportAt = isAwaited ? Math.max(now + tightLazyMs, this.#reportsAt) : Infinity;
    const message: Message = {
      ...this.#session.next(now, this.#host.backAt),
      name: this.#name,
      ttl: ttlMs,
      ask: wanted !== null,
      more: false,
      ch: this.#host.channel,
      L: parts.map((part) => part.message),
    };
    if (this.#drops && wanted === null) message.drop = true;
    this.#drops = false;
    if (wanted !== null) {
      const sinceMs = Math.max(1, now - this.#askedAt);
      message.more = fillIn(parts, wanted, { parts: this.#host.parts, sinceMs, now });
      this.#again.asks(parts);
      this.#askedAt = now;
    }
    this.#courier.post({
      parts,
      text: JSON.stringify(message),
      at: now,
      tries: 0,
      asks: message.ask,
    });
  }

  /** What Redis knows this process by, in this account. */
  get id(): string {
    return this.#session.id;
  }

  #heard(sending: Sending, text: string): void {
    const wasSilent = this.#courier.isSilent;
    this.#courier.isSilent = false;
    if (wasSilent) this.switched();
    this.#answered(sending, JSON.parse(text) as Reply);
    if (wasSilent) this.#room();
  }

  #answered(sending: Sending, reply: Reply): void {
    const now = this.#host.now();
    if (reply.status === "unknown") return this.#renew(sending, reply.inc);
    this.#host.heard(sending.at, now, Number(reply.now));
    this.#lead.hear(sending.at, now, Number(reply.now));
    this.#session.answered(reply.inc, sending.at + reply.keep);
    this.#others = reply.others;
    this.#liveUntil = sending.at + ttlMs - safetyMs;
    if (reply.others > 0) this.#tightUntil = now + tightMs;
    sending.parts.forEach(({ limit, message: { fair, win } }, i) => {
      const part = reply.L[i];
      if (part === undefined) return;
      const isOver = part[0] > 0 && part[0] > fair && this.#host.parts > 1;
      if (isOver && win !== undefined) this.#again.tookMore(now, win);
      limit.granted(now, part);
    });
    // A question that takes as long as this one did is there just when there is room.
    if (sending.asks) this.#heed(reply, now, sending.tries > 1 ? now : sending.at);
    if (this.#wanted !== null) this.#flushSoon();
    this.#arm();
    if (sending.asks && reply.ok) this.#room();
  }

  /** When to ask again. */
  #heed(reply: Reply, now: number, askedAt: number): void {
    this.#usedAt = now;
    this.#hasClaim = reply.claim;
    this.#again.heed(reply, now, askedAt);
    this.#wakeAt = this.retryAt === -Infinity ? Infinity : this.retryAt;
    if (this.#again.isBlind && this.#reportsAt > now) this.#reportDue();
  }

  /** Redis does not know us any more: begins anew, with all that it has to know. */
  #renew(sending: Sending, incarnation: string): void {
    const isLost = this.#session.unknown(incarnation, this.#host.now());
    for (const limit of this.#limits) {
      const message = sending.parts.find((part) => part.limit === limit)?.message ?? null;
      limit.renew(this.#host.now(), isLost, message, sending.tries > 1);
    }
    this.#again.forget();
    this.#liveUntil = -Infinity;
    this.#askedAt = -Infinity;
    this.#flush();
    this.#room();
  }

  #room(): void {
    if (this.#account !== null) this.#host.room(this.#account);
  }

  /** Lets the planner look, and takes the claim back if nobody asks any more. */
  #look(): void {
    this.#wakeAt = Infinity;
    this.#room();
    if (this.#hasClaim && this.#wanted === null && this.#wakeAt === Infinity) {
      this.#hasClaim = false;
      this.#drops = true;
      this.#flushSoon();
    }
  }

  #arm(): void {
    if (this.#timerAt === -Infinity) return;
    // While a message is under way, or nobody hears any, there is only the queue to be looked after.
    const isFree = this.#courier.sending === null && this.mode === "shared";
    let at = isFree ? Math.min(this.#reportAt, this.#wakeAt) : this.#wakeAt;
    if (isFree && (this.#hasClaim || this.#isBusy))
      at = Math.min(at, this.#courier.lastAt + ttlMs / 3);
    if (isFree && this.#limits.some(({ allowance }) => allowance > 0))
      at = Math.min(at, this.#usedAt + keepMs);
    if (at >= this.#timerAt) return;
    this.#cancelTimer();
    this.#timerAt = at;
    this.#cancelTimer = this.#host.at(at, () => {
      this.#timerAt = Infinity;
      this.#ring();
    });
  }

  #ring(): void {
    const now = this.#host.now();
    // What is to be reported may be what was in the way: the question that goes with it tells.
    const isBlind = this.#hasClaim && this.#again.isBlind;
    if (isBlind && Math.max(this.#reportAt, this.#reportsAt) <= now) this.invited();
    else if (this.#wakeAt <= now) this.#look();
    const isDue =
      this.#reportAt <= now ||
      ((this.#hasClaim || this.#isBusy) && this.#courier.lastAt + ttlMs / 3 <= now) ||
      (this.#usedAt + keepMs <= now && this.#limits.some(({ allowance }) => allowance > 0));
    if (isDue) this.#flush();
    this.#arm();
  }
}
