/** Two clocks drift apart by no more than this: ms a ms. */
const mostDrift = 0.001;

/** By how much the clock of an account's Redis is ahead of ours, as far as answers tell: never more than it is. */
export class Lead {
  #ms = -Infinity;
  #at = 0;

  /** Narrows it down by an answer that was made at `remoteNow`, between `sentAt` and `now`. */
  hear(sentAt: number, now: number, remoteNow: number): void {
    const known = this.#ms - (now - this.#at) * mostDrift;
    this.#ms = Math.min(remoteNow - sentAt, Math.max(remoteNow - now, known));
    this.#at = now;
  }

  /** Our time when Redis's is `at`, never too early; after the first answer. */
  local(at: number): number {
    return at - this.#ms;
  }
}
