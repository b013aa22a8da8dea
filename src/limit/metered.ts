import type { Unit } from "./cost.ts";
import { Deque } from "./deque.ts";
import type { Forecast } from "./forecast.ts";
import { Foreign } from "./foreign.ts";
import type { Entry, LimitHint, LimitSpec, Outlook, WindowName } from "./limit.ts";
import { newEntry, windowMs } from "./limit.ts";
import { Peaks } from "./peaks.ts";
import { endsEarly, isPlausible, Told } from "./told.ts";

/** What an upstream counts over a window, by whichever algorithm. */
export type MeteredSpec = LimitSpec & { kind: "sliding_window" | "token_bucket" };

/**
 * Where we have used less than this share of a limit of which nothing is left, others have used it up. With more, what
 * is missing may be ours: a count that differs from the provider's, or what it gives back when our answers end.
 */
const mostOurs = 0.5;

/**
 * The half of a limit that does not depend on how charges end: those on their way to the upstream, and what its
 * answers tell.
 *
 * A charge is *held* from dispatch until the upstream has surely counted it: its headers arrived, or the arrival margin
 * has passed since the request was sent, whichever is first.
 */
export abstract class Metered {
  readonly unit: Unit;
  readonly window: WindowName;
  readonly key: string;
  readonly unsaved = false;
  /** The limit in force: the operator's, or a lower one that the provider tells. */
  protected limit: number;
  protected marginMs: number;
  /** Units charged and perhaps not counted yet. */
  protected held = 0;
  /** Sent and perhaps not counted yet, in the order of `dueAt`; may hold entries that were counted meanwhile. */
  protected readonly waiting = new Deque<Entry>();
  /** The largest `dueAt` given: a lowered margin must not disturb the order. */
  protected lastDueAt = 0;
  protected readonly forecast: Forecast;
  /** What others use; null until an answer says that there are any. */
  protected foreign: Foreign | null = null;
  readonly #drains: boolean;
  /** From the first answer on that tells anything, and since when that is. */
  #peaks: Peaks | null = null;
  #peaksFrom = 0;
  /** All that was charged before: no moment of that time can have had more. */
  #before = 0;
  #told: Told | null = null;
  #configured: number;
  /** What was settled beyond what answers reported, and until when it matters; the first to end comes first. */
  readonly #withheld = new Deque<{ readonly until: number; readonly amount: number }>();
  #withheldSum = 0;
  /** What an answer said remains, of what limit, and when. */
  #remaining = 0;
  #remainingOf = Infinity;
  #remainingAt = -Infinity;

  constructor(spec: MeteredSpec, forecast: Forecast) {
    this.unit = spec.unit;
    this.window = spec.window;
    this.key = `${spec.kind} ${spec.unit}/${spec.window}`;
    this.limit = spec.limit;
    this.marginMs = spec.marginMs;
    this.forecast = forecast;
    this.#configured = spec.limit;
    this.#drains = spec.kind === "token_bucket";
  }

  get max(): number {
    return this.limit;
  }

  /** Lets time pass. */
  protected abstract advance(now: number): void;
  /** Takes a held charge as counted, just now. */
  protected abstract count(entry: Entry): void;
  /** Units charged in all. */
  protected abstract charged(): number;
  /** Charges what others were found to have used, or takes it back where negative; only where it drains. */
  protected abstract chargeForeign(now: number, amount: number): void;
  abstract settle(entry: Entry, now: number, actual: number): void;

