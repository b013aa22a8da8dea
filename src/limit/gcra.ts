import type { Entry, Limit, LimitSpec, LimitUsage, Mark } from "./limit.ts";
import { newEntry } from "./limit.ts";

/** How late a timer may wake us and still have the lost time made good (contract, section 4), in microseconds. */
const latenessUs = 5_000;
/** How far ahead the store is told: a crash costs at most this much waiting, and most requests no transaction. */
const aheadUs = 1_000_000;

/**
 * Leaky bucket as the generic cell rate algorithm: requests leave one interval apart after a burst.
 *
 * The whole state is the theoretical arrival time, in integer microseconds: when the next request would come if all
 * came exactly on time. A request conforms from `burst - 1` intervals before it. JavaScript timers fire late; a start
 * that is at most 5 ms late is booked as if on time, or the rate would never be met.
 *
 * Source: ITU-T I.371, annex A (virtual scheduling).
 */
export class Gcra implements Limit {
  readonly unit = "requests" as const;
  readonly window = null;
  readonly key = "leaky_bucket requests";
  readonly max = Infinity;
  #intervalUs = 0;
  #toleranceUs = 0;
  #requestsPerSecond = 0;
  /** Theoretical arrival time of the next request, µs since the epoch. */
  #tatUs = 0;
  /** When it was moved last, µs: what it is ahead of this is the burst that is used up. */
  #movedUs = 0;
  /** The mark that the store has, µs since the epoch. */
  #storedUs = 0;

  constructor(spec: LimitSpec & { kind: "leaky_bucket" }) {
    this.resize(spec);
  }

  fits(now: number, amount: number): boolean {
    return this.fitsAt(now, amount) <= now;
  }

  fitsAt(now: number, amount: number): number {
    if (amount === 0) return now;
    const nowUs = Math.floor(now * 1_000);
    const base = amount === 1 ? this.#tatUs : Math.max(this.#tatUs, nowUs);
    const atUs = base + (amount - 1) * this.#intervalUs - this.#toleranceUs;
    // Rounded up, so that the time told is never a fraction too early for the next call.
    return atUs <= nowUs ? now : Math.max(now, (atUs + 1) / 1_000);
  }

  expectedAt(now: number, amount: number): number {
    return this.fitsAt(now, amount);
  }

  earliestAt(now: number, amount: number): number {
    return this.fitsAt(now, amount);
  }

  /** How many could have left by `at`, not held back by the burst: only differences of it mean anything. */
  roomAt(now: number, at: number): number {
    const base = Math.max(this.#tatUs, Math.floor(now * 1_000));
    return Math.floor((at * 1_000 - base + this.#toleranceUs) / this.#intervalUs) + 1;
  }

  expectedRoomAt(now: number, at: number): number {
    return this.roomAt(now, at);
  }

  charge(now: number, amount: number): Entry {
    const nowUs = Math.floor(now * 1_000);
    const onTime = nowUs - this.#tatUs <= latenessUs;
    this.#tatUs = (onTime ? this.#tatUs : nowUs) + amount * this.#intervalUs;
    this.#movedUs = nowUs;
    const entry = newEntry(amount, now);
    entry.dueAt = this.#tatUs;
    return entry;
  }

  sent(): void {}

  arrived(entry: Entry): void {
    if (entry.state === "held") entry.state = "counted";
  }

  settle(entry: Entry): void {
    entry.state = "closed";
  }

  /** Gives the turn back if nobody has left since; otherwise the gap in the traffic stays where it is. */
  release(entry: Entry): void {
    if (entry.state === "closed") return;
    entry.state = "closed";
    if (entry.dueAt !== this.#tatUs) return;
    this.#tatUs -= entry.amount * this.#intervalUs;
  }

  /** Pace is the operator's own wish, no provider speaks of it. */
  hint(): void {}

  refused(): void {}

  usage(now: number): LimitUsage {
    const limit = Math.max(1, this.#toleranceUs / this.#intervalUs + 1);
    const used = Math.min(
      limit,
      Math.ceil(Math.max(0, this.#tatUs - now * 1_000) / this.#intervalUs),
    );
    return { limit, used, reserved: 0, remaining: limit - used };
  }

  resize(spec: LimitSpec): void {
    if (spec.kind !== "leaky_bucket") return;
    const intervalUs = Math.ceil(1_000_000 / spec.requestsPerSecond);
    // What has left already takes as long to make good as the rate in force says, longer or shorter.
    const aheadUs = this.#tatUs - this.#movedUs;
    if (aheadUs > 0)
      this.#tatUs = this.#movedUs + Math.ceil((aheadUs * intervalUs) / this.#intervalUs);
    this.#intervalUs = intervalUs;
    this.#toleranceUs = (spec.burst - 1) * intervalUs;
    this.#requestsPerSecond = spec.requestsPerSecond;
  }

  /** Requests a second, as configured. */
  get requestsPerSecond(): number {
    return this.#requestsPerSecond;
  }

  get unsaved(): boolean {
    return this.#tatUs > this.#storedUs;
  }

  /** One mark: `value` is a time that the theoretical arrival time has not passed yet, expiring when it has. */
  takeMarks(last: boolean): Mark[] {
    if (!last && !this.unsaved) return [];
    if (last && this.#storedUs === 0) return [];
    this.#storedUs = this.#tatUs + (last ? 0 : aheadUs);
    const at = this.#movedUs / 1_000;
    return [{ slot: 0, at, value: this.#storedUs, expiresAt: this.#storedUs / 1_000 }];
  }

  restore(mark: Mark): void {
    this.#tatUs = Math.max(this.#tatUs, mark.value);
    this.#storedUs = mark.value;
    this.#movedUs = Math.max(this.#movedUs, Math.floor(mark.at * 1_000));
  }

  idle(now: number): boolean {
    return this.#tatUs <= now * 1_000 - latenessUs;
  }
}
