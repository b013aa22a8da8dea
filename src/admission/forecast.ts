import type { Cost } from "../limit/cost.ts";
import { amountOf } from "../limit/cost.ts";
import type { Limit } from "../limit/limit.ts";
import { windowMs } from "../limit/limit.ts";

/** Told where only a running request's end makes room and nothing says when that is, ms. */
const unknownWaitMs = 1_000;

/** Whether `cost` fits into every limit now. */
export function fits(limits: readonly Limit[], cost: Readonly<Cost>, now: number): boolean {
  for (const limit of limits) if (!limit.fits(now, amountOf(cost, limit.unit))) return false;
  return true;
}

/** The first limit that `cost` exceeds even when it is empty, or null. */
export function exceeded(limits: readonly Limit[], cost: Readonly<Cost>): Limit | null {
  return limits.find((limit) => amountOf(cost, limit.unit) > limit.max) ?? null;
}

/** When `cost` fits into every limit if nothing is refunded; Infinity where time alone does not help. */
export function worstStart(limits: readonly Limit[], cost: Readonly<Cost>, now: number): number {
  let at = now;
  for (const limit of limits) at = Math.max(at, limit.fitsAt(now, amountOf(cost, limit.unit)));
  return at;
}

/** No start can be earlier than this, even if every open reservation were refunded now. */
export function earliestStart(limits: readonly Limit[], cost: Readonly<Cost>, now: number): number {
  let at = now;
  for (const limit of limits) at = Math.max(at, limit.earliestAt(now, amountOf(cost, limit.unit)));
  return at;
}

/**
 * When a request of `cost` could start behind requests of `ahead` in all, if nothing is refunded: exact where nothing
 * can be, else an upper bound.
 */
export function startBehind(
  limits: readonly Limit[],
  cost: Readonly<Cost>,
  ahead: Readonly<Cost>,
  now: number,
): number {
  let at = now;
  for (const limit of limits) {
    const own = amountOf(cost, limit.unit);
    if (limit.unit === "slots") {
      const free = limit.expectedAt(now, own);
      at = Math.max(at, free === Infinity ? now + unknownWaitMs : free);
      continue;
    }
    // What a window lets through comes back one window later: whole limits ahead cost whole windows.
    const amount = own + ahead[limit.unit];
    const rounds = limit.window === null ? 0 : Math.ceil(amount / limit.max) - 1;
    const wait = rounds <= 0 ? 0 : rounds * (limit.window === null ? 0 : windowMs[limit.window]);
    const rest = rounds <= 0 ? amount : amount - rounds * limit.max;
    at = Math.max(at, limit.fitsAt(now, rest) + wait);
  }
  return at === Infinity ? now + unknownWaitMs : at;
}
