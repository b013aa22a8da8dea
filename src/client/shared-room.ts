import type { Message, Reply } from "../ledger/redis-message.ts";
import type { LinkHost } from "../ledger/redis-pace.ts";
import { keepMs, lazyMs, safetyMs, tightMs, ttlMs } from "../ledger/redis-pace.ts";
import type { ClientCost } from "./algorithm.ts";
import type { ClientTaken } from "./limiter.ts";
import type { AlgorithmName, Plan } from "./plan.ts";
import type { ClientRefusal } from "./refusal.ts";
import { SharedRate } from "./shared-rate.ts";

/** What others hold and do not use is here within so long after it was called for, ms. */
const recallMs = 20;
/** A message without an answer is sent again after so long, ms. */
const againMs = 100;

/** A request that waits to be told whether it may go. */
interface Asked {
  readonly cost: ClientCost;
  readonly tell: (answer: ClientTaken | ClientRefusal | null) => void;
  /** What others do not use was called for already. */
  hasRecalled: boolean;
}

/** What rooms have from their limiter. */
export interface RoomHost {
  readonly redis: LinkHost;
  /** False once nobody is asked any more. */
  readonly isOpen: boolean;
  /** What this process calls itself in messages about clients, and how many there were. */
  readonly session: string;
  next(): number;
  /** Has others give back what they hold of `account` and do not use. */
  recall(account: string): void;
}

/**
 * What this process knows and holds of one client's limit: one message to Redis at a time, which asks for all that
 * wait. What one request needs is counted by the script as it is granted; what a busy client is likely to need next is
 * held here for it, and reported when it was used.
 */
export class SharedRoom {
  readonly account: string;
  readonly plan: Plan;
  readonly #host: RoomHost;
  readonly #rates: readonly SharedRate[];
  #waiting: Asked[] = [];
  /** The message under way. */
  #sending: string | null = null;
  /** Nothing is asked before, our time. */
  #pausedUntil = -Infinity;
  #refused: { until: number; cost: ClientCost } | null = null;
  /** Until when what is held stays held, our time. */
  #liveUntil = -Infinity;
  #askedAt = -Infinity;
  #usedAt = -Infinity;
  /** Since when something is to be reported. */
  #reportsSince = Infinity;
  /** Others want what is left. */
  #tightUntil = -Infinity;

