import type { Entry, Limit, LimitUsage, Mark } from "./limit.ts";
import { newEntry } from "./limit.ts";

/** How long the first request after a hold has to show whether there is room again, ms. */
const trialMs = 1_000;

/**
 * Nothing may go before a certain time: the provider has said so. Counts nothing.
 *
 * Then one request goes, the one that was turned away: what the provider says of the end is about that one. Everything
 * else follows when it was served, which whoever made the hold ends it for, or a second later, since many answers take
 * long to begin and a refusal does not.
 */
export class Hold implements Limit {
  readonly unit = "requests" as const;
  readonly window = null;
  readonly key = "hold";
  readonly max = Infinity;
  readonly unsaved = false;
  #until: number;
  /** When the trial began; Infinity before. */
  #triedAt = Infinity;
  #trial: Entry | null = null;

  /** @param until ms since the epoch */
  constructor(until: number) {
    this.#until = until;
  }

  get until(): number {
    return this.#until;
  }

  /** Puts the end off; an earlier one changes nothing. */
  prolong(until: number): void {
    this.#until = Math.max(this.#until, until);
    this.#end(this.#trial);
  }

  /** Whether it is over, and nobody has to try whether it is. */
  isOver(now: number): boolean {
    return now >= this.#until + trialMs;
  }

  fits(now: number): boolean {
    return now >= this.fitsAt(now);
  }

  fitsAt(now: number): number {
    if (this.#trial === null) return Math.max(now, this.#until);
    return Math.max(now, this.#triedAt + trialMs);
  }

  expectedAt(now: number): number {
    return this.fitsAt(now);
  }

  earliestAt(now: number): number {
    return this.fitsAt(now);
  }

  roomAt(now: number, at: number): number {
    return at >= this.fitsAt(now) ? Infinity : 0;
  }

  expectedRoomAt(now: number, at: number): number {
    return this.roomAt(now, at);
  }

  charge(now: number, amount: number): Entry {
    const entry = newEntry(amount, now, "closed");
    if (this.#trial === null) {
      this.#trial = entry;
      this.#triedAt = now;
    }
    return entry;
  }

  sent(): void {}

  arrived(): void {}

  settle(entry: Entry): void {
    this.#end(entry);
  }

  release(entry: Entry): void {
    this.#end(entry);
  }

  /** The trial has ended without a word: the next request is one. */
  #end(entry: Entry | null): void {
    if (entry === this.#trial) this.#trial = null;
  }

  hint(): void {}

  refused(): void {}

  usage(): LimitUsage {
    return { limit: Infinity, used: 0, reserved: 0, remaining: Infinity };
  }

  resize(): void {}

  /** The account that is held is stored, not its limit. */
  takeMarks(): Mark[] {
    return [];
  }

  restore(): void {}

  idle(now: number): boolean {
    return now >= this.#until;
  }
}
