import type { Entry, Limit, LimitUsage, Mark } from "./limit.ts";
import { newEntry } from "./limit.ts";

/** Nothing may go before a certain time: the provider has said so. Counts nothing, and makes room all at once. */
export class Hold implements Limit {
  readonly unit = "requests" as const;
  readonly window = null;
  readonly key = "hold";
  readonly max = Infinity;
  readonly unsaved = false;
  #until: number;

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
  }

  fits(now: number): boolean {
    return now >= this.#until;
  }

  fitsAt(now: number): number {
    return Math.max(now, this.#until);
  }

  expectedAt(now: number): number {
    return this.fitsAt(now);
  }

  earliestAt(now: number): number {
    return this.fitsAt(now);
  }

  roomAt(_now: number, at: number): number {
    return at >= this.#until ? Infinity : 0;
  }

  expectedRoomAt(now: number, at: number): number {
    return this.roomAt(now, at);
  }

  charge(now: number, amount: number): Entry {
    return newEntry(amount, now, "closed");
  }

  sent(): void {}

  arrived(): void {}

  settle(): void {}

  release(): void {}

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
