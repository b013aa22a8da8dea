import type { Unit } from "../limit/cost.ts";
import type { Entry, Limit, LimitHint, WindowName } from "../limit/limit.ts";
import { windowMs } from "../limit/limit.ts";
import { endsEarly } from "../limit/told.ts";
import type { Account } from "./account.ts";
import type { Reservation } from "./ledger.ts";

/** Tells each limit on a request's way what its answer says of it, and the accounts of limits that they leave open. */
export function tell(reservation: Reservation, now: number, hints: readonly LimitHint[]): void {
  const { accounts, limits, entries } = reservation;
  for (const hint of hints) {
    if (hint.unit === "slots") continue;
    const limit = limitOf(limits, hint.unit, hint.window);
    const entry = limit === null ? null : (entries[limits.indexOf(limit)] ?? null);
    if (isSpent(limit, entry, now, hint)) hold(accounts, limit, hint);
    limit?.hint(entry, now, hint);
    for (const account of accounts) {
      if (account.spec.learns !== true || !account.learn(hint)) continue;
      // What was used before it was known is missing from it: the answer's own number says how much that is.
      const fresh = limitOf(account.limits, hint.unit, hint.window);
      if (fresh !== null && fresh !== limit) fresh.hint(null, now, hint);
    }
  }
}

/** Whether nothing is left of a limit until its reset, and that is not for us to know better. */
function isSpent(limit: Limit | null, entry: Entry | null, now: number, hint: LimitHint): boolean {
  if (limit !== null) return limit.isSpent?.(entry, now, hint) === true;
  // Of one that is open here nobody has counted what we use.
  const { limit: told, remaining, window, resetAt } = hint;
  if (remaining !== 0 || told === null || window === null || resetAt === null) return false;
  return endsEarly(window, now, resetAt);
}

/** Lets nothing go before a limit of which nothing is left (null: one that is left open) begins anew. */
function hold(accounts: readonly Account[], limit: Limit | null, { resetAt }: LimitHint): void {
  const account = accounts.find(({ spec, limits }) =>
    limit === null ? spec.learns === true : limits.includes(limit),
  );
  if (resetAt !== null) account?.hold(resetAt);
}

/**
 * Tells the limit on `unit` and `window` of `account` (the shortest where no window is named) that the provider refused
 * `reservation` because it is full. Where the provider did not say which it was, nothing is known of any.
 */
export function tellRefused(
  account: Account,
  reservation: Reservation | null,
  now: number,
  unit: Unit | null,
  window: WindowName | null,
): void {
  const limit = unit === null ? null : limitOf(account.limits, unit, window);
  if (limit === null) return;
  const index = reservation?.limits.indexOf(limit) ?? -1;
  limit.refused(reservation?.entries[index] ?? null, now);
}

/** The limit on `unit` over `window`; the one over the shortest where none is named. Null where there is none. */
function limitOf(limits: readonly Limit[], unit: Unit, window: WindowName | null): Limit | null {
  let found: Limit | null = null;
  let shortest = Infinity;
  for (const limit of limits) {
    if (limit.unit !== unit || limit.window === null) continue;
    if (limit.window === window) return limit;
    if (window !== null) continue;
    if (windowMs[limit.window] >= shortest) continue;
    shortest = windowMs[limit.window];
    found = limit;
  }
  return found;
}
