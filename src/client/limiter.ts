import type { ClientCost } from "./algorithm.ts";
import type { AlgorithmName, ClientLimitsConfig } from "./plan.ts";
import type { ClientRefusal } from "./refusal.ts";

/** A request that its client's limit let through. */
export interface ClientTaken {
  readonly ok: true;
  /** When, ms since the epoch by the clock of whoever counts: what `giveBack` and `settle` want to know. */
  readonly at: number;
  /** Requests a minute; null where they are not limited. */
  readonly limit: number | null;
  /** Further requests that would be let through now; null where they are not limited. */
  readonly remaining: number | null;
  /** Milliseconds until the allowance is full again. */
  readonly resetMs: number;
}

/** A client as `GET /api/clients/{id}` shows it. `limit` and `remaining` are of requests, null where not limited. */
export interface ClientAllowance {
  readonly id: string;
  readonly tier: string | null;
  readonly algorithm: AlgorithmName;
  readonly limit: number | null;
  readonly remaining: number | null;
  readonly reset_seconds: number;
  /** The same of tokens; only where they are limited. */
  readonly tokens_limit?: number;
  readonly tokens_remaining?: number;
}

/** What the limits look at of a client. */
export interface LimitedClient {
  readonly id: string;
  readonly tier: { readonly name: string } | null;
}

/**
 * Each client's own limit: requests and tokens a minute. It refuses at once and never waits for room, and a refused
 * request costs nothing. There is a promise where others have to be asked how much is left.
 */
export interface ClientLimiter {
  /**
   * Charges a request to its client, if there is room for all of it.
   * @param cost `tokens` as estimated: `settle` corrects them
   * @throws ProxyError `STORE_UNAVAILABLE`, or rejects with it, where nothing may go without the store
   */
  take(
    client: LimitedClient,
    cost: ClientCost,
  ): ClientTaken | ClientRefusal | Promise<ClientTaken | ClientRefusal>;
  /**
   * Takes a charge back: the request never left.
   * @param takenAt the `at` of `take`
   */
  giveBack(client: LimitedClient, cost: ClientCost, takenAt: number): void;
  /**
   * Corrects the tokens of a request that has ended.
   * @param tokens what it used less what it was charged: more is charged even where there is no room, and is debt then
   * @param takenAt the `at` of `take`
   */
  settle(client: LimitedClient, tokens: number, takenAt: number): void;
  /** A client's allowance; null for one that is not limited, or neither tracked nor a virtual key's. */
  get(id: string): ClientAllowance | null | Promise<ClientAllowance | null>;
  /** Gives a client its whole allowance. @returns false if it is not known, as with `get` */
  reset(id: string): boolean | Promise<boolean>;
  /** Clients whose allowance is not full; who has become full is counted for another second or two. */
  tracked(): number;
  /** Requests refused since the start. */
  limited(): number;
  /** Puts another configuration into force. What clients have used stays used. */
  configure(config: ClientLimitsConfig): void;
  /** Ends what runs by itself. */
  close(): void;
}
