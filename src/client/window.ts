import type { Algorithm, ClientCost, ClientUnit, Rows, Usage } from "./algorithm.ts";
import type { Plan } from "./plan.ts";

const spanMs = 60_000;
/** Instants that are told apart. */
const most = 8;
/** A millionth of a second: added to waits, so that the time told is never a fraction too early. */
const hairMs = 0.001;

/**
 * After the time (two words) a row has, as words of 32 bits: how many instants there are, their times, the requests at
 * each, and if they are limited the tokens. Of a time in ms, rounded up, the last 32 bits are kept: all are within two
 * windows of the row's own.
 */
interface WindowRows extends Rows {
  readonly words: Uint32Array;
  readonly tokens: boolean;
}
const countAt = 2;
const timesAt = 3;
const requestsAt = timesAt + most;
const tokensAt = requestsAt + most;

/**
 * Sliding window: in no span of 60 s is more admitted than the limit.
 *
 * A client's last minute is kept as up to 8 instants with what was charged at each. While there are no more, that is
 * exact. With more, the two neighbours that lose least by it become one, at the later one's time: a charge may then
 * count for somewhat longer than a minute, never for less (a client that asks for twice 600 a minute gets 562).
 * `burst` has no meaning here: a window's whole limit may go at once.
 */
export const slidingWindow = {
  create: (clients, tokens) => {
    const width = Math.ceil((tokensAt + (tokens ? most : 0)) / 2);
    const numbers = new Float64Array(clients * width);
    return { width, numbers, words: new Uint32Array(numbers.buffer), tokens };
  },

  take(rows, i, now, plan, cost) {
    slidingWindow.advance(rows, i, now);
    const requests = excess(plan.requests?.perMinute, rows, i, "requests", cost);
    const tokens = excess(plan.tokens?.perMinute, rows, i, "tokens", cost);
    if (requests > 0 || tokens > 0) return waitFor(rows, i, now, { requests, tokens });
    append(rows, i, now, plan, cost);
    return 0;
  },

  charge(rows, i, now, plan, cost) {
    slidingWindow.advance(rows, i, now);
    append(rows, i, now, plan, cost);
  },

  /** From the instant that it was charged to, or became part of. */
  giveBack(rows, i, now, _plan, cost, takenAt) {
    slidingWindow.advance(rows, i, now);
    if (now - takenAt >= spanMs) return;
    const start = startOf(rows, i);
    const taken = instant(takenAt);
    let { requests, tokens } = cost;
    let filled = countIn(rows, start);
    for (let at = start; at < start + filled; at++) {
      if (elapsed(taken, wordAt(rows, at + timesAt)) < 0) continue;
      requests -= lower(rows, at + requestsAt, requests);
      if (rows.tokens) tokens -= lower(rows, at + tokensAt, tokens);
    }
    while (filled > 0 && isEmpty(rows, start + filled - 1)) filled--;
    rows.words[start + countAt] = filled;
  },

  /** Drops what is a minute old. */
  advance(rows, i, now) {
    const { numbers, width, words } = rows;
    const before = numbers[i * width] ?? 0;
    if (now > before) numbers[i * width] = now;
    const start = startOf(rows, i);
    const filled = countIn(rows, start);
    if (filled === 0) return;
    if (now - before > spanMs + 1) return void (words[start + countAt] = 0);
    const present = Math.floor(now) >>> 0;
    let old = 0;
    while (old < filled && elapsed(wordAt(rows, start + timesAt + old), present) >= spanMs) old++;
    if (old === 0) return;
    moveDown(rows, start, start + old, start + filled);
    words[start + countAt] = filled - old;
  },

  used(rows, i, unit) {
    if (unit === "tokens" && !rows.tokens) return 0;
    const first = startOf(rows, i) + (unit === "requests" ? requestsAt : tokensAt);
    const end = first + countIn(rows, startOf(rows, i));
    let total = 0;
    for (let at = first; at < end; at++) total += rows.words[at] ?? 0;
    return total;
  },

  fullAt(rows, i) {
    const start = startOf(rows, i);
    const filled = countIn(rows, start);
    const at = rows.numbers[i * rows.width] ?? 0;
    return filled === 0 ? at : timeOf(at, wordAt(rows, start + timesAt + filled - 1)) + spanMs;
  },

  pack(rows, i, now): Usage {
    slidingWindow.advance(rows, i, now);
    const start = startOf(rows, i);
    return Array.from({ length: countIn(rows, start) }, (_, offset) => {
      const at = start + offset;
      const tokens = rows.tokens ? wordAt(rows, at + tokensAt) : 0;
      return [
        timeOf(now, wordAt(rows, at + timesAt)),
        wordAt(rows, at + requestsAt),
        tokens,
      ] as const;
    });
  },
} satisfies Algorithm<WindowRows>;

