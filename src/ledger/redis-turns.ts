import type { Entry, Limit, LimitSpec, LimitUsage, Mark, Outlook } from "../limit/limit.ts";
import type { GrantMessage, LimitMessage } from "./redis-message.ts";
import { aheadMs } from "./redis-pace.ts";
import type { Gate, SharedLimit } from "./redis-shared.ts";

/** How late a turn may be used, ms: as in memory. */
const latenessMs = 5;

/** How long a request may have to wait for a turn of a comb, ms. */
const combWaitMs = 5;
/** A comb's turns are no further apart, ms: it is given for a second. */
const combStepMs = 50;
/** Who asks less often gains nothing by one, ms. */
const combUseMs = 2_000;
/** Who uses so many turns of a comb one after another and wants more has too little with it. */
const combStreak = 3;
/** No comb for so long after more was needed than one gives, ms. */
const plainMs = 500;

/** The right to leave at a certain time. */
interface Turn {
  /** Our time: from when and until when it may be used. */
  at: number;
  until: number;
  /** Whether it is one of a comb. */
  isCombed: boolean;
  /** The bucket's theoretical arrival time without and with it, µs of Redis's time. */
  before: number;
  start: number;
  after: number;
}

type LeakySpec = LimitSpec & { kind: "leaky_bucket" };

/**
 * A leaky bucket of several processes. What is granted are turns, each at its time: room in a bucket that is used
 * later would let two leave together. A turn that is missed is given back if none was given after it.
 *
 * Far from the limit a process has a comb: one turn of every few for a second, which nobody has to ask for. Each may be
 * used as early as the burst allows and as late as any turn, so with turns close enough there is always one to be had,
 * or soon.
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
  /** The last turn of our comb that was used, µs, 0 where none was; null where we have no comb. */
  #combUsed: number | null = null;
  /** How far apart its turns are, µs, and how many were used one after another. */
  #combStep = 0;
  #streak = 0;
  /** No comb is asked for before: more was needed than it gives. */
  #plainUntil = -Infinity;

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
    if (turn?.isCombed === true) {
      const isNext = turn.start - (this.#combUsed ?? 0) === this.#combStep;
      this.#streak = isNext ? this.#streak + 1 : 1;
      this.#combUsed = turn.start;
      this.#tat = Math.max(this.#tat, turn.after);
    } else if (turn !== undefined) this.#used.set(entry, turn);
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
    if (spec.kind !== "leaky_bucket") return;
    if (spec.requestsPerSecond !== this.#spec.requestsPerSecond) this.disband();
    this.#spec = spec;
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
    return this.#inner.idle(now) && !this.busy;
  }

  get busy(): boolean {
    return this.#undo.length > 0 || this.#lost || this.#combUsed !== null;
  }

  get reportsAt(): number {
    return this.busy ? -Infinity : Infinity;
  }

  /** Turns are wanted while fewer are ahead than half of a process's part. */
  wantedAt(now: number): number {
    return now;
  }

  own(): number {
    return this.#turns.length;
  }

  giveBack(): void {
    this.disband();
    for (const { before, after } of this.#turns.toReversed()) this.#undo.push([before, after]);
    this.#turns = [];
  }

  /** Has no use for a comb any more, or none by which it could be served. */
  disband(): void {
    this.#turns = this.#turns.filter(({ isCombed }) => !isCombed);
  }

  /** More waits here or elsewhere than a comb is for. */
  needsMore(now: number): void {
    this.#plainUntil = now + plainMs;
    this.#streak = 0;
    this.disband();
  }

  /** Whether its turns are used up as they come. */
  get isBehind(): boolean {
    return this.#streak >= combStreak;
  }

  /** Whether what waits can go by the turns of a comb. */
  get hasComb(): boolean {
    return this.#turns.some(({ isCombed }) => isCombed);
  }

  /**
   * One turn of how many a comb should have among `parts` processes; null where asking each time is better.
   * @param sinceMs time since the last question
   */
  comb(now: number, parts: number, sinceMs: number): number | null {
    const { iv, tol } = this.#pace;
    if (now < this.#plainUntil || sinceMs > combUseMs) return null;
    const fewest = Math.max(1, parts) * iv;
    const free = tol + latenessMs * 1_000;
    if (fewest > Math.min(free + combWaitMs * 1_000, combStepMs * 1_000)) return null;
    // As few as leave one to be had at any moment.
    return Math.floor(Math.max(fewest, Math.min(free, combStepMs * 1_000)) / iv);
  }

  get #pace(): { iv: number; tol: number } {
    const iv = Math.ceil(1_000_000 / this.#spec.requestsPerSecond);
    return { iv, tol: (this.#spec.burst - 1) * iv };
  }

  most(parts: number): number {
    return Math.max(1, Math.ceil((aheadMs * this.#spec.requestsPerSecond) / 1_000 / parts));
  }

  take(now: number): LimitMessage {
    this.#drop(now);
    const { iv, tol } = this.#pace;
    const message: LimitMessage = {
      k: this.key,
      t: "l",
      min: 0,
      max: 0,
      pre: 0,
      fair: 0,
      iv,
      tol,
      hz: 0,
    };
    // The last first: a turn can only be taken back from the end.
    if (this.#undo.length > 0) message.undo = this.#undo.toSorted((a, b) => b[1] - a[1]);
    if (this.#lost) message.tat = this.#tat;
    if (this.#combUsed !== null && !this.hasComb) {
      message.home = this.#combUsed;
      this.#combUsed = null;
    }
    this.#undo = [];
    this.#lost = false;
    return message;
  }

  granted(now: number, part: Readonly<GrantMessage>): void {
    const [count, , , base, old, apart] = part;
    const { iv, tol } = this.#pace;
    const isCombed = Number(apart) > iv;
    for (let i = 0; i < count; i++) {
      const start = Number(base) + i * Number(apart);
      const due = start / 1_000 - (this.#gate.remote(now) - now);
      const at = Math.max(now, due - tol / 1_000);
      const until = (isCombed ? Math.max(now, due) : at) + latenessMs;
      const before = i === 0 ? Number(old) : start;
      this.#turns.push({ at, until, isCombed, before, start, after: start + iv });
      if (!isCombed) this.#tat = Math.max(this.#tat, start + iv);
    }
    if (isCombed) {
      this.#combUsed = 0;
      this.#combStep = Number(apart);
    }
    this.#turns.sort((a, b) => a.at - b.at);
  }

  takeUse(): number {
    return 0;
  }

  renew(_now: number, lost: boolean): void {
    this.#turns = [];
    this.#undo = [];
    this.#combUsed = null;
    this.#lost = lost;
  }

  #drop(now: number): void {
    while ((this.#turns[0]?.until ?? Infinity) < now) {
      const turn = this.#turns.shift();
      if (turn?.isCombed === false) this.#undo.push([turn.before, turn.after]);
    }
  }
}
