import { Forecast } from "./forecast.ts";
import type { Foreign } from "./foreign.ts";
import type { Entry, Limit, LimitHint, LimitSpec, LimitUsage, Mark, Outlook } from "./limit.ts";
import { windowMs } from "./limit.ts";
import { Metered } from "./metered.ts";
import { TokenBucket } from "./token-bucket.ts";

/** Slices a window is cut into: whole milliseconds each, and at most 0.2 % of a limit lost to rounding. */
const slicesPer = { second: 500, minute: 600, hour: 600, day: 600 } as const;
/** Up to this age, as a part of the window, a settled charge surely is in any window of the upstream's. */
const surelyIn = 0.9;
/** Less than this part of them, and the upstream does not count by windows. */
const tooFew = 0.95;

/**
 * Sliding window: in no span of the window's length does the upstream count more than the limit.
 *
 * The upstream counts a request at some moment between our dispatch and its answer. A charge therefore is *held*
 * from dispatch until the upstream has surely counted it (its headers arrived, or the arrival margin has passed since
 * the request was sent, whichever is first), and from that moment fills one slice of the ring for a whole window.
 * A slice is given back only when even its last instant is a window old: rounding errs to fewer.
 *
 * Invariant: `#used` is the sum of the ring's live slices, `#open` that of the part not settled yet,
 * `#held` the charges in no slice yet.
 */
export class SlidingWindow extends Metered implements Limit {
  readonly #sliceMs: number;
  /** Slices that a charge stays: those of a window and the one it began in. */
  readonly #span: number;
  readonly #ring: Float64Array;
  readonly #openRing: Float64Array;
  /** The present slice: ring entries belong to slices `#head - #span + 1` to `#head`. */
  #head = 0;
  /** A slice before all that are asked about, from which their places are counted. */
  #base = 0;
  /** No slice before this one has anything in it. */
  #oldest = 0;
  #used = 0;
  #open = 0;
  readonly #dirty = new Set<number>();
  /** The first slice whose settled charges the upstream has surely counted. */
  #provenFrom = 0;
  /**
   * The limit counted as a bucket besides, once answers have shown that the upstream has one: with others at it too,
   * what our window lets go need not have drained there.
   */
  #bucket: TokenBucket | null = null;
  /** The same charges there. */
  readonly #twins = new WeakMap<Entry, Entry>();

  constructor(spec: LimitSpec & { kind: "sliding_window" }) {
    const slices = slicesPer[spec.window];
    const sliceMs = windowMs[spec.window] / slices;
    super(spec, new Forecast(sliceMs, slices));
    this.#sliceMs = sliceMs;
    this.#span = slices + 1;
    this.#ring = new Float64Array(this.#span);
    this.#openRing = new Float64Array(this.#span);
  }

