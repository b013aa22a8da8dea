import type { Unit } from "../limit/cost.ts";
import { Deque } from "../limit/deque.ts";
import type {
  Entry,
  Limit,
  LimitHint,
  LimitSpec,
  LimitUsage,
  Mark,
  Outlook,
  WindowName,
} from "../limit/limit.ts";
import { windowMs } from "../limit/limit.ts";
import { Counted } from "./redis-counted.ts";
import { Granted } from "./redis-granted.ts";
import type { GrantMessage, LimitMessage } from "./redis-message.ts";
import { slicesPer } from "./redis-message.ts";
import { aheadMs } from "./redis-pace.ts";
import type { Gate, SharedLimit } from "./redis-shared.ts";

/** One charge, as Redis has to hear of it. */
interface Spent {
  amount: number;
  state: "held" | "counted" | "closed";
  dueAt: number;
  slice: number;
  /** Redis has counted it by itself. */
  gone: boolean;
}

export type MeteredSpec = LimitSpec & { kind: "sliding_window" | "token_bucket" | "concurrency" };

/**
 * A window, bucket or concurrency limit of several processes: `inner` is the same limit of this process alone, which
 * knows how charges end, what answers tell and what is expected; what may go is what Redis has granted.
 *
 * What Redis holds for us is what is granted and not used, `#granted`, and what is used and not counted, `#flying`.
 */
export class SharedQuota implements SharedLimit {
  readonly unit: Unit;
  readonly window: WindowName | null;
  readonly key: string;
  readonly unsaved = false;
  #spec: MeteredSpec;
  readonly #inner: Limit;
  readonly #gate: Gate;
  readonly #sliceMs: number;
  readonly #spent = new WeakMap<Entry, Spent>();
  readonly #flying = new Set<Spent>();
  #inFlight = 0;
  readonly #granted = new Granted();
  /** Sent and not counted, in the order of `dueAt`. */
  readonly #due = new Deque<Spent>();
  #lastDueAt = 0;
  readonly #counts: Counted;
  #back = 0;
  #hold = 0;
  #use = 0;
  /** What others have in use. */
  #others = 0;
  #hints: { entry: Entry | null; hint: LimitHint }[] = [];

  constructor(spec: MeteredSpec, inner: Limit, gate: Gate) {
    this.unit = inner.unit;
    this.window = inner.window;
    this.key = inner.key;
    this.#spec = spec;
    this.#inner = inner;
    this.#gate = gate;
    this.#sliceMs =
      inner.window === null ? 1_000 : windowMs[inner.window] / slicesPer[inner.window];
    this.#counts = new Counted(spec.kind === "token_bucket", this.#sliceMs);
  }

  get max(): number {
    return this.#gate.mode === "local" ? this.size : this.#inner.max;
  }