  constructor(host: RoomHost, account: string, plan: Plan, algorithm: AlgorithmName) {
    this.#host = host;
    this.account = account;
    this.plan = plan;
    const { requests, tokens } = plan;
    this.#rates = [
      ...(requests === null ? [] : [new SharedRate("requests", requests, algorithm)]),
      ...(tokens === null ? [] : [new SharedRate("tokens", tokens, algorithm)]),
    ];
  }

  /** What is known of a unit's rate; null where it is not limited. */
  rate(unit: SharedRate["unit"]): SharedRate | null {
    return this.#rates.find((rate) => rate.unit === unit) ?? null;
  }

  /** Charges a request if that can be told without Redis; null where it has to be asked. */
  take(now: number, cost: ClientCost): ClientTaken | ClientRefusal | null {
    if (this.#rates.some((rate) => cost[rate.unit] > rate.size)) return this.#no(cost, Infinity);
    if (this.#waiting.length > 0) return null;
    if (this.#isRefused(now, cost)) return this.#no(cost, (this.#refused?.until ?? now) - now);
    return this.#spend(now, cost);
  }

  /** Asks Redis for a request; null where that was lost meanwhile. */
  ask(cost: ClientCost): Promise<ClientTaken | ClientRefusal | null> {
    return new Promise((tell) => {
      this.#waiting.push({ cost, tell, hasRecalled: false });
      this.#host.redis.defer(() => this.#send());
    });
  }

  giveBack(now: number, cost: ClientCost, takenAt: number): void {
    for (const rate of this.#rates)
      if (cost[rate.unit] > 0) rate.giveBack(takenAt, cost[rate.unit]);
    this.#refused = null;
    this.#reportsSince = Math.min(this.#reportsSince, now);
  }

  charge(now: number, cost: ClientCost): void {
    for (const rate of this.#rates)
      if (cost[rate.unit] > 0) rate.charge(this.#host.redis.remote(now), cost[rate.unit]);
    this.#reportsSince = Math.min(this.#reportsSince, now);
  }

  /** Somebody else wants what is not used here. */
  recalled(now: number): void {
    this.#tightUntil = now + tightMs;
    if (this.#holds || this.#reports) this.#flush(false);
  }

  /** Says what there is to say, if it is time. @returns false where there is nothing to remember any more */
  look(now: number): boolean {
    if (this.#sending !== null) return true;
    if (this.#waiting.length > 0) this.#send();
    else if (this.#holds && now - this.#usedAt >= keepMs) this.#flush(false);
    else if (now - this.#reportsSince >= lazyMs) this.#flush(true);
    if (this.#sending !== null || this.#holds || this.#reports) return true;
    return now < (this.#refused?.until ?? -Infinity) || now < this.#tightUntil;
  }

  /** Gives everything back and reports it, now. */
  close(): void {
    if (this.#sending === null && (this.#holds || this.#reports)) this.#flush(false);
  }

  /** Nobody asks here any more: gives back and reports what there is, once what is under way is answered. */
  retire(): void {
    this.#tightUntil = Infinity;
    this.close();
  }

  /** Redis is lost: those that wait for its answer are told so. */
  abandon(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#sending = null;
    for (const { tell } of waiting) tell(null);
  }

  get #holds(): boolean {
    return this.#rates.some(({ unused }) => unused > 0);
  }

  get #reports(): boolean {
    return this.#rates.some(({ reports }) => reports);
  }

  #isRefused(now: number, cost: ClientCost): boolean {
    const refused = this.#refused;
    if (refused === null || now >= refused.until) return false;
    return cost.requests >= refused.cost.requests && cost.tokens >= refused.cost.tokens;
  }

  /** Uses what is here; null if it is not enough. */
  #spend(now: number, cost: ClientCost): ClientTaken | null {
    if (now >= this.#liveUntil) return null;
    if (this.#rates.some(({ unit, unused }) => cost[unit] > unused)) return null;
    const at = this.#host.redis.remote(now);
    for (const rate of this.#rates) if (cost[rate.unit] > 0) rate.spend(at, cost[rate.unit]);
    this.#usedAt = now;
    this.#reportsSince = Math.min(this.#reportsSince, now);
    return this.#yes(at);
  }

  #yes(at: number): ClientTaken {
    const requests = this.rate("requests")?.allowance ?? null;
    const resetMs = Math.max(0, ...this.#rates.map(({ fullMs }) => fullMs));
    return {
      ok: true,
      at,
      limit: requests?.limit ?? null,
      remaining: requests?.remaining ?? null,
      resetMs,
    };
  }

  #no(cost: ClientCost, retryAfterMs: number): ClientRefusal {
    const requests = this.rate("requests")?.allowance ?? null;
    const tokens = this.rate("tokens")?.allowance ?? null;
    return { ok: false, retryAfterMs, cost, requests, tokens };
  }

  /** Asks for those that wait. */
  #send(): void {
    const [first] = this.#waiting;
    const now = this.#host.redis.now();
    if (first === undefined || this.#sending !== null || now < this.#pausedUntil) return;
    const sinceMs = now < this.#tightUntil ? null : now - this.#askedAt;
    const messages = this.#rates.map((rate) => {
      // All that is here goes back: what is granted may then be more than was there.
      const message = rate.report(false);
      const all = this.#waiting.reduce((sum, { cost }) => sum + cost[rate.unit], 0);
      rate.ask(message, first.cost[rate.unit], all, sinceMs);
      return message;
    });
    this.#askedAt = now;
    this.#post(messages, true);
  }

  #flush(keeps: boolean): void {
    if (this.#sending !== null) return;
    this.#post(
      this.#rates.map((rate) => rate.report(keeps)),
      false,
    );
  }

  #post(messages: Message["L"], asks: boolean): void {
    this.#reportsSince = Infinity;
    const { redis, session } = this.#host;
    const message: Message = {
      id: session,
      n: this.#host.next(),
      // Where Redis has forgotten the client, it begins anew.
      hello: true,
      inc: "",
      name: this.account,
      ttl: ttlMs,
      ask: asks,
      more: false,
      // Nobody waits for room here: what is refused is refused.
      drop: true,
      ch: redis.channel,
      L: messages,
    };
    const text = JSON.stringify(message);
    const sentAt = redis.now();
    const send = (): void => {
      this.#sending = text;
      redis.send(this.account, text, (reply) => {
        if (this.#sending !== text) return;
        if (reply !== null) return this.#answered(messages, asks, sentAt, reply);
        // The same once more: if it was heard, it is answered as it was.
        redis.at(redis.now() + againMs, () => {
          if (this.#sending === text && redis.mode === "shared" && this.#host.isOpen) send();
        });
      });
    };
    send();
  }

  #answered(messages: Message["L"], asks: boolean, sentAt: number, text: string): void {
    const reply = JSON.parse(text) as Reply;
    const now = this.#host.redis.now();
    this.#sending = null;
    this.#host.redis.heard(sentAt, now, Number(reply.now));
    this.#liveUntil = sentAt + ttlMs - safetyMs;
    let isHeld = false;
    this.#rates.forEach((rate, i) => {
      const [message, part] = [messages[i], reply.L[i]];
      if (message === undefined || part === undefined) return;
      const [granted, used, others] = part;
      rate.granted(message, granted, Number(used), Number(others));
      isHeld ||= message.min > 0 && Number(others) > 0;
    });
    if (asks) this.#tell(reply, now, isHeld);
    if (this.#waiting.length > 0) this.#send();
    else if (now < this.#tightUntil && (this.#holds || this.#reports)) this.#flush(false);
  }

  /** Tells those that have waited. */
  #tell(reply: Reply, now: number, isHeld: boolean): void {
    const first = this.#waiting[0];
    if (first === undefined) return;
    if (reply.ok) {
      this.#waiting.shift();
      this.#usedAt = now;
      this.#refused = null;
      first.tell(this.#yes(Number(reply.now)));
      this.#serve(now);
      return;
    }
    if (isHeld && !first.hasRecalled) {
      first.hasRecalled = true;
      this.#pausedUntil = now + recallMs;
      this.#host.recall(this.account);
      this.#host.redis.at(this.#pausedUntil, () => this.#send());
      return;
    }
    const wait = Number(reply.wait);
    this.#refused = { until: now + (wait < 0 ? keepMs : Math.max(wait, 1)), cost: first.cost };
    const { until, cost } = this.#refused;
    const refused = this.#waiting.filter((asked) => asked === first || this.#isAsMuch(asked, cost));
    this.#waiting = this.#waiting.filter((asked) => !refused.includes(asked));
    for (const asked of refused) asked.tell(this.#no(asked.cost, until - now));
  }

  #isAsMuch({ cost }: Asked, than: ClientCost): boolean {
    return cost.requests >= than.requests && cost.tokens >= than.tokens;
  }

  /** Those behind the first, as long as what was granted lasts. */
  #serve(now: number): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      const taken = this.#spend(now, next.cost);
      if (taken === null) return;
      this.#waiting.shift();
      next.tell(taken);
    }
  }
}
