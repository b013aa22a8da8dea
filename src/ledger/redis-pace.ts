import type { Account } from "./account.ts";
import type { Mode } from "./redis-shared.ts";

/** A process that is not heard of for so long is taken for dead, ms: what it held counts as used from then on. */
export const ttlMs = 10_000;
/** Room is not used any more so long before its time is up: a request leaves a little after it was granted. */
export const safetyMs = 1_000;
/** What nobody is known to wait for is reported after so long, or with the next question, ms. */
export const lazyMs = 1_000;
/** The same while others wait, where it makes no room. */
export const tightLazyMs = 100;
/** Room that was not used for so long is given back, ms. */
export const keepMs = 2_000;
/** How long after others were last seen to wait everything is reported at once, ms. */
export const tightMs = 2_000;
/** Ask again after so long where time alone does not tell, and no news came, ms. */
export const pollMs = 2_000;
/** Beyond its share a process asks once in so much of a window, and at most once in 250 ms. */
export const gapsPerWindow = 240;
export const longestGapMs = 250;
/** Room is fetched for so much time at the rate of the last question, ms, and for so many requests at least. */
export const prefetchMs = 500;
export const prefetchLeast = 8;

/** How far ahead turns and room of a bucket are promised to a process that has requests waiting for them, ms. */
export const aheadMs = 50;
/** So many requests may wait for the turns of a comb at once. */
export const combAhead = 2;

/** For so long all processes have time to tell a Redis that has forgotten all what they used, ms. */
export const quietMs = 1_500;

/** Silence for so long is a failure, ms: until then requests wait. */
export const silenceMs = 1_000;
/** A connection that says nothing for so long is given up, ms. */
export const deadMs = 2_000;
/** A message that got no answer is sent again after so long, ms. */
export const againMs = 500;

/** What an account's link has from its ledger. */
export interface LinkHost {
  readonly mode: Mode;
  /** What decides where Redis does not answer. */
  readonly without: Mode;
  /** How many processes there are. */
  readonly parts: number;
  /** Something that is unique to this process. */
  readonly id: string;
  readonly channel: string;
  /** When Redis was last there again, our time: it may have forgotten what it knew. */
  readonly backAt: number;
  now(): number;
  at(at: number, run: () => void): () => void;
  /** Runs a function when the present event-loop turn has handled its input. */
  defer(run: () => void): void;
  /** Sends a message about `account`; `done` is called with the answer, or null where there was none. */
  send(account: string, message: string, done: (reply: string | null) => void): void;
  /** Gives up the connection to the node of a cluster that has `account`. */
  giveUp(account: string): void;
  /** Redis's time at our `now`, never too early. */
  remote(now: number): number;
  /** Learns from an answer what Redis's time is. */
  heard(sentAt: number, now: number, remoteNow: number): void;
  /** Room may have come. */
  room(account: Account): void;
}
