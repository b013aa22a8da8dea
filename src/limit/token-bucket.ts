import { Deque } from "./deque.ts";
import { Forecast } from "./forecast.ts";
import type { Foreign } from "./foreign.ts";
import type { Entry, Limit, LimitSpec, LimitUsage, Mark } from "./limit.ts";
import { newEntry, windowMs } from "./limit.ts";
import { Metered } from "./metered.ts";

/** No charge is open for longer than this, ms. */
const keptMs = 2 * windowMs.day;
/** How many slices of a window the forecast of refunds has. */
const forecastSlices = 500;

/**
 * Token bucket as Cerebras and others document it: a bucket of `limit` units that fills up again at `limit` a window.
 *
 * Kept upside down, as what is missing from a full bucket. A charge is *held* until the upstream has surely counted
 * it and drains only from then on: a server that gets its work later has drained no more at any moment, so held plus
 * missing is never less than what the upstream's own bucket misses, whatever the jitter between us.
 *
 * Units missing are kept times the window's milliseconds, so that draining for whole milliseconds stays integral.
 */
export class TokenBucket extends Metered implements Limit {
  readonly #windowMs: number;
  /** Units missing × window in ms, as of `#at`. */
  #missing = 0;
  /** Whole milliseconds up to which the bucket has drained. */
  #at = 0;
  /** The part of `#missing` that is not settled yet. */
  #open = 0;
  /** The part of `#missing` that others took. */
  #others = 0;
  /** Whose charges are missing, first come first drained: `left` is how much of each still is. */
  readonly #draining = new Deque<Entry>();
  #dirty = false;

  constructor(spec: LimitSpec & { kind: "token_bucket" }) {
    super(spec, new Forecast(windowMs[spec.window] / forecastSlices, forecastSlices));
    this.#windowMs = windowMs[spec.window];
  }

  /** Begins with `missing` units missing, whoever took them. Only before the first charge. */
  begin(now: number, missing: number): void {
    this.advance(now);
    this.chargeForeign(now, missing);
  }

  fits(now: number, amount: number): boolean {
    this.advance(now);
    return this.#need(amount, this.held + this.others(now)) <= 0;
  }

  fitsAt(now: number, amount: number): number {
    this.advance(now);
    return this.foreign === null
      ? this.#fitsAt(now, amount)
      : this.#fitsBeside(this.foreign, now, amount);
  }

  /** A function of its own: what makes a closure costs its caller an object, whether or not it is reached. */
  #fitsBeside(foreign: Foreign, now: number, amount: number): number {
    return foreign.fitsAt(now, (others) => this.#fitsAt(now, amount + others));
  }

  /** When `amount` fits if nobody is expected to take more. */
  #fitsAt(now: number, amount: number): number {
    if (this.#need(amount, this.held) <= 0) return now;
    if (amount > this.limit) return Infinity;
    return this.#project(now, (this.limit - amount) * this.#windowMs, Infinity).at;
  }

