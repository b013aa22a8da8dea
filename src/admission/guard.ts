import { amountOf } from "../limit/cost.ts";
import type { Limit } from "../limit/limit.ts";
import type { Path } from "./path.ts";
import type { Pending } from "./pending.ts";

/** What may be charged to a limit without putting a guarded start off: if nothing is refunded, and as expected. */
interface Slack {
  worst: number;
  expected: number;
}

/**
 * EASY backfilling (Lifka 1995) with two forecasts. A request that cannot start yet is guarded: another may pass it
 * only if it would still start as early, both if nothing is refunded and if running requests settle as predicted.
 *
 * The worst case alone would hold a large request back behind a crowd of small ones that each give back most of what
 * they reserve; the expectation alone would let a wrong prediction starve it.
 */
export class Guard {
  readonly #expectedAt: number;
  readonly #slack = new Map<Limit, Slack>();

  constructor(item: Pending, now: number) {
    const { limits } = item.request.path.choose(item.cost, now);
    let worstAt = now;
    let expectedAt = now;
    for (const limit of limits) {
      const amount = amountOf(item.cost, limit.unit);
      const at = limit.fitsAt(now, amount);
      worstAt = Math.max(worstAt, at);
      expectedAt = Math.max(expectedAt, at <= now ? now : limit.expectedAt(now, amount));
    }
    this.#expectedAt = expectedAt;
    for (const limit of limits) {
      const amount = amountOf(item.cost, limit.unit);
      this.#slack.set(limit, {
        worst: worstAt === Infinity ? Infinity : limit.roomAt(now, worstAt) - amount,
        expected:
          expectedAt === Infinity ? Infinity : limit.expectedRoomAt(now, expectedAt) - amount,
      });
    }
  }

  /** Whether `other`, which fits on `path` now, may pass there. */
  lets(other: Pending, path: Path, now: number): boolean {
    for (const limit of path.limits) {
      const slack = this.#slack.get(limit);
      if (slack === undefined) continue;
      if (amountOf(other.cost, limit.unit) > slack.worst) return false;
      if (this.#burden(other, limit, now) > slack.expected) return false;
    }
    return true;
  }

  /** What `other` should still occupy of `limit` at the expected start. */
  #burden(other: Pending, limit: Limit, now: number): number {
    const { outlook } = other.request;
    if (outlook === null || now + outlook.durationMs > this.#expectedAt)
      return amountOf(other.cost, limit.unit);
    return limit.unit === "slots" ? 0 : amountOf(outlook.cost, limit.unit);
  }
}
