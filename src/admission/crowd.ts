import type { Account } from "../ledger/account.ts";
import type { Cost } from "../limit/cost.ts";
import { noCost } from "../limit/cost.ts";
import type { Pending } from "./pending.ts";

/** What waits for each account: how many, and what they will be charged together. */
export class Crowd {
  readonly #ahead = new Map<Account, Cost>();

  /** What all requests that wait for `account` will be charged together. */
  aheadOf(account: Account): Readonly<Cost> {
    return this.#ahead.get(account) ?? noCost;
  }

  add(item: Pending): void {
    this.#count(item, 1);
  }

  remove(item: Pending): void {
    this.#count(item, -1);
  }

  #count({ request, cost }: Pending, sign: 1 | -1): void {
    for (const account of request.path.accounts) {
      account.waiting += sign;
      let ahead = this.#ahead.get(account);
      if (ahead === undefined) {
        ahead = { ...noCost };
        this.#ahead.set(account, ahead);
      }
      ahead.requests += sign * cost.requests;
      ahead.tokens += sign * cost.tokens;
      ahead.input_tokens += sign * cost.input_tokens;
      ahead.output_tokens += sign * cost.output_tokens;
      ahead.total_tokens += sign * cost.total_tokens;
      if (account.waiting === 0) this.#ahead.delete(account);
    }
  }
}
