import type { Cost } from "../limit/cost.ts";
import { amountOf } from "../limit/cost.ts";
import type { LimitMessage } from "./redis-message.ts";
import { aheadMs, combAhead, prefetchLeast, prefetchMs } from "./redis-pace.ts";
import type { SharedLimit } from "./redis-shared.ts";
import { SharedTurns } from "./redis-turns.ts";

/** A limit and its part of a message. */
export interface Part {
  limit: SharedLimit;
  message: LimitMessage;
}

/** A message under way. */
export interface Sending {
  readonly parts: readonly Part[];
  readonly text: string;
  /** When it was sent first, and how often. */
  readonly at: number;
  tries: number;
  readonly asks: boolean;
}

/** What one limit has to have room for: a request, and all that wait. */
export interface Need {
  amount: number;
  ahead: number;
}

/** What a request of `cost` needs of `limit`, and all that wait `ahead` together (null: nobody is known to). */
export function needOf(
  limit: SharedLimit,
  cost: Readonly<Cost>,
  ahead: Readonly<Cost> | null,
): Need {
  const amount = amountOf(cost, limit.unit);
  if (ahead === null) return { amount, ahead: amount };
  // Each that waits takes a slot.
  const waits = limit.unit === "slots" ? ahead.requests : ahead[limit.unit];
  return { amount, ahead: Math.max(amount, waits) };
}

/** What is missing for `amount`, beside what was granted already. */
function lacking(limit: SharedLimit, amount: number): number {
  return limit instanceof SharedTurns ? 1 : Math.max(0, amount - limit.allowance);
}

/** What a process may take of a limit, among `parts` of them, before others have had their share. */
function fairPart(limit: SharedLimit, parts: number, now: number): number {
  if (limit.size === Infinity) return Infinity;
  return Math.max(0, Math.floor(limit.size / parts) - limit.own(now));
}

/**
 * Whether something is missing for the first request, and whether more is wanted ahead for those behind it. Combs that
 * are too little for them all are given up.
 * @param isLive whether what was granted may still be used
 */
export function whatLacks(
  needs: ReadonlyMap<SharedLimit, Need>,
  { parts, isLive, now }: { parts: number; isLive: boolean; now: number },
): { lacks: boolean; wantsMore: boolean } {
  let lacks = false;
  let wantsMore = false;
  for (const [limit, { amount, ahead }] of needs) {
    if (limit instanceof SharedTurns) {
      if (limit.hasComb && (ahead > combAhead || limit.isBehind)) limit.needsMore(now);
      lacks ||= !limit.hasComb && limit.allowance === 0 && amount > 0;
      wantsMore ||= !limit.hasComb && limit.allowance < ahead && wantsAhead(limit, parts);
    } else {
      lacks ||= amount > 0 && !(amount <= limit.allowance && isLive);
      wantsMore ||= wantsAhead(limit, parts);
    }
  }
  return { lacks, wantsMore };
}

/** Whether fewer units are ahead than half of a process's part. */
function wantsAhead(limit: SharedLimit, parts: number): boolean {
  return limit.allowance * 2 < limit.most(parts);
}

/** Whether all that is needed was granted. */
export function isHere(needs: ReadonlyMap<SharedLimit, Need>): boolean {
  return [...needs].every(([limit, { amount }]) => amount === 0 || amount <= limit.allowance);
}

/** Whether at least as much was refused of each limit. */
export function isRefused(
  needs: ReadonlyMap<SharedLimit, Need>,
  refused: ReadonlyMap<SharedLimit, number>,
): boolean {
  const covers = ([limit, { amount }]: [SharedLimit, Need]): boolean =>
    lacking(limit, amount) >= (refused.get(limit) ?? 0);
  return refused.size > 0 && [...needs].every(covers);
}

/** Whether more is needed of a limit than one of several processes may take before others. */
export function isBeyondPart(
  needs: ReadonlyMap<SharedLimit, Need>,
  parts: number,
  now: number,
): boolean {
  const isBeyond = ([limit, { amount }]: [SharedLimit, Need]): boolean =>
    lacking(limit, amount) > fairPart(limit, parts, now);
  return parts > 1 && [...needs].some(isBeyond);
}

/**
 * Writes what is wanted into a message.
 * @param sinceMs time since the last question, over which use is measured
 * @returns whether more than the least waits
 */
export function fillIn(
  list: readonly Part[],
  wanted: ReadonlyMap<SharedLimit, Need>,
  { parts, sinceMs, now }: { parts: number; sinceMs: number; now: number },
): boolean {
  let more = false;
  // Nothing is missing: the question is for those behind the first.
  const isForMore = isHere(wanted);
  for (const { limit, message } of list) {
    const need = wanted.get(limit);
    if (need === undefined || need.amount === 0) continue;
    const has = limit.allowance;
    message.min = lacking(limit, need.amount);
    message.max = Math.max(message.min, need.ahead - has);
    more ||= need.ahead > need.amount;
    if (limit instanceof SharedTurns) {
      // Another limit of the account is what is lacking.
      if (limit.hasComb) {
        message.min = 0;
        message.max = 0;
        continue;
      }
      const comb = need.ahead > need.amount ? null : limit.comb(now, parts, sinceMs);
      if (comb !== null) {
        message.comb = comb;
        message.hz = aheadMs;
        continue;
      }
      message.max = Math.max(1, Math.min(message.max, limit.most(parts) - has));
      message.hz = need.ahead > need.amount || has > 0 ? aheadMs : 0;
      continue;
    }
    message.fair = fairPart(limit, parts, now);
    if (isForMore && wantsAhead(limit, parts)) message.min = 1;
    if (message.t === "b") message.hz = aheadMs;
    const soon = limit.most(parts) - has;
    if (soon > 0) message.soon = soon;
    const rate = limit.takeUse() / sinceMs;
    message.pre = Math.ceil(Math.max(rate * prefetchMs, prefetchLeast * need.amount));
  }
  return more;
}
