import type { Need, Part } from "./redis-asking.ts";
import { isBeyondPart, isRefused } from "./redis-asking.ts";
import type { Reply } from "./redis-message.ts";
import { gapsPerWindow, longestGapMs, pollMs } from "./redis-pace.ts";
import type { SharedLimit } from "./redis-shared.ts";

/** When a process may ask for an account's room again, by what Redis said last. Times are ours. */
export class Again {
  /** From when on there should be room for what was refused; -Infinity where nothing was. */
  retryAt = -Infinity;
  /** Redis could not tell when: what is in flight is in the way. */
  isBlind = false;
  #refused = new Map<SharedLimit, number>();
  /** Until when no more than a process's part is asked for. */
  #overUntil = -Infinity;

  /** A question with these `parts` goes out. */
  asks(parts: readonly Part[]): void {
    this.#refused = new Map(
      parts.flatMap(({ limit, message: { min } }) => (min > 0 ? [[limit, min] as const] : [])),
    );
  }

  /** The answer to a question that was sent at `askedAt`. */
  heed(reply: Reply, now: number, askedAt: number): void {
    const wait = Number(reply.wait);
    this.isBlind = wait < 0;
    if (reply.ok && wait <= 0) this.forget();
    else this.retryAt = wait < 0 ? now + pollMs : Math.max(now, askedAt + wait);
  }

  /** More was granted than a process's part, of a window of so many ms. */
  tookMore(now: number, windowMs: number): void {
    this.#overUntil = now + Math.min(longestGapMs, windowMs / gapsPerWindow);
  }

  /** There may be room at once. */
  now(): void {
    this.retryAt = -Infinity;
  }

  /** Nothing is refused. */
  forget(): void {
    this.#refused = new Map();
    this.now();
  }

  /**
   * When asking can help, among `parts` processes: not after `now` where it can at once.
   * @param lacks whether the first request lacks something
   */
  at(
    now: number,
    needs: ReadonlyMap<SharedLimit, Need>,
    { lacks, parts }: { lacks: boolean; parts: number },
  ): number {
    if ((!lacks || isRefused(needs, this.#refused)) && now + 0.01 < this.retryAt)
      return this.retryAt;
    return isBeyondPart(needs, parts, now) ? this.#overUntil : -Infinity;
  }
}
