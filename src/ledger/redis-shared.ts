import type { Limit } from "../limit/limit.ts";
import type { GrantMessage, LimitMessage } from "./redis-message.ts";

/**
 * Who decides what fits: `shared` room that Redis has granted, `local` limits of this process alone, `free` nobody.
 */
export type Mode = "shared" | "local" | "free";

/** What a limit has to know of the account's connection to the others. */
export interface Gate {
  readonly mode: Mode;
  /** Redis's time at our time `now`, in ms, never too early. */
  remote(now: number): number;
  /** Our time when Redis's is `at`, never too early. */
  local(at: number): number;
  /** Whether room that was granted may still be used. */
  live(now: number): boolean;
  /** When to ask again, our time; -Infinity where nothing was refused. */
  readonly retryAt: number;
  /** Whether no other process can be using the account. */
  readonly alone: boolean;
  /** Whether others wait: what comes free is theirs as much as ours. */
  tight(now: number): boolean;
  /** Room was used. */
  used(now: number): void;
  /** There is something to report; `frees` where others could use it. */
  changed(frees: boolean): void;
}

/** A limit that several processes keep together. */
export interface SharedLimit extends Limit {
  /** Its part of the next message; what it reports is taken out of it. */
  take(now: number): LimitMessage;
  /** What was asked for has come: `grant` units, or turns from a base. */
  granted(now: number, part: Readonly<GrantMessage>): void;
  /**
   * Redis does not know this process any more: what it held is counted, or, where all was `lost`, forgotten like
   * everything else, and has to be reported anew. `unheard` is what it was told last and did not take, `again` whether
   * that may have been the second time.
   */
  renew(now: number, lost: boolean, unheard: LimitMessage | null, again: boolean): void;
  /** Units used since the last call. */
  takeUse(): number;
  /** Units granted and not used. */
  readonly allowance: number;
  /** How many units may be promised to this process ahead of their time, if `parts` share the limit. */
  most(parts: number): number;
  /** Gives back what is not used. */
  giveBack(): void;
  /** Whether anything is held or to be reported. */
  readonly busy: boolean;
  /** From when on there is something to report; -Infinity: already. */
  readonly reportsAt: number;
  /** From when on it helps to ask for `amount`: until then our own use is in the way. */
  wantedAt(now: number, amount: number): number;
  /** Units that this process has in use. */
  own(now: number): number;
  /** The fullest that it may be. */
  readonly size: number;
  /** Holds this process to its part of the limit, until the next `resize`. */
  scale(parts: number): void;
}
