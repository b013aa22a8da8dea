import type { Account } from "../ledger/account.ts";
import type { Cost } from "../limit/cost.ts";
import type { Limit } from "../limit/limit.ts";
import { worstStart } from "./forecast.ts";

/**
 * The accounts that a request needs, in order. Requests that need the same ones share one path.
 *
 * Where any of several sets of accounts will do (a quota with several keys), `alternatives` are the paths over each,
 * all in one group, and `accounts` only says how requests wait for them.
 */
export class Path {
  readonly accounts: readonly Account[];
  readonly alternatives: readonly Path[];
  /** Names the combination. */
  readonly key: string;
  #sources: readonly (readonly Limit[])[] = [];
  #limits: readonly Limit[] = [];
  /** Among alternatives: the number of the last grant; see `choose`. */
  #granted = 0;

  constructor(accounts: readonly Account[], alternatives: readonly Path[] = []) {
    this.accounts = accounts;
    this.alternatives = alternatives;
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

  /** Whether it leads over the same accounts. */
  is(other: Path): boolean {
    return (
      this.key === other.key &&
      this.alternatives.length === other.alternatives.length &&
      this.alternatives.every(({ key }, i) => key === other.alternatives[i]?.key)
    );
  }

  /** The path on which a request of `cost` starts soonest; where that is equal, they take turns. */
  choose(cost: Readonly<Cost>, now: number): Path {
    let best: Path | null = null;
    let bestAt = Infinity;
    for (const path of this.alternatives) {
      const at = worstStart(path.limits, cost, now);
      if (best !== null && (at > bestAt || (at === bestAt && path.#granted >= best.#granted)))
        continue;
      best = path;
      bestAt = at;
    }
    return best ?? this;
  }

  /** A request has been granted on `alternative`: the others come first the next time. */
  took(alternative: Path): void {
    if (alternative !== this) alternative.#granted = ++this.#granted;
  }
}
