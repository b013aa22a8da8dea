import type { Clock } from "../clock.ts";

/** The largest piece that the runtime reads at once, bytes. */
const largestPiece = 512 * 1024;
/** What all tunnels together may hold before they take turns, bytes. */
const mostHeld = 16 * 1024 * 1024;
/** Where what is held is not taken, another one gets its turn all the same after this, ms. */
const turnMs = 10;

/**
 * What all tunnels hold together: bytes that were read on one side and not taken by the other. Each may hold a piece,
 * and hundreds of them at once would be hundreds of megabytes; so while much is held, one that has passed its piece
 * on reads the next when it is its turn. Readers that take nothing keep what they hold, and do not stop the others.
 */
export class Backlog {
  readonly #clock: Clock;
  #held = 0;
  /** How many were let go lately whose piece has not come: what it may be is as good as held. */
  #expected = 0;
  #waiting: (() => void)[] = [];
  #isTimed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get hasRoom(): boolean {
    return this.#held + this.#expected * largestPiece < mostHeld;
  }

  hold(bytes: number): void {
    this.#held += bytes;
    if (this.#expected > 0) this.#expected--;
  }

  release(bytes: number): void {
    this.#held -= bytes;
    this.#letGo();
  }

  /** Calls `read`, which reads a piece: now if there is room, else when there is, or when it is its turn. */
  next(read: () => void): void {
    this.#waiting.push(read);
    this.#letGo();
    if (this.#waiting.length > 0) this.#startTimer();
  }

  #startTimer(): void {
    if (this.#isTimed) return;
    this.#isTimed = true;
    this.#clock.at(this.#clock.now() + turnMs, () => {
      this.#isTimed = false;
      // Those that have not read by now had nothing to read.
      this.#expected = 0;
      this.#waiting.shift()?.();
      this.#letGo();
      if (this.#waiting.length > 0) this.#startTimer();
    });
  }

  #letGo(): void {
    while (this.#waiting.length > 0 && this.hasRoom) {
      this.#expected++;
      this.#waiting.shift()?.();
    }
  }
}
