import type { Account } from "../ledger/account.ts";
import type { Cost } from "../limit/cost.ts";
import { noCost } from "../limit/cost.ts";
import { Places } from "../queue/places.ts";
import type { Pending } from "./pending.ts";

/** Those that wait for one account. */
interface Waiters {
  /** What they will be charged together. */
  readonly ahead: Cost;
  /** Null until somebody finds no place. */
  places: Places | null;
}

/** What waits for each account: how many, whose, and what they will be charged together. */
export class Crowd {
  readonly #waiters = new Map<Account, Waiters>();

  /** What all requests that wait for `account` will be charged together. */
  aheadOf(account: Account): Readonly<Cost> {
    return this.#waiters.get(account)?.ahead ?? noCost;
  }

  /**
   * Who holds how many of the places for `account`; null where nobody waits.
   * @param all every request that is here
   */
  placesOf(account: Account, all: Iterable<Pending>): Places | null {
    const waiters = this.#waiters.get(account);
    if (waiters === undefined) return null;
    if (waiters.places === null) {
      waiters.places = new Places(true);
      for (const item of all)
        if (item.request.path.accounts.includes(account)) waiters.places.add(item, 1);
    }
    return waiters.places;
  }

  add(item: Pending): void {
    this.#count(item, 1);
  }

  remove(item: Pending): void {
    this.#count(item, -1);
  }

  /** What `item` will be charged is another from here on; its place stays as it is. */
  reprice(item: Pending, cost: Readonly<Cost>): void {
    for (const account of item.request.path.accounts) {
      const waiters = this.#waiters.get(account);
      if (waiters === undefined) continue;
      charge(waiters.ahead, item.cost, -1);
      charge(waiters.ahead, cost, 1);
    }
    item.cost = cost;
  }

  #count(item: Pending, sign: 1 | -1): void {
    const { request, cost } = item;
    for (const account of request.path.accounts) {
      account.waiting += sign;
      let waiters = this.#waiters.get(account);
      if (waiters === undefined) {
        waiters = { ahead: { ...noCost }, places: null };
        this.#waiters.set(account, waiters);
      }
      const { ahead, places } = waiters;
      charge(ahead, cost, sign);
      if (sign === 1) places?.add(item, 1);
      else places?.remove(item, 1);
      if (account.waiting === 0) this.#waiters.delete(account);
    }
  }
}

function charge(ahead: Cost, cost: Readonly<Cost>, sign: 1 | -1): void {
  ahead.requests += sign * cost.requests;
  ahead.tokens += sign * cost.tokens;
  ahead.input_tokens += sign * cost.input_tokens;
  ahead.output_tokens += sign * cost.output_tokens;
  ahead.total_tokens += sign * cost.total_tokens;
}