/** The first word of a row. */
function startOf({ width }: WindowRows, i: number): number {
  return i * width * 2;
}

function wordAt({ words }: WindowRows, at: number): number {
  return words[at] ?? 0;
}

function countIn(rows: WindowRows, start: number): number {
  return wordAt(rows, start + countAt);
}

/** The last 32 bits of a time, rounded up to whole milliseconds. */
function instant(time: number): number {
  return Math.ceil(time) >>> 0;
}

/** Milliseconds from one such time to another, within 24 days either way. */
function elapsed(from: number, to: number): number {
  return (to - from) | 0;
}

/** The whole time that ends in these bits, near `reference`. */
function timeOf(reference: number, bits: number): number {
  const near = Math.floor(reference);
  return near + elapsed(near >>> 0, bits);
}

/** How many units too many the cost is; 0 or less if it fits, Infinity if it never can. */
function excess(
  limit: number | undefined,
  rows: WindowRows,
  i: number,
  unit: ClientUnit,
  cost: ClientCost,
): number {
  const amount = cost[unit];
  if (limit === undefined || amount === 0) return 0;
  return amount > limit ? Infinity : slidingWindow.used(rows, i, unit) + amount - limit;
}

/** Milliseconds until what is over has become a minute old. */
function waitFor(rows: WindowRows, i: number, now: number, over: ClientCost): number {
  let { requests, tokens } = over;
  const start = startOf(rows, i);
  const end = start + countIn(rows, start);
  for (let at = start; at < end; at++) {
    requests -= wordAt(rows, at + requestsAt);
    if (rows.tokens) tokens -= wordAt(rows, at + tokensAt);
    if (requests <= 0 && tokens <= 0)
      return timeOf(now, wordAt(rows, at + timesAt)) + spanMs - now + hairMs;
  }
  return Infinity;
}

/** Adds a charge at `now`. */
function append(rows: WindowRows, i: number, now: number, plan: Plan, cost: ClientCost): void {
  const { words } = rows;
  const start = startOf(rows, i);
  const time = instant(now);
  let filled = countIn(rows, start);
  if (filled === 0 || wordAt(rows, start + timesAt + filled - 1) !== time) {
    if (filled === most) {
      mergeCheapest(rows, start, plan);
      filled--;
    }
    words[start + timesAt + filled] = time;
    words[start + requestsAt + filled] = 0;
    if (rows.tokens) words[start + tokensAt + filled] = 0;
    filled++;
    words[start + countAt] = filled;
  }
  const last = start + filled - 1;
  words[last + requestsAt] = wordAt(rows, last + requestsAt) + Math.ceil(cost.requests);
  if (rows.tokens) words[last + tokensAt] = wordAt(rows, last + tokensAt) + Math.ceil(cost.tokens);
}

/**
 * Makes room in a full row: what was charged at one instant goes to the next, where that delays the least share of the
 * limits by the least time.
 */
function mergeCheapest(rows: WindowRows, start: number, plan: Plan): void {
  const { words } = rows;
  const perRequest = plan.requests === null ? 0 : 1 / plan.requests.perMinute;
  const perToken = plan.tokens === null ? 0 : 1 / plan.tokens.perMinute;
  let best = start;
  let least = Infinity;
  for (let at = start; at < start + most - 1; at++) {
    const tokens = rows.tokens ? wordAt(rows, at + tokensAt) : 0;
    const share = wordAt(rows, at + requestsAt) * perRequest + tokens * perToken;
    const lost = share * elapsed(wordAt(rows, at + timesAt), wordAt(rows, at + timesAt + 1));
    if (lost >= least) continue;
    best = at;
    least = lost;
  }
  for (const amounts of rows.tokens ? [requestsAt, tokensAt] : [requestsAt])
    words[best + amounts + 1] = wordAt(rows, best + amounts + 1) + wordAt(rows, best + amounts);
  moveDown(rows, best, best + 1, start + most);
}

/** Moves instants `from` to `end` (exclusive) down to `to`. */
function moveDown({ words, tokens }: WindowRows, to: number, from: number, end: number): void {
  words.copyWithin(to + timesAt, from + timesAt, end + timesAt);
  words.copyWithin(to + requestsAt, from + requestsAt, end + requestsAt);
  if (tokens) words.copyWithin(to + tokensAt, from + tokensAt, end + tokensAt);
}

/** Takes up to `amount` from a word. @returns how much that was */
function lower({ words }: WindowRows, at: number, amount: number): number {
  const taken = Math.max(0, Math.min(amount, words[at] ?? 0));
  if (taken > 0) words[at] = (words[at] ?? 0) - taken;
  return taken;
}

function isEmpty(rows: WindowRows, at: number): boolean {
  const tokens = rows.tokens ? wordAt(rows, at + tokensAt) : 0;
  return wordAt(rows, at + requestsAt) === 0 && tokens === 0;
}