  charge(now: number, amount: number, outlook: Outlook | null): Entry {
    this.advance(now);
    const entry = newEntry(amount, now);
    this.held += amount;
    if (this.#peaks !== null) this.#peaks.see(now, this.charged());
    else this.#before = this.#before === 0 ? this.charged() : this.#before + amount;
    if (outlook !== null) this.forecast.add(entry, now, outlook);
    return entry;
  }

  withhold(now: number, amount: number): void {
    this.#withheld.push({ until: now + windowMs[this.window], amount });
    this.#withheldSum += amount;
  }

  /** Units charged that no answer has reported. */
  protected unreported(now: number): number {
    for (let first = this.#withheld.at(0); first !== undefined; first = this.#withheld.at(0)) {
      if (first.until > now) break;
      this.#withheld.shift();
      this.#withheldSum -= first.amount;
    }
    return this.#withheldSum;
  }

  sent(entry: Entry, now: number): void {
    if (entry.state !== "held" || entry.dueAt !== Infinity) return;
    this.lastDueAt = Math.max(this.lastDueAt, now + this.marginMs);
    entry.dueAt = this.lastDueAt;
    this.waiting.push(entry);
  }

  arrived(entry: Entry, now: number): void {
    this.advance(now);
    if (entry.state === "held") this.count(entry);
  }

  release(entry: Entry, now: number): void {
    this.advance(now);
    if (entry.state === "closed") return;
    this.forecast.remove(entry, now);
    if (entry.state === "held") {
      this.held -= entry.amount;
      entry.state = "closed";
    } else this.settle(entry, now, 0);
  }

  hint(entry: Entry | null, now: number, hint: LimitHint): void {
    const { limit, remaining } = hint;
    this.advance(now);
    if (limit !== null && !isPlausible(this.#configured, limit)) return;
    if (limit !== null) this.#tell(limit);
    if (remaining === null || !(remaining >= 0) || (limit !== null && remaining > limit)) return;
    this.#remaining = remaining;
    this.#remainingOf = limit ?? Infinity;
    this.#remainingAt = now;
    if (this.isSpent(entry, now, hint)) return;
    // What remains of a lower limit than ours, before that one is believed: the difference is nobody's use.
    const missing = Math.min(this.limit, this.#remainingOf) - remaining;
    const excess = missing - this.#ownSince(entry, now) - this.#known(now);
    // Of requests that left before anything was told only the most is known that can have been charged beside them:
    // that others use more is sure all the same, that they use less is not.
    if (excess < 1 && (this.foreign === null || this.#isOld(entry))) return;
    this.foreign ??= new Foreign(this.window, this.limit, this.marginMs, this.#drains);
    const change = this.foreign.sample(now, excess, entry === null ? 0 : now - entry.at);
    if (this.#drains && change !== 0) this.chargeForeign(now, change);
  }

  isSpent(entry: Entry | null, now: number, { limit, remaining, resetAt }: LimitHint): boolean {
    if (remaining !== 0 || limit === null || resetAt === null) return false;
    if (!isPlausible(this.#configured, limit)) return false;
    // A bucket that is empty takes about its whole window to be full, which is what many call its reset: there is room
    // for one request long before. Not so where the limit is another than ours: then nobody knows what there is.
    if (!endsEarly(this.window, now, resetAt) && limit >= this.limit) return false;
    this.advance(now);
    const ours = this.#ownSince(entry, now) + this.#known(now);
    return ours < Math.min(this.limit, limit) * mostOurs;
  }

  /**
   * The most that was charged of ours at any moment since `entry` was (null: now). The provider counted that request,
   * and looked at what remains, at one of them. More of ours it cannot have had, so what is missing beyond is others'.
   */
  #ownSince(entry: Entry | null, now: number): number {
    const peaks = this.#peaks ?? this.#beginPeaks(now);
    if (entry === null) return this.charged();
    const own = peaks.since(entry.at, now);
    return this.#isOld(entry) ? Math.max(own, this.#before) : own;
  }

  #isOld(entry: Entry | null): boolean {
    return entry !== null && entry.at < this.#peaksFrom;
  }

  /** Others' use beside what is charged. */
  #known(now: number): number {
    return this.#drains || this.foreign === null ? 0 : this.foreign.level(now);
  }

  refused(entry: Entry | null, now: number): void {
    this.advance(now);
    if (this.#remainingAt !== now) {
      // Without a number nobody knows how much is missing, nor for how long: taking all of it for others' use would
      // keep it shut for a window. But others who are known of take more than was kept free for them.
      this.foreign?.refused(now, 0);
      return;
    }
    this.foreign ??= new Foreign(this.window, this.limit, this.marginMs, this.#drains);
    // What was refused was not counted, so it is no part of what fills the limit.
    const isOpen = entry?.state === "held" || entry?.state === "counted";
    const own = this.charged() - (isOpen ? entry.amount : 0);
    const missing = Math.min(this.limit, this.#remainingOf) - this.#remaining;
    const change = this.foreign.refused(now, missing - own - this.#known(now));
    if (this.#drains && change > 0) this.chargeForeign(now, change);
  }

  resize(spec: LimitSpec): void {
    if (!("limit" in spec) || spec.unit !== this.unit || spec.window !== this.window) return;
    this.#configured = spec.limit;
    this.marginMs = spec.marginMs;
    this.#resize();
  }

  get told(): number | null {
    const limit = this.#told?.limit ?? Infinity;
    return limit < this.#configured ? limit : null;
  }

  believe(told: number | null): void {
    if (told !== null && !isPlausible(this.#configured, told)) return;
    this.#told ??= new Told();
    this.#told.believe(told ?? Infinity);
    this.#resize();
  }

  /** Units that others seem to use, or will before we hear of it. */
  protected others(now: number): number {
    return this.foreign === null ? 0 : this.foreign.at(now);
  }

  /** More is charged than before. */
  protected rose(now: number): void {
    if (this.#peaks === null) this.#before = Infinity;
    else this.#peaks.see(now, this.charged());
  }

  /** When everything charged is surely counted, if what has not left in full leaves now. */
  protected allCountedAt(now: number): number {
    return Math.max(now + this.marginMs, this.lastDueAt);
  }

  #beginPeaks(now: number): Peaks {
    this.#peaks = new Peaks(windowMs[this.window]);
    this.#peaks.see(now, this.charged());
    this.#peaksFrom = now;
    return this.#peaks;
  }

  #tell(limit: number): void {
    if (this.#told === null && limit >= this.#configured) return;
    this.#told ??= new Told();
    if (this.#told.see(this.#configured, limit)) this.#resize();
  }

  #resize(): void {
    this.limit = this.#told === null ? this.#configured : this.#told.within(this.#configured);
    this.foreign?.resize(this.limit, this.marginMs);
  }
}
