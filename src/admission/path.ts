import type { Account } from "../ledger/account.ts";
import type { Limit } from "../limit/limit.ts";

/** The accounts that a request needs, in order. Requests that need the same ones share one path. */
export class Path {
  readonly accounts: readonly Account[];
  /** Names the combination. */
  readonly key: string;
  #sources: readonly (readonly Limit[])[] = [];
  #limits: readonly Limit[] = [];

  constructor(accounts: readonly Account[]) {
    this.accounts = accounts;
    this.key = accounts.map(({ name }) => name).join("\n");
  }

  /** The group whose planner decides: accounts of one path always share it. */
  get group(): string {
    return this.accounts[0]?.spec.group ?? "";
  }

  /** All limits of the accounts, as configured now. */
  get limits(): readonly Limit[] {
    const { accounts } = this;
    const [first] = accounts;
    if (accounts.length === 1 && first !== undefined) return first.limits;
    // An account's list is replaced as a whole when its configuration changes.
    for (let i = 0; i < accounts.length; i++) {
      if (accounts[i]?.limits === this.#sources[i]) continue;
      this.#sources = accounts.map(({ limits }) => limits);
      this.#limits = this.#sources.flat();
      break;
    }
    return this.#limits;
  }
}
