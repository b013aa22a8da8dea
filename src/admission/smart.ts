import type { Account } from "../ledger/account.ts";
import type { Line } from "../queue/line.ts";
import type { Pending } from "./pending.ts";

/**
 * Whether small requests go first in `line`: the token limit is fuller than the threshold and tighter than that of
 * requests. `now` is ms since the epoch.
 */
export function isSmart(line: Line, now: number): boolean {
  const item = line.anyone() as Pending | null;
  if (item === null) return false;
  const { accounts } = item.request.path.choose(item.cost, now);
  for (const account of accounts) if (prefersSmall(account, now)) return true;
  return false;
}

function prefersSmall(account: Account, now: number): boolean {
  const { priorityThreshold } = account.spec;
  if (priorityThreshold === null) return false;
  let tokens = 0;
  let requests = 0;
  for (const limit of account.limits) {
    if (limit.unit === "slots" || limit.max === Infinity) continue;
    const ratio = 1 - limit.usage(now).remaining / limit.max;
    if (limit.unit === "requests") requests = Math.max(requests, ratio);
    else tokens = Math.max(tokens, ratio);
  }
  return tokens > priorityThreshold && tokens > requests;
}
