import type { Unit } from "./cost.ts";
import { Deque } from "./deque.ts";
import { Forecast } from "./forecast.ts";
import type { Entry, Limit, LimitSpec, LimitUsage, Mark, Outlook, WindowName } from "./limit.ts";
import { newEntry, windowMs } from "./limit.ts";

/** Slices a window is cut into: whole milliseconds each, and at most 0.2 % of a limit lost to rounding. */
const slicesPer = { second: 500, minute: 600, hour: 600, day: 600 } as const;

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
export class SlidingWindow implements Limit {
  readonly unit: Unit;
  readonly window: WindowName;
  readonly key: string;
  #limit: number;
  #marginMs: number;

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
  #held = 0;
  /** Sent and perhaps not counted yet, in the order of `dueAt`; may hold entries that were counted meanwhile. */
  readonly #sent = new Deque<Entry>();
  /** The largest `dueAt` given: a lowered margin must not disturb the order. */
  #lastDueAt = 0;
  readonly #forecast: Forecast;
  readonly #dirty = new Set<number>();

  readonly unsaved = false;

  constructor(spec: LimitSpec & { kind: "sliding_window" }) {
    this.unit = spec.unit;
    this.window = spec.window;
    this.key = `${spec.kind} ${spec.unit}/${spec.window}`;
    this.#limit = spec.limit;
    this.#marginMs = spec.marginMs;
    const slices = slicesPer[spec.window];
    this.#sliceMs = windowMs[spec.window] / slices;
    this.#span = slices + 1;
    this.#ring = new Float64Array(this.#span);
    this.#openRing = new Float64Array(this.#span);
    this.#forecast = new Forecast(this.#sliceMs, slices);
  }

  get max(): number {
    return this.#limit;
  }

  fits(now: number, amount: number): boolean {
    this.#advance(now);
    return this.#used + this.#held + amount <= this.#limit;
  }