  fits(now: number, amount: number): boolean {
    this.advance(now);
    if (this.#used + this.held + amount + this.others(now) > this.limit) return false;
    return this.#bucket === null || this.#bucket.fits(now, amount);
  }

  fitsAt(now: number, amount: number): number {
    this.advance(now);
    if (this.#bucket !== null)
      return Math.max(this.#fitsAt(now, amount), this.#bucket.fitsAt(now, amount));
    return this.foreign === null
      ? this.#fitsAt(now, amount)
      : this.#fitsBeside(this.foreign, now, amount);
  }

  /** A function of its own: what makes a closure costs its caller an object, whether or not it is reached. */
  #fitsBeside(foreign: Foreign, now: number, amount: number): number {
    return foreign.fitsAt(now, (others) => this.#fitsAt(now, amount + others));
  }

  /** When `amount` fits if others use nothing. */
  #fitsAt(now: number, amount: number): number {
    let need = this.#used + this.held + amount - this.limit;
    if (need <= 0) return now;
    if (amount > this.limit) return Infinity;
    for (let slice = this.#firstUsed(); slice <= this.#head; slice++) {
      need -= this.#in(this.#ring, slice);
      if (need <= 0) return this.#freeAt(slice);
    }
    for (let i = 0; i < this.waiting.length; i++) {
      const entry = this.waiting.at(i);
      if (entry?.state !== "held") continue;
      need -= entry.amount;
      if (need <= 0) return this.#freeAt(Math.floor(entry.dueAt / this.#sliceMs));
    }
    // What blocks has not been sent in full: the soonest that can change is a margin and a window from now.
    return this.#allFreeAt(now);
  }

  expectedAt(now: number, amount: number): number {
    const at = this.#expectedAt(now, amount);
    return this.#bucket === null ? at : Math.max(at, this.#bucket.expectedAt(now, amount));
  }

  #expectedAt(now: number, amount: number): number {
    this.advance(now);
    let need = this.#used + this.held + amount + this.others(now) - this.limit;
    if (need <= 0) return now;
    for (let slice = this.#head + 1; slice <= this.#head + this.#span; slice++) {
      need -= this.#in(this.#ring, slice - this.#span) + this.forecast.within(now, slice);
      if (need <= 0) return slice * this.#sliceMs;
    }
    return this.fitsAt(now, amount);
  }

  earliestAt(now: number, amount: number): number {
    this.advance(now);
    let need = this.#used - this.#open + amount - this.limit;
    if (need <= 0) return now;
    if (amount > this.limit) return Infinity;
    for (let slice = this.#firstUsed(); slice <= this.#head; slice++) {
      need -= this.#in(this.#ring, slice) - this.#in(this.#openRing, slice);
      if (need <= 0) return this.#freeAt(slice);
    }
    return Infinity;
  }

  roomAt(now: number, at: number): number {
    this.advance(now);
    let used = this.#used + this.held;
    const slices = Math.min(Math.floor(at / this.#sliceMs) - this.#head, this.#span);
    const end = this.#head - this.#span + 1 + slices;
    for (let slice = this.#firstUsed(); slice < end; slice++) used -= this.#in(this.#ring, slice);
    // Only after all of the ring do those leave that are not counted yet; see `fitsAt`.
    if (at >= this.#allFreeAt(now)) used = 0;
    else if (slices === this.#span) {
      for (let i = 0; i < this.waiting.length; i++) {
        const entry = this.waiting.at(i);
        if (entry?.state !== "held") continue;
        if (this.#freeAt(Math.floor(entry.dueAt / this.#sliceMs)) > at) break;
        used -= entry.amount;
      }
    }
    const room = this.limit - used - this.others(at);
    return this.#bucket === null ? room : Math.min(room, this.#bucket.roomAt(now, at));
  }

  expectedRoomAt(now: number, at: number): number {
    const room = this.#expectedRoomAt(now, at);
    return this.#bucket === null ? room : Math.min(room, this.#bucket.expectedRoomAt(now, at));
  }

  #expectedRoomAt(now: number, at: number): number {
    return Math.min(this.limit - this.others(at), this.roomAt(now, at) + this.forecast.by(now, at));
  }

  override charge(now: number, amount: number, outlook: Outlook | null): Entry {
    const entry = super.charge(now, amount, outlook);
    if (this.#bucket !== null) this.#twins.set(entry, this.#bucket.charge(now, amount, outlook));
    return entry;
  }

  override sent(entry: Entry, now: number): void {
    super.sent(entry, now);
    const twin = this.#twinOf(entry);
    if (twin !== null) this.#bucket?.sent(twin, now);
  }

  override arrived(entry: Entry, now: number): void {
    super.arrived(entry, now);
    const twin = this.#twinOf(entry);
    if (twin !== null) this.#bucket?.arrived(twin, now);
  }

  override release(entry: Entry, now: number): void {
    super.release(entry, now);
    const twin = this.#twinOf(entry);
    if (twin !== null) this.#bucket?.release(twin, now);
  }

  override hint(entry: Entry | null, now: number, hint: LimitHint): void {
    if (this.#bucket === null && entry !== null && this.#drainsThere(entry, now, hint))
      this.#beginBucket(now, hint);
    else if (this.#bucket === null) super.hint(entry, now, hint);
    // Told of a request from before it began, it would take others' for ours and ours for others'.
    else {
      const twin = entry === null ? null : this.#twinOf(entry);
      if (twin !== null) this.#bucket.hint(twin, now, hint);
    }
  }

  override refused(entry: Entry | null, now: number): void {
    if (this.#bucket === null) super.refused(entry, now);
    else this.#bucket.refused(entry === null ? null : this.#twinOf(entry), now);
  }

  settle(entry: Entry, now: number, actual: number): void {
    this.arrived(entry, now);
    if (entry.state === "closed") return;
    const twin = this.#twinOf(entry);
    if (twin !== null) this.#bucket?.settle(twin, now, actual);
    this.forecast.remove(entry, now);
    entry.state = "closed";
    const over = actual - entry.amount;
    if (this.#live(entry.slice)) {
      this.#add(this.#openRing, entry.slice, -entry.amount);
      this.#open -= entry.amount;
      this.#dirty.add(entry.slice);
      if (over < 0) this.#use(entry.slice, over);
    }
    // More than reserved: counted from now on, even past the limit. What is over is debt, never forgotten.
    if (over > 0) {
      this.#use(this.#head, over);
      this.rose(now);
    }
    entry.amount = actual;
  }

  usage(now: number): LimitUsage {
    this.advance(now);
    const reserved = this.held + this.#open;
    const charged = this.#used - this.#open;
    const used = Math.max(0, charged - this.unreported(now));
    const foreign = this.others(now);
    const remaining = Math.max(0, this.limit - charged - reserved - foreign);
    const usage = { limit: this.limit, used, reserved, remaining };
    return foreign > 0 ? { ...usage, foreign } : usage;
  }

  /** One mark for each slice that settled charges changed: `at` is its start, `value` its settled units. */
  takeMarks(): Mark[] {
    const marks: Mark[] = [];
    for (const slice of this.#dirty) {
      if (!this.#live(slice)) continue;
      const value = this.#in(this.#ring, slice) - this.#in(this.#openRing, slice);
      marks.push({ slot: slice, at: slice * this.#sliceMs, value, expiresAt: this.#freeAt(slice) });
    }
    this.#dirty.clear();
    return marks;
  }

  restore(mark: Mark): void {
    this.advance(mark.at);
    if (!this.#live(mark.slot)) return;
    this.#add(this.#ring, mark.slot, mark.value);
    this.#used += mark.value;
  }

  distrust(until: number): void {
    this.#provenFrom = Math.max(this.#provenFrom, Math.floor(until / this.#sliceMs) + 1);
  }

  idle(now: number): boolean {
    this.advance(now);
    return this.#used === 0 && this.held === 0 && (this.foreign?.idle(now) ?? true);
  }

  protected count(entry: Entry): void {
    this.#countIn(entry, this.#head);
  }

  protected charged(): number {
    return this.#used + this.held;
  }

  /** Nothing drains: what others use is a level of its own. */
  protected chargeForeign(): void {}

  /** The charge in the bucket that is the same as `entry`, if it was made since there is one. */
  #twinOf(entry: Entry): Entry | null {
    return this.#bucket === null ? null : (this.#twins.get(entry) ?? null);
  }

  /**
   * Whether the answer to a request proves that the upstream counts less than any window would: that its count drains as
   * a bucket does. Settled charges that were counted before the request left, and lately enough, are in any window.
   */
  #drainsThere(entry: Entry, now: number, { limit, remaining }: LimitHint): boolean {
    if (limit === null || remaining === null || !(remaining >= 0) || remaining > limit)
      return false;
    this.advance(now);
    const youngest = Math.floor(entry.at / this.#sliceMs) - 1;
    const inWindow = Math.floor((now - surelyIn * windowMs[this.window]) / this.#sliceMs);
    const oldest = Math.max(inWindow, this.#provenFrom);
    const most = (limit - remaining + 1) / tooFew;
    let surely = 0;
    for (let slice = Math.max(this.#firstUsed(), oldest); slice <= youngest; slice++)
      surely += this.#in(this.#ring, slice) - this.#in(this.#openRing, slice);
    return surely > most;
  }

  /** Counts as a bucket from now on, beginning with what the upstream misses and what may not be counted there yet. */
  #beginBucket(now: number, { limit, remaining }: LimitHint): void {
    const { unit, window, marginMs } = this;
    this.#bucket = new TokenBucket({
      kind: "token_bucket",
      unit,
      window,
      limit: this.limit,
      marginMs,
    });
    this.#bucket.begin(now, (limit ?? 0) - (remaining ?? 0) + this.held);
    this.foreign = null;
  }

  /** When all of `slice` is a window old. */
  #freeAt(slice: number): number {
    return (slice + this.#span) * this.#sliceMs;
  }

  /** When everything charged is a window old, if what has not left in full leaves now. */
  #allFreeAt(now: number): number {
    return this.#freeAt(Math.floor(this.allCountedAt(now) / this.#sliceMs));
  }

  #live(slice: number): boolean {
    return slice > this.#head - this.#span && slice <= this.#head;
  }

  /**
   * Where `slice` is in the rings. Slices since the epoch are too many for the processor's whole numbers, and their
   * remainder costs more than all else that is done to one; since the first that was seen they are few.
   */
  #place(slice: number): number {
    return (slice - this.#base) % this.#span;
  }

  /** The oldest slice with anything in it, past the present one if there is none: what is empty is looked at once. */
  #firstUsed(): number {
    this.#oldest = Math.max(this.#oldest, this.#head - this.#span + 1);
    while (this.#oldest <= this.#head && this.#in(this.#ring, this.#oldest) === 0) this.#oldest++;
    return this.#oldest;
  }

  #in(ring: Float64Array, slice: number): number {
    return ring[this.#place(slice)] ?? 0;
  }

  #add(ring: Float64Array, slice: number, amount: number): void {
    if (slice < this.#oldest) this.#oldest = slice;
    const place = this.#place(slice);
    ring[place] = (ring[place] ?? 0) + amount;
  }

  /** Adds settled units to a live slice. */
  #use(slice: number, amount: number): void {
    this.#add(this.#ring, slice, amount);
    this.#used += amount;
    this.#dirty.add(slice);
  }

  /** Moves a held charge into the slice in which the upstream has counted it at the latest. */
  #countIn(entry: Entry, slice: number): void {
    this.held -= entry.amount;
    entry.state = "counted";
    entry.slice = slice;
    if (!this.#live(slice)) return;
    this.#add(this.#ring, slice, entry.amount);
    this.#add(this.#openRing, slice, entry.amount);
    this.#used += entry.amount;
    this.#open += entry.amount;
  }

  /** Lets time pass: empties slices that are a window old, and counts what is due. */
  protected advance(now: number): void {
    const head = Math.floor(now / this.#sliceMs);
    if (head > this.#head) {
      // While all of the ring is empty, places can be counted anew.
      if (this.#used === 0) this.#base = head - this.#span;
      const first = Math.max(this.#head + 1, head - this.#span + 1);
      if (head - this.#head >= this.#span) this.#dirty.clear();
      for (let slice = first; slice <= head; slice++) {
        const place = this.#place(slice);
        this.#used -= this.#ring[place] ?? 0;
        this.#open -= this.#openRing[place] ?? 0;
        this.#ring[place] = 0;
        this.#openRing[place] = 0;
        this.#dirty.delete(slice - this.#span);
      }
      this.#head = head;
    }
    for (let entry = this.waiting.at(0); entry !== undefined; entry = this.waiting.at(0)) {
      if (entry.state === "held") {
        if (entry.dueAt > now) return;
        this.#countIn(entry, Math.floor(entry.dueAt / this.#sliceMs));
      }
      this.waiting.shift();
    }
  }
}