  get size(): number {
    if (this.#spec.kind === "concurrency") return this.#spec.max;
    return Math.min(this.#spec.limit, this.told ?? Infinity);
  }

  get told(): number | null {
    return this.#inner.told ?? null;
  }

  believe(told: number | null): void {
    this.#inner.believe?.(told);
  }

  get allowance(): number {
    return this.#granted.total;
  }

  fits(now: number, amount: number): boolean {
    const { mode } = this.#gate;
    if (mode === "free") return true;
    if (
      mode === "shared" &&
      amount > 0 &&
      (amount > this.#granted.usable(now) || !this.#gate.live(now))
    )
      return false;
    return this.#inner.fits(now, amount);
  }

  fitsAt(now: number, amount: number): number {
    if (this.fits(now, amount)) return now;
    return Math.max(this.#inner.fitsAt(now, amount), this.#grantedAt(amount));
  }

  expectedAt(now: number, amount: number): number {
    if (this.fits(now, amount)) return now;
    return Math.max(this.#inner.expectedAt(now, amount), this.#grantedAt(amount));
  }

  earliestAt(now: number, amount: number): number {
    return this.#gate.mode === "free" ? now : this.#inner.earliestAt(now, amount);
  }

  roomAt(now: number, at: number): number {
    const { mode } = this.#gate;
    if (mode === "free") return Infinity;
    const room = this.#inner.roomAt(now, at);
    if (mode === "local") return room;
    return at <= now ? Math.min(room, this.#granted.usable(now)) : room - this.#others;
  }

  expectedRoomAt(now: number, at: number): number {
    const { mode } = this.#gate;
    if (mode === "free") return Infinity;
    const room = this.#inner.expectedRoomAt(now, at);
    if (mode === "local") return room;
    return at <= now ? Math.min(room, this.#granted.usable(now)) : room - this.#others;
  }

  charge(now: number, amount: number, outlook: Outlook | null): Entry {
    const entry = this.#inner.charge(now, amount, outlook);
    const backed = this.#gate.mode === "shared" && this.#granted.total >= amount;
    const spent: Spent = {
      amount,
      state: "held",
      dueAt: Infinity,
      slice: 0,
      gone: false,
    };
    this.#use += amount;
    this.#gate.used(now);
    if (backed) {
      this.#granted.use(amount);
      this.#inFlight += amount;
      this.#flying.add(spent);
    }
    this.#spent.set(entry, spent);
    return entry;
  }

  sent(entry: Entry, now: number): void {
    this.#inner.sent(entry, now);
    const spent = this.#spent.get(entry);
    if (this.#spec.kind === "concurrency" || spent?.state !== "held" || spent.dueAt !== Infinity)
      return;
    this.#lastDueAt = Math.max(this.#lastDueAt, now + this.#spec.marginMs);
    spent.dueAt = this.#lastDueAt;
    this.#due.push(spent);
  }

  arrived(entry: Entry, now: number): void {
    this.#inner.arrived(entry, now);
    const spent = this.#spent.get(entry);
    if (spent !== undefined && this.#spec.kind !== "concurrency") this.#count(spent, now);
  }

  settle(entry: Entry, now: number, actual: number): void {
    const spent = this.#spent.get(entry);
    if (this.#spec.kind === "concurrency") return this.release(entry, now);
    this.#inner.settle(entry, now, actual);
    if (spent === undefined || spent.state === "closed") return;
    this.#count(spent, now);
    spent.state = "closed";
    const over = actual - spent.amount;
    if (over > 0) this.#report(this.#slice(now), over, now);
    else if (over < 0 && !spent.gone) this.#report(spent.slice, over, now);
  }

  release(entry: Entry, now: number): void {
    const spent = this.#spent.get(entry);
    if (spent === undefined || spent.state === "closed") return this.#inner.release(entry, now);
    if (spent.state === "counted") return this.settle(entry, now, 0);
    this.#inner.release(entry, now);
    spent.state = "closed";
    if (!this.#flying.delete(spent)) return;
    this.#inFlight -= spent.amount;
    if (this.#gate.tight(now)) this.#back += spent.amount;
    else this.#granted.add(spent.amount);
    this.#gate.changed(true);
  }

  hint(entry: Entry | null, now: number, hint: LimitHint): void {
    if (this.#gate.alone) return this.#inner.hint(entry, now, hint);
    // What is missing there may be other processes' use: how much that is, the next reply tells.
    this.#hints.push({ entry, hint });
    if (this.#hints.length > 20) this.#hints.shift();
  }

  refused(entry: Entry | null, now: number): void {
    // With other processes at it, this one cannot tell strangers from them: the account's hold has to do.
    if (this.#gate.alone) this.#inner.refused(entry, now);
  }

  usage(now: number): LimitUsage {
    const usage = this.#inner.usage(now);
    if (this.#others <= 0 || this.#gate.mode !== "shared") return usage;
    const used = usage.used + Math.round(this.#others);
    return { ...usage, used, remaining: Math.max(0, usage.limit - used - usage.reserved) };
  }

  resize(spec: LimitSpec): void {
    this.#inner.resize(spec);
    if (spec.kind === this.#spec.kind) this.#spec = spec;
  }

  scale(parts: number): void {
    const part = Math.max(1, Math.floor(this.size / parts));
    this.#inner.resize(
      this.#spec.kind === "concurrency"
        ? { ...this.#spec, max: part }
        : { ...this.#spec, limit: part },
    );
  }

  takeMarks(): Mark[] {
    return [];
  }

  restore(): void {}

  idle(now: number): boolean {
    return this.#inner.idle(now) && !this.busy;
  }

  get busy(): boolean {
    return this.#granted.total > 0 || this.#inFlight > 0 || this.reportsAt === -Infinity;
  }

  get reportsAt(): number {
    if (this.#back > 0 || this.#hold > 0 || this.#counts.reports) return -Infinity;
    return this.#due.at(0)?.dueAt ?? Infinity;
  }

  wantedAt(now: number, amount: number): number {
    if (this.#inner.fits(now, amount)) return now;
    // Only a bucket's room is promised, and Redis cannot tell when there is some while all of it is in flight.
    const held = this.#inFlight + Math.max(amount, this.#granted.total);
    const isPromised = this.#spec.kind === "token_bucket" && held <= this.size;
    return isPromised ? this.#inner.fitsAt(now, amount) - aheadMs : Infinity;
  }

  own(now: number): number {
    const { used, reserved } = this.#inner.usage(now);
    return used + reserved + this.#granted.total;
  }

  get #unitsPerMs(): number {
    return this.window === null ? 0 : this.size / windowMs[this.window];
  }

  most(parts: number): number {
    if (this.#spec.kind !== "token_bucket" || this.unit !== "requests") return 0;
    return Math.max(1, Math.ceil((aheadMs * this.#unitsPerMs) / parts));
  }

  giveBack(): void {
    this.#back += this.#granted.clear();
  }

  take(now: number): LimitMessage {
    for (let spent = this.#due.at(0); spent !== undefined; spent = this.#due.at(0)) {
      if (spent.state === "held" && spent.dueAt > now) break;
      this.#due.shift();
      this.#count(spent, spent.dueAt);
    }
    const message: LimitMessage = {
      k: this.key,
      t: kinds[this.#spec.kind],
      lim: this.size,
      min: 0,
      max: 0,
      pre: 0,
      fair: 0,
    };
    if (this.window !== null && this.#spec.kind !== "concurrency") {
      message.win = windowMs[this.window];
      message.sl = this.#sliceMs;
      message.sp = slicesPer[this.window] + 1;
      message.mar = this.#spec.marginMs;
    }
    if (this.#counts.reports) message.n = this.#counts.take();
    if (this.#back > 0) message.b = this.#back;
    if (this.#hold > 0) message.hold = this.#hold;
    if (this.unit === "requests" || this.unit === "slots") {
      message.one = true;
      message.have = this.#granted.total;
    }
    this.#back = 0;
    this.#hold = 0;
    return message;
  }

  granted(now: number, [granted, used, others, at]: Readonly<GrantMessage>): void {
    const fullAt = granted > 0 ? this.#gate.local(Number(at)) : now;
    if (fullAt > now) this.#granted.promise(granted, fullAt, this.#unitsPerMs);
    else this.#granted.add(granted);
    // What was counted since the message is not in the reply: it may only make others look smaller.
    const before = this.#others;
    const ours = this.#spec.kind === "concurrency" ? 0 : this.#counted(now);
    const level = this.#spec.kind === "concurrency" ? 0 : Number(used) - ours;
    this.#others = (level < 1 ? 0 : level) + Number(others);
    const known = Math.max(before, this.#others);
    const hints = this.#hints;
    this.#hints = [];
    for (const { entry, hint } of hints) {
      const remaining = hint.remaining === null ? null : hint.remaining + known;
      const most = hint.limit ?? this.size;
      this.#inner.hint(entry, now, {
        ...hint,
        remaining: remaining === null ? null : Math.min(remaining, most),
      });
    }
  }

  takeUse(): number {
    const use = this.#use;
    this.#use = 0;
    return use;
  }

  renew(now: number, lost: boolean, unheard: LimitMessage | null, again: boolean): void {
    this.#granted.clear();
    this.#back = 0;
    if (lost) {
      this.#hold = this.#inFlight;
      // What was used before the last window has drained from a bucket, however full it was.
      const windowSlices = this.window === null ? 0 : slicesPer[this.window] + 1;
      return this.#counts.startOver(this.#slice(now) - windowSlices);
    }
    // What was taken back may have been heard the first time.
    this.#counts.putBack((unheard?.n ?? []).filter(([, amount]) => amount > 0 || !again));
    for (const spent of this.#flying) spent.gone = true;
    this.#flying.clear();
    this.#inFlight = 0;
  }

  /** The upstream has surely counted it. */
  #count(spent: Spent, now: number): void {
    if (spent.state !== "held") return;
    const at = Math.min(now, spent.dueAt);
    spent.state = "counted";
    spent.slice = this.#slice(at);
    if (spent.gone) return;
    if (this.#flying.delete(spent)) {
      this.#inFlight -= spent.amount;
      this.#back += spent.amount;
    }
    this.#report(spent.slice, spent.amount, at);
  }

  /** When Redis lets `amount` go, as far as is known. */
  #grantedAt(amount: number): number {
    if (this.#gate.mode !== "shared") return -Infinity;
    if (amount <= this.#granted.total) return this.#granted.usableAt(amount);
    return this.#others > 0 ? this.#gate.retryAt : -Infinity;
  }

  #slice(at: number): number {
    return Math.floor(this.#gate.remote(at) / this.#sliceMs);
  }

  #report(slice: number, amount: number, now: number): void {
    if (amount === 0) return;
    this.#counts.add(slice, amount, this.#gate.remote(now));
    this.#gate.changed(amount < 0);
  }

  /** What of ours is counted, by our own books: exact for a window. */
  #counted(now: number): number {
    const { used, reserved } = this.#inner.usage(now);
    return used + reserved - this.#inFlight;
  }
}

const kinds = { sliding_window: "w", token_bucket: "b", concurrency: "c" } as const;