  fitsAt(now: number, amount: number): number {
    this.#advance(now);
    let need = this.#used + this.#held + amount - this.#limit;
    if (need <= 0) return now;
    if (amount > this.#limit) return Infinity;
    for (let slice = this.#firstUsed(); slice <= this.#head; slice++) {
      need -= this.#in(this.#ring, slice);
      if (need <= 0) return this.#freeAt(slice);
    }
    for (let i = 0; i < this.#sent.length; i++) {
      const entry = this.#sent.at(i);
      if (entry?.state !== "held") continue;
      need -= entry.amount;
      if (need <= 0) return this.#freeAt(Math.floor(entry.dueAt / this.#sliceMs));
    }
    // What blocks has not been sent in full: the soonest that can change is a margin and a window from now.
    return this.#allFreeAt(now);
  }

  expectedAt(now: number, amount: number): number {
    this.#advance(now);
    let need = this.#used + this.#held + amount - this.#limit;
    if (need <= 0) return now;
    for (let slice = this.#head + 1; slice <= this.#head + this.#span; slice++) {
      need -= this.#in(this.#ring, slice - this.#span) + this.#forecast.within(now, slice);
      if (need <= 0) return slice * this.#sliceMs;
    }
    return this.fitsAt(now, amount);
  }

  earliestAt(now: number, amount: number): number {
    this.#advance(now);
    let need = this.#used - this.#open + amount - this.#limit;
    if (need <= 0) return now;
    if (amount > this.#limit) return Infinity;
    for (let slice = this.#firstUsed(); slice <= this.#head; slice++) {
      need -= this.#in(this.#ring, slice) - this.#in(this.#openRing, slice);
      if (need <= 0) return this.#freeAt(slice);
    }
    return Infinity;
  }

  roomAt(now: number, at: number): number {
    this.#advance(now);
    let used = this.#used + this.#held;
    const slices = Math.min(Math.floor(at / this.#sliceMs) - this.#head, this.#span);
    const end = this.#head - this.#span + 1 + slices;
    for (let slice = this.#firstUsed(); slice < end; slice++) used -= this.#in(this.#ring, slice);
    // Only after all of the ring do those leave that are not counted yet; see `fitsAt`.
    if (at >= this.#allFreeAt(now)) used = 0;
    else if (slices === this.#span) {
      for (let i = 0; i < this.#sent.length; i++) {
        const entry = this.#sent.at(i);
        if (entry?.state !== "held") continue;
        if (this.#freeAt(Math.floor(entry.dueAt / this.#sliceMs)) > at) break;
        used -= entry.amount;
      }
    }
    return this.#limit - used;
  }

  expectedRoomAt(now: number, at: number): number {
    return Math.min(this.#limit, this.roomAt(now, at) + this.#forecast.by(now, at));
  }

  charge(now: number, amount: number, outlook: Outlook | null): Entry {
    this.#advance(now);
    const entry = newEntry(amount);
    this.#held += amount;
    if (outlook !== null) this.#forecast.add(entry, now, outlook);
    return entry;
  }

  sent(entry: Entry, now: number): void {
    if (entry.state !== "held" || entry.dueAt !== Infinity) return;
    this.#lastDueAt = Math.max(this.#lastDueAt, now + this.#marginMs);
    entry.dueAt = this.#lastDueAt;
    this.#sent.push(entry);
  }

  arrived(entry: Entry, now: number): void {
    this.#advance(now);
    if (entry.state === "held") this.#count(entry, this.#head);
  }

  settle(entry: Entry, now: number, actual: number): void {
    this.arrived(entry, now);
    if (entry.state === "closed") return;
    this.#forecast.remove(entry, now);
    entry.state = "closed";
    const over = actual - entry.amount;
    if (this.#live(entry.slice)) {
      this.#add(this.#openRing, entry.slice, -entry.amount);
      this.#open -= entry.amount;
      this.#dirty.add(entry.slice);
      if (over < 0) this.#use(entry.slice, over);
    }
    // More than reserved: counted from now on, even past the limit. What is over is debt, never forgotten.
    if (over > 0) this.#use(this.#head, over);
    entry.amount = actual;
  }

  release(entry: Entry, now: number): void {
    this.#advance(now);
    if (entry.state === "closed") return;
    this.#forecast.remove(entry, now);
    if (entry.state === "held") {
      this.#held -= entry.amount;
      entry.state = "closed";
    } else this.settle(entry, now, 0);
  }

  usage(now: number): LimitUsage {
    this.#advance(now);
    const reserved = this.#held + this.#open;
    const used = this.#used - this.#open;
    return {
      limit: this.#limit,
      used,
      reserved,
      remaining: Math.max(0, this.#limit - used - reserved),
    };
  }

  resize(spec: LimitSpec): void {
    if (spec.kind !== "sliding_window") return;
    this.#limit = spec.limit;
    this.#marginMs = spec.marginMs;
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
    this.#advance(mark.at);
    if (!this.#live(mark.slot)) return;
    this.#add(this.#ring, mark.slot, mark.value);
    this.#used += mark.value;
  }

  idle(now: number): boolean {
    this.#advance(now);
    return this.#used === 0 && this.#held === 0;
  }

  /** When all of `slice` is a window old. */
  #freeAt(slice: number): number {
    return (slice + this.#span) * this.#sliceMs;
  }

  /** When everything charged is a window old, if what has not left in full leaves now. */
  #allFreeAt(now: number): number {
    return this.#freeAt(
      Math.floor(Math.max(now + this.#marginMs, this.#lastDueAt) / this.#sliceMs),
    );
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
  #count(entry: Entry, slice: number): void {
    this.#held -= entry.amount;
    entry.state = "counted";
    entry.slice = slice;
    if (!this.#live(slice)) return;
    this.#add(this.#ring, slice, entry.amount);
    this.#add(this.#openRing, slice, entry.amount);
    this.#used += entry.amount;
    this.#open += entry.amount;
  }

  /** Lets time pass: empties slices that are a window old, and counts what is due. */
  #advance(now: number): void {
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
    for (let entry = this.#sent.at(0); entry !== undefined; entry = this.#sent.at(0)) {
      if (entry.state === "held") {
        if (entry.dueAt > now) return;
        this.#count(entry, Math.floor(entry.dueAt / this.#sliceMs));
      }
      this.#sent.shift();
    }
  }
}
