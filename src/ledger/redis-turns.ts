import type { Entry, Limit, LimitSpec, LimitUsage, Mark, Outlook } from "../limit/limit.ts";
import type { LimitMessage } from "./redis-message.ts";
import type { Gate, SharedLimit } from "./redis-shared.ts";

/** How late a turn may be used, ms: as in memory. */
const latenessMs = 5;
/** How far ahead turns are given to a process that has requests waiting for them, ms. */
const aheadMs = 50;

/** The right to leave at a certain time. */
interface Turn {
  /** Our time. */
  at: number;
  /** The bucket's theoretical arrival time without and with it, µs of Redis's time. */
  before: number;
  start: number;
  after: number;
}

type LeakySpec = LimitSpec & { kind: "leaky_bucket" };

/**
 * A leaky bucket of several processes. What is granted are turns, each at its time: room in a bucket that is used
 * later would let two leave together. A turn that is missed is given back if none was given after it.
 */
export class SharedTurns implements SharedLimit {
  readonly unit = "requests" as const;
  readonly window = null;
  readonly key: string;
  readonly max = Infinity;
  readonly size = Infinity;
  readonly unsaved = false;
  #spec: LeakySpec;
  readonly #inner: Limit;
  readonly #gate: Gate;
  #turns: Turn[] = [];
  readonly #used = new WeakMap<Entry, Turn>();
  #undo: (readonly [number, number])[] = [];
  /** The latest that this process knows of, µs. */
  #tat = 0;
  #lost = false;

  constructor(spec: LeakySpec, inner: Limit, gate: Gate) {
    this.key = inner.key;
    this.#spec = spec;
    this.#inner = inner;
    this.#gate = gate;
  }

  get allowance(): number {
    return this.#turns.length;
  }

  fits(now: number, amount: number): boolean {
    const { mode } = this.#gate;
    if (mode === "free" || amount === 0) return true;
    if (mode === "local") return this.#inner.fits(now, amount);
    this.#drop(now);
    const turn = this.#turns[0];
    return turn !== undefined && turn.at <= now && this.#gate.live(now);
  }

  fitsAt(now: number, amount: number): number {
    if (this.fits(now, amount)) return now;
    const at = this.#inner.fitsAt(now, amount);
    if (this.#gate.mode === "local") return at;
    const turn = this.#turns[0];
    if (turn !== undefined) return Math.max(now, turn.at);
    return this.#gate.alone ? at : Math.max(at, this.#gate.retryAt);
  }

  expectedAt(now: number, amount: number): number {
    return this.fitsAt(now, amount);
  }

  earliestAt(now: number, amount: number): number {
    return this.#gate.mode === "free" ? now : this.#inner.earliestAt(now, amount);
  }

  roomAt(now: number, at: number): number {
    if (this.#gate.mode === "free") return Infinity;
    if (at > now || this.#gate.mode === "local") return this.#inner.roomAt(now, at);
    return this.fits(now, 1) ? 1 : 0;
  }

  expectedRoomAt(now: number, at: number): number {
    return this.roomAt(now, at);
  }

  charge(now: number, amount: number, outlook: Outlook | null): Entry {
    const entry = this.#inner.charge(now, amount, outlook);
    const turn = this.#gate.mode === "shared" ? this.#turns.shift() : undefined;
    if (turn !== undefined) this.#used.set(entry, turn);
    return entry;
  }

  sent(): void {}

  arrived(entry: Entry, now: number): void {
    this.#inner.arrived(entry, now);
  }

  settle(entry: Entry, now: number, actual: number): void {
    this.#inner.settle(entry, now, actual);
  }

  release(entry: Entry, now: number): void {
    if (entry.state === "closed") return;
    this.#inner.release(entry, now);
    const turn = this.#used.get(entry);
    if (turn === undefined) return;
    // As in memory: the turn comes back, the time before it that nobody used does not.
    this.#undo.push([turn.start, turn.after]);
    this.#gate.changed(true);
  }

  hint(): void {}

  refused(): void {}

  usage(now: number): LimitUsage {
    return this.#inner.usage(now);
  }

  resize(spec: LimitSpec): void {
    this.#inner.resize(spec);
    if (spec.kind === "leaky_bucket") this.#spec = spec;
  }

  scale(parts: number): void {
    const requestsPerSecond = this.#spec.requestsPerSecond / parts;
    this.#inner.resize({ ...this.#spec, requestsPerSecond });
  }

  takeMarks(): Mark[] {
    return [];
  }

  restore(): void {}

  idle(now: number): boolean {
    return this.#inner.idle(now) && !this.reports;
  }

  get busy(): boolean {
    return this.reports;
  }

  get reports(): boolean {
    return this.#undo.length > 0 || this.#lost;
  }

  /** Turns are wanted while fewer are ahead than half of a process's part. */
  wants(): boolean {
    return true;
  }

  own(): number {
    return this.#turns.length;
  }

  giveBack(): void {
    for (const { before, after } of this.#turns.toReversed()) this.#undo.push([before, after]);
    this.#turns = [];
  }

  /** How many turns a process may have ahead where `parts` share the bucket. */
  most(parts: number): number {
    return Math.max(1, Math.ceil((aheadMs * this.#spec.requestsPerSecond) / 1_000 / parts));
  }

  take(now: number): LimitMessage {
    this.#drop(now);
    const iv = Math.ceil(1_000_000 / this.#spec.requestsPerSecond);
    const message: LimitMessage = {
      k: this.key,
      t: "l",
      min: 0,
      max: 0,
      pre: 0,
      fair: 0,
      iv,
      tol: (this.#spec.burst - 1) * iv,
      hz: 0,
    };
    // The last first: a turn can only be taken back from the end.
    if (this.#undo.length > 0) message.undo = this.#undo.toSorted((a, b) => b[1] - a[1]);
    if (this.#lost) message.tat = this.#tat;
    this.#undo = [];
    this.#lost = false;
    return message;
  }

  /** How far ahead to ask for turns, ms, where requests wait for them. */
  get aheadMs(): number {
    return aheadMs;
  }

  granted(now: number, part: readonly [number, string, string, string, string]): void {
    const [count, , , base, old] = part;
    const iv = Math.ceil(1_000_000 / this.#spec.requestsPerSecond);
    const tol = (this.#spec.burst - 1) * iv;
    for (let i = 0; i < count; i++) {
      const start = Number(base) + i * iv;
      const at = Math.max(now, (start - tol) / 1_000 - (this.#gate.remote(now) - now));
      this.#turns.push({ at, before: i === 0 ? Number(old) : start, start, after: start + iv });
      this.#tat = start + iv;
    }
  }

  takeUse(): number {
    return 0;
  }

  renew(lost: boolean): void {
    this.#turns = [];
    this.#undo = [];
    this.#lost = lost;
  }

  #drop(now: number): void {
    while ((this.#turns[0]?.at ?? Infinity) < now - latenessMs) {
      const turn = this.#turns.shift();
      if (turn !== undefined) this.#undo.push([turn.before, turn.after]);
    }
  }
}
