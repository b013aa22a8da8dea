/**
 * What goes between a process and Redis: one message for each account at a time, numbered, so that one whose answer
 * was lost can be sent again and is applied once. Names are short because they travel with every call.
 */
export interface Message {
  /** The process; a new one whenever Redis does not know it any more. */
  id: string;
  /** Counts up from 1. */
  n: number;
  /** Whether it is the first of `id`. */
  hello: boolean;
  /** What the account's state is to be called if there is none yet; with `hello`, what it was called before, if known. */
  inc: string;
  knew?: string;
  /** Redis has forgotten all: a state made now grants nothing for so long, ms. */
  again?: number;
  name: string;
  /** For how long what is held stays held without another message, ms. */
  ttl: number;
  /** Whether it asks for room, and whether more than its least amount waits for it. */
  ask: boolean;
  more: boolean;
  /** Nobody waits here any more: what was asked for and refused is not wanted. */
  drop?: true;
  /** The channel for news. */
  ch: string;
  L: LimitMessage[];
}

export type Report = readonly [slice: number, amount: number, at?: number];

/** What is reported and asked of one limit. */
export interface LimitMessage {
  /** Its key among those of the account. */
  k: string;
  /** Window, bucket, concurrency, leaky bucket. */
  t: "w" | "b" | "c" | "l";
  /** Limit and window (ms); a slice's length (ms), how many of them a charge stays; arrival margin (ms). */
  lim?: number;
  win?: number;
  sl?: number;
  sp?: number;
  mar?: number;
  /** What was counted in which slice, or given back there where negative; of a bucket, in order, with the time, ms. */
  n?: Report[];
  /** How much is held no longer; how much is held besides, whatever fits. */
  b?: number;
  hold?: number;
  /** The least that helps, what waits in all, what could be used soon; what this process may take before others. */
  min: number;
  max: number;
  pre: number;
  fair: number;
  /** How much of the least is used as soon as it is granted. */
  use?: number;
  /** Whether every request takes one of it, and how many are here already. */
  one?: boolean;
  have?: number;
  /**
   * Buckets: how far ahead turns, or the least that helps, are promised, ms; of a bucket, how much besides may be
   * promised within that time.
   */
  hz?: number;
  soon?: number;
  /** Leaky bucket: interval and tolerance, µs. */
  iv?: number;
  tol?: number;
  /** Turns that nobody took: the theoretical arrival times before and after each, µs. */
  undo?: (readonly [before: number, after: number])[];
  /** A comb is wanted: one turn of every so many, for a second. */
  comb?: number;
  /** A comb is no longer wanted: the last of its turns that was used, µs; 0 where none was. */
  home?: number;
  /** The theoretical arrival time as this process knows it, µs. */
  tat?: number;
}

/** What Redis answers. Times are strings where JSON made there would cut their digits. */
export interface Reply {
  status: "ok" | "unknown";
  now: string;
  /** Which incarnation of the state answers: another one has forgotten all. */
  inc: string;
  ok: boolean;
  /** Processes that wait besides. */
  others: number;
  /** Whether this one has a place among them. */
  claim: boolean;
  /** In how many ms to ask again; -1 where time alone does not tell. */
  wait: string;
  /** For how long Redis keeps all this if nobody says anything more, ms; then nothing of it counts any more. */
  keep: number;
  /**
   * Of each limit: granted, counted in all, held by others; when all that was granted may be used, ms, or of turns the
   * first one's base, what was before, and how far apart they are, µs.
   */
  L: GrantMessage[];
}

export type GrantMessage = [
  granted: number,
  used: string,
  others: string,
  atOrBase: string,
  before: string,
  step: string,
];

/** Slices that a window is cut into, as in memory: whole milliseconds each. */
export const slicesPer = { second: 500, minute: 600, hour: 600, day: 600 } as const;

/** So many things that happened to a bucket are told apart in one message. */
const mostEvents = 64;

/** Events in order of time; where there are many, one for all of a slice, as of the last of them. */
export function merged(events: readonly [slice: number, amount: number, at: number][]): Report[] {
  const sorted = events.toSorted((a, b) => a[2] - b[2]);
  if (sorted.length <= mostEvents) return sorted;
  const bySlice = new Map<string, [number, number, number]>();
  for (const [slice, amount, at] of sorted) {
    const key = `${slice} ${Math.sign(amount)}`;
    const known = bySlice.get(key);
    if (known === undefined) bySlice.set(key, [slice, amount, at]);
    else {
      known[1] += amount;
      known[2] = at;
    }
  }
  return [...bySlice.values()].toSorted((a, b) => a[2] - b[2]);
}
