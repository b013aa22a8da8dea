import type { Account } from "../ledger/account.ts";

/** The first wait where a provider names none, ms; each further one is twice as long (contract, section 4). */
const firstMs = 1_000;
const longestMs = 60_000;
/** By how much a wait is made longer or shorter, so that those who wait for the same thing do not all come at once. */
const jitter = 0.25;

/** How often in a row each account has been turned away without a word on how long. */
export class Strikes {
  readonly #counts = new WeakMap<Account, number>();
  readonly #random: () => number;

  /** @param random gives numbers from 0 to below 1 */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** How long to leave `account` alone now, ms. */
  next(account: Account): number {
    const count = this.#counts.get(account) ?? 0;
    this.#counts.set(account, count + 1);
    const ms = Math.min(longestMs, firstMs * 2 ** Math.min(count, 16));
    return Math.min(longestMs, ms * (1 - jitter + 2 * jitter * this.#random()));
  }

  /** It was served: the next time begins anew. */
  clear(account: Account): void {
    this.#counts.delete(account);
  }
}

/**
 * Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015): how
 * long a request waits after its `tries`-th try has met an overloaded upstream, ms.
 */
export function overloadWait(tries: number, random: () => number = Math.random): number {
  return Math.min(longestMs, firstMs * 2 ** (tries - 1)) * random();
}