  expectedAt(now: number, amount: number): number {
    const worst = this.fitsAt(now, amount);
    if (worst <= now || worst === Infinity) return worst;
    // Room only grows with time in the forecast: the first slice that has enough is found by halving.
    const step = this.#windowMs / forecastSlices;
    const first = Math.floor(now / step) + 1;
    let from = 0;
    let to = forecastSlices;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.expectedRoomAt(now, (first + middle) * step) >= amount) to = middle;
      else from = middle + 1;
    }
    return from === forecastSlices ? worst : Math.min(worst, (first + from) * step);
  }

  earliestAt(now: number, amount: number): number {
    this.advance(now);
    if (amount > this.limit) return Infinity;
    const need = this.#need(amount, 0) - this.#open - this.#others;
    return need <= 0 ? now : this.#drainedAt(need);
  }

  /** What could still be charged now without taking from anybody at `at`: it drains too, so it may be over the limit. */
  roomAt(now: number, at: number): number {
    this.advance(now);
    const { charged } = this.#project(now, -Infinity, Math.floor(at));
    return Math.floor(this.limit - charged / this.#windowMs) - this.others(at);
  }

  expectedRoomAt(now: number, at: number): number {
    return this.roomAt(now, at) + this.forecast.by(now, at);
  }

  settle(entry: Entry, now: number, actual: number): void {
    this.arrived(entry, now);
    if (entry.state === "closed") return;
    this.forecast.remove(entry, now);
    entry.state = "closed";
    this.#open -= entry.left;
    const over = (actual - entry.amount) * this.#windowMs;
    if (over > 0) {
      this.#fill(newEntry(0, now, "closed"), over);
      this.rose(now);
    } else {
      // What has drained cannot be given back: the upstream's bucket was full without it.
      const refund = Math.min(-over, entry.left);
      entry.left -= refund;
      this.#missing -= refund;
    }
    this.#dirty = true;
    entry.amount = actual;
  }

  usage(now: number): LimitUsage {
    this.advance(now);
    const missing = Math.ceil(this.#missing / this.#windowMs);
    const open = Math.min(missing, Math.ceil(this.#open / this.#windowMs));
    const others = Math.min(missing - open, Math.floor(this.#others / this.#windowMs));
    const remaining = Math.max(0, this.limit - this.held - missing - this.others(now));
    const used = Math.max(0, missing - open - others - this.unreported(now));
    const usage = { limit: this.limit, used, reserved: this.held + open, remaining };
    const foreign = others + this.others(now);
    return foreign > 0 ? { ...usage, foreign } : usage;
  }

  /** One mark: what settled charges left missing at `at`. Open ones are in the journal themselves. */
  takeMarks(): Mark[] {
    if (!this.#dirty) return [];
    this.#dirty = false;
    const value = this.#missing - this.#open - this.#others;
    // What drained long ago still matters while a charge that drained behind it is open, and has a row of its own.
    const expiresAt = this.#at + value / this.limit + keptMs;
    return [{ slot: 0, at: this.#at, value, expiresAt }];
  }

  restore(mark: Mark): void {
    this.advance(mark.at);
    this.#fill(newEntry(0, mark.at, "closed"), mark.value);
  }

  idle(now: number): boolean {
    this.advance(now);
    return this.held === 0 && this.#missing === 0 && (this.foreign?.idle(now) ?? true);
  }

  protected charged(): number {
    return this.held + this.#missing / this.#windowMs;
  }

  protected chargeForeign(now: number, amount: number): void {
    if (amount > 0) {
      this.#fill(newEntry(0, now, "foreign"), amount * this.#windowMs);
      this.rose(now);
      return;
    }
    let excess = -amount * this.#windowMs;
    for (let i = 0; i < this.#draining.length && excess > 0; i++) {
      const entry = this.#draining.at(i);
      if (entry?.state !== "foreign") continue;
      const part = Math.min(entry.left, excess);
      entry.left -= part;
      excess -= part;
      this.#missing -= part;
      this.#others -= part;
    }
  }

  /** Units × window that must drain before `amount` fits beside what is missing and `more` units. */
  #need(amount: number, more: number): number {
    return this.#missing + (more + amount - this.limit) * this.#windowMs;
  }

  #drainedAt(need: number): number {
    return this.#at + Math.ceil(need / this.limit);
  }

  /**
   * Lets time pass in thought, nothing refunded: until no more than `most` is charged, and until `end`. What is held
   * drains only from when it is due, what has not left in full as if it left now. Units × window.
   */
  #project(now: number, most: number, end: number): { at: number; charged: number } {
    let at = this.#at;
    let missing = this.#missing;
    let held = this.held * this.#windowMs;
    for (let i = 0; held > 0; i++) {
      const entry = this.waiting.at(i);
      if (entry !== undefined && entry.state !== "held") continue;
      const due = Math.floor(entry?.dueAt ?? this.allCountedAt(now));
      const drained = Math.min(missing, Math.max(0, Math.min(due, end) - at) * this.limit);
      const charged = missing + held - drained;
      if (charged <= most)
        return { at: at + Math.ceil((missing + held - most) / this.limit), charged: most };
      if (due > end) return { at: end, charged };
      const counted = entry === undefined ? held : entry.amount * this.#windowMs;
      at = Math.max(at, due);
      missing += counted - drained;
      held -= counted;
    }
    // What goes besides is not counted before a margin has passed: until then an empty bucket drains nothing of it.
    const counted = Math.max(at, Math.floor(now + this.marginMs));
    const first = Math.min(missing, Math.max(0, Math.min(end, counted) - at) * this.limit);
    const drained = first + Math.max(0, end - counted) * this.limit;
    return {
      at: at + Math.max(0, Math.ceil((missing - most) / this.limit)),
      charged: missing - drained,
    };
  }

  protected count(entry: Entry): void {
    this.held -= entry.amount;
    entry.state = "counted";
    this.#fill(entry, entry.amount * this.#windowMs);
  }

  /** Adds units × window to what is missing, behind all that is. */
  #fill(entry: Entry, missing: number): void {
    entry.left = missing;
    this.#missing += missing;
    if (entry.state === "foreign") this.#others += missing;
    else if (entry.state !== "closed") this.#open += missing;
    this.#draining.push(entry);
  }

  #drainTo(time: number): void {
    const at = Math.floor(time);
    if (at <= this.#at) return;
    let drained = (at - this.#at) * this.limit;
    this.#at = at;
    for (let first = this.#draining.at(0); first !== undefined; first = this.#draining.at(0)) {
      const part = Math.min(first.left, drained);
      first.left -= part;
      drained -= part;
      this.#missing -= part;
      if (first.state === "foreign") this.#others -= part;
      else if (first.state !== "closed") this.#open -= part;
      if (first.left > 0) return;
      this.#draining.shift();
    }
  }

  /** Drains up to `now`, counting on the way what is due. */
  protected advance(now: number): void {
    for (let entry = this.waiting.at(0); entry !== undefined; entry = this.waiting.at(0)) {
      if (entry.state === "held") {
        if (entry.dueAt > now) break;
        this.#drainTo(entry.dueAt);
        this.count(entry);
      }
      this.waiting.shift();
    }
    this.#drainTo(now);
  }
}
