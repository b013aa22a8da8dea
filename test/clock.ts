import type { Clock } from "../src/clock.ts";

interface Timer {
  at: number;
  order: number;
  run: () => void;
}

/** A clock that stands until a test moves it, and counts what was asked of it. */
export class FakeClock implements Clock {
  #now: number;
  #timers: Timer[] = [];
  #order = 0;
  /** Timers that ran since time moved last. */
  #ranNow = 0;
  /** How often a timer was set since the start. */
  armed = 0;

  /** @param start what it shows first, ms since the epoch */
  constructor(start = 1_700_000_000_000) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  at(at: number, run: () => void): () => void {
    this.armed++;
    const timer = { at, order: this.#order++, run };
    this.#timers.push(timer);
    return () => void (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.length;
  }

  /** When the next timer is due; Infinity where none is set. */
  get nextAt(): number {
    return Math.min(Infinity, ...this.#timers.map(({ at }) => at));
  }

  /** Moves time on by `ms`, running what falls due on the way, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    while (this.#runNext(end));
    this.#now = Math.max(this.#now, end);
  }

  /** Like `advance`, letting promises settle before, between and after the timers. */
  async tick(ms = 0): Promise<void> {
    const end = this.#now + ms;
    await settlePromises();
    while (this.#runNext(end)) await settlePromises();
    this.#now = Math.max(this.#now, end);
  }

  /** Moves time on without running anything, as when the process was busy. */
  skip(ms: number): void {
    this.#now += ms;
  }

  #runNext(end: number): boolean {
    const next = this.#timers.reduce<Timer | null>(
      (best, timer) =>
        best === null || timer.at < best.at || (timer.at === best.at && timer.order < best.order)
          ? timer
          : best,
      null,
    );
    if (next === null || next.at > end) return false;
    this.#timers = this.#timers.filter((timer) => timer !== next);
    this.#ranNow = next.at > this.#now ? 0 : this.#ranNow + 1;
    if (this.#ranNow > 10_000)
      throw new Error("Timers are set for the present without end: time would stand still");
    this.#now = Math.max(this.#now, next.at);
    next.run();
    return true;
  }
}

/** Resolves when everything that promises have set off so far has run. */
export function settlePromises(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
