import type { Algorithm, ClientCost, Rows, Usage } from "./algorithm.ts";
import type { Plan, Rate } from "./plan.ts";

/** What is lost to rounding, units: without it a wait that was told could end a hair too early. */
const epsilon = 1e-6;

/** Units used and not yet made good are the second number of a row, and tokens the third. */
const requestsAt = 1;
const tokensAt = 2;

/**
 * A bucket that holds `burst` units and fills at the rate. Seen from the other side, what has been used drains at the
 * rate, and no more than `burst` may stand in it: the leaky bucket as a meter (ITU-T I.371, annex A, shows the two to
 * be one). Both names of the configuration mean this; with `burst: 1` requests go one interval apart.
 *
 * In any span of t ms at most burst + rate × t are admitted.
 */
export const bucket = {
  create: (clients, tokens) => {
    const width = tokens ? 3 : 2;
    return { width, numbers: new Float64Array(clients * width) };
  },

  take(rows, i, now, plan, cost) {
    bucket.advance(rows, i, now, plan);
    const { numbers, width } = rows;
    const requestsMs = waitFor(plan.requests, numbers[i * width + requestsAt], cost.requests);
    const tokensMs = waitFor(plan.tokens, numbers[i * width + tokensAt], cost.tokens);
    if (requestsMs > 0 || tokensMs > 0) return Math.max(requestsMs, tokensMs);
    add(rows, i, plan, cost, 1);
    return 0;
  },

  charge(rows, i, now, plan, cost) {
    bucket.advance(rows, i, now, plan);
    add(rows, i, plan, cost, 1);
  },

  giveBack(rows, i, now, plan, cost) {
    bucket.advance(rows, i, now, plan);
    add(rows, i, plan, cost, -1);
  },

  advance({ numbers, width }, i, now, plan) {
    const start = i * width;
    const passed = now - (numbers[start] ?? 0);
    if (passed <= 0) return;
    numbers[start] = now;
    if (plan.requests !== null) {
      const used = numbers[start + requestsAt] ?? 0;
      numbers[start + requestsAt] = Math.max(0, used - passed * plan.requests.perMs);
    }
    if (plan.tokens !== null) {
      const used = numbers[start + tokensAt] ?? 0;
      numbers[start + tokensAt] = Math.max(0, used - passed * plan.tokens.perMs);
    }
  },

  used({ numbers, width }, i, unit) {
    return numbers[i * width + (unit === "requests" ? requestsAt : tokensAt)] ?? 0;
  },

  fullAt({ numbers, width }, i, plan) {
    const start = i * width;
    const requestsMs = drainMs(plan.requests, numbers[start + requestsAt]);
    const tokensMs = drainMs(plan.tokens, numbers[start + tokensAt]);
    return (numbers[start] ?? 0) + Math.max(requestsMs, tokensMs);
  },

  pack(rows, i, now, plan): Usage {
    bucket.advance(rows, i, now, plan);
    const requests = plan.requests === null ? 0 : bucket.used(rows, i, "requests");
    const tokens = plan.tokens === null ? 0 : bucket.used(rows, i, "tokens");
    return requests > 0 || tokens > 0 ? [[now, requests, tokens]] : [];
  },
} satisfies Algorithm<Rows>;

function add(
  { numbers, width }: Rows,
  i: number,
  plan: Plan,
  cost: ClientCost,
  sign: 1 | -1,
): void {
  const requests = i * width + requestsAt;
  const tokens = i * width + tokensAt;
  if (plan.requests !== null)
    numbers[requests] = Math.max(0, (numbers[requests] ?? 0) + sign * cost.requests);
  if (plan.tokens !== null)
    numbers[tokens] = Math.max(0, (numbers[tokens] ?? 0) + sign * cost.tokens);
}

function waitFor(rate: Rate | null, used = 0, amount: number): number {
  if (rate === null || amount === 0) return 0;
  const over = used + amount - rate.burst;
  if (over <= epsilon) return 0;
  return amount > rate.burst ? Infinity : over / rate.perMs;
}

function drainMs(rate: Rate | null, used = 0): number {
  return rate === null ? 0 : used / rate.perMs;
}
