import type { LimitMessage, Report } from "../ledger/redis-message.ts";
import type { ClientUnit } from "./algorithm.ts";
import type { AlgorithmName, Rate } from "./plan.ts";
import { roomIn } from "./plan.ts";
import type { Allowance } from "./refusal.ts";

const minuteMs = 60_000;
/**
 * A minute is cut into so many slices, and whatever drains for longer into as many or fewer, each twice as long as those
 * of half the time: limits that are not far apart have the same, so that what was used stays used when one is changed.
 */
const slices = 600;
/** There is no telling how much a process may take of a client's limit: whoever is asked for it takes it. */
const noShare = 1e15;
/** Room is fetched for so much time at the rate of the last question, ms. */
const aheadMs = 500;

/**
 * One unit of a client's limit, as Redis is told of it. What Redis holds for this process is what is `unused`, and what
 * was used of that since the last message. Times are Redis's.
 */
export class SharedRate {
  readonly unit: ClientUnit;
  readonly #rate: Rate;
  readonly #isWindow: boolean;
  readonly #windowMs: number;
  readonly #sliceMs: number;
  #unused = 0;
  /** Used of what was held, and not reported. */
  #spent = 0;
  readonly #counted = new Map<number, { amount: number; at: number }>();
  #returned: Report[] = [];
  /** Units used since the last question. */
  #use = 0;
  /** Units that nobody has used, as far as is known. */
  #left: number;

  constructor(unit: ClientUnit, rate: Rate, algorithm: AlgorithmName) {
    this.unit = unit;
    this.#rate = rate;
    this.#isWindow = algorithm === "sliding_window";
    this.#windowMs = this.#isWindow ? minuteMs : rate.burst / rate.perMs;
    const longer = Math.max(0, Math.ceil(Math.log2(this.#windowMs / minuteMs)));
    this.#sliceMs = (minuteMs / slices) * 2 ** longer;
    this.#left = rate.burst;
  }

  /** The most that there ever is. */
  get size(): number {
    return this.#rate.burst;
  }

  get unused(): number {
    return this.#unused;
  }

  /** Whether there is something to say. */
  get reports(): boolean {
    return this.#spent > 0 || this.#counted.size > 0 || this.#returned.length > 0;
  }

  /** Uses what was granted and not used yet; of less than `amount` nothing may be used. */
  spend(at: number, amount: number): void {
    this.#unused -= amount;
    this.#spent += amount;
    this.#use += amount;
    this.#left -= amount;
    this.#count(at, amount);
  }

  /** Counts what nobody has granted. */
  charge(at: number, amount: number): void {
    this.#left -= amount;
    this.#count(at, amount);
  }

  /** What was counted at `takenAt` was not used. */
  giveBack(takenAt: number, amount: number): void {
    this.#returned.push([Math.floor(takenAt / this.#sliceMs), -amount, takenAt]);
  }

  /**
   * Its part of the next message; what it reports is taken out of it.
   * @param keeps whether what is unused stays here: else it is given back
   */
  report(keeps: boolean): LimitMessage {
    const message: LimitMessage = {
      k: `${this.#isWindow ? "w" : "b"}${this.#sliceMs} ${this.unit}`,
      t: this.#isWindow ? "w" : "b",
      lim: this.#rate.burst,
      win: this.#windowMs,
      sl: this.#sliceMs,
      sp: slices + 1,
      mar: 0,
      min: 0,
      max: 0,
      pre: 0,
      fair: noShare,
    };
    const counted = [...this.#counted].map(([slice, { amount, at }]): Report => [
      slice,
      amount,
      at,
    ]);
    const reports = [...counted.sort(([a], [b]) => a - b), ...this.#returned];
    if (reports.length > 0) message.n = reports;
    const back = this.#spent + (keeps ? 0 : this.#unused);
    if (back > 0) message.b = back;
    if (!keeps) this.#unused = 0;
    this.#spent = 0;
    this.#counted.clear();
    this.#returned = [];
    return message;
  }

  /**
   * Asks for what the first of those that wait needs, which it will use at once, and for what all of them need.
   * @param sinceMs time since the last question; null where no more than that is wanted
   */
  ask(message: LimitMessage, first: number, all: number, sinceMs: number | null): void {
    if (all === 0) return;
    Object.assign(message, { min: first, use: first, max: all });
    if (sinceMs !== null) message.pre = Math.floor((this.#use / Math.max(1, sinceMs)) * aheadMs);
    this.#use = 0;
  }

  /** What a reply says: `granted`, of which what was to be used at once is used, used in all, and held by others. */
  granted({ use = 0 }: LimitMessage, granted: number, used: number, others: number): void {
    if (granted > 0) {
      this.#unused += granted - use;
      this.#use += use;
    }
    this.#left = this.#rate.burst - used - others;
  }

  /** What is left of it for everybody. */
  get allowance(): Allowance {
    const used = this.#rate.burst - this.#left;
    return { limit: this.#rate.perMinute, remaining: roomIn(this.#rate, used) };
  }

  /** Milliseconds until nothing is used, at the latest. */
  get fullMs(): number {
    const used = this.#rate.burst - this.#left;
    if (used <= 0) return 0;
    return this.#isWindow ? minuteMs : used / this.#rate.perMs;
  }

  /** Units that count against the client, as far as is known. */
  get used(): number {
    return this.#rate.burst - this.#left;
  }

  #count(at: number, amount: number): void {
    const slice = Math.floor(at / this.#sliceMs);
    const known = this.#counted.get(slice);
    if (known === undefined) this.#counted.set(slice, { amount, at });
    else {
      known.amount += amount;
      known.at = at;
    }
  }
}
