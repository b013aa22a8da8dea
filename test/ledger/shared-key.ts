import type { Account } from "../../src/ledger/account.ts";
import type { Ledger, Reservation } from "../../src/ledger/ledger.ts";
import type { Cost } from "../../src/limit/cost.ts";
import type { LimitHint } from "../../src/limit/limit.ts";
import { Heap } from "../../src/queue/heap.ts";

const windowMs = 60_000;
/** How late after dispatch it counts a request. */
const marginMs = 1_000;
/** How soon others try again what was refused to them, on average. */
const otherRetryMs = 1_000;

/** A provider's own count of one unit over a minute. */
interface Meter {
  readonly limit: number;
  /** Counted now, in units. */
  counted(now: number): number;
  take(now: number, amount: number): { revise(now: number, actual: number): void };
}

/** Remembers each moment of counting. */
function exactWindow(limit: number): Meter {
  const entries: { at: number; amount: number }[] = [];
  let first = 0;
  let sum = 0;
  const expire = (now: number): void => {
    for (let entry = entries[first]; entry !== undefined; entry = entries[first]) {
      if (entry.at + windowMs > now) return;
      sum -= entry.amount;
      first++;
    }
  };
  return {
    limit,
    counted(now) {
      expire(now);
      return sum;
    },
    take(at, amount) {
      const entry = { at, amount };
      entries.push(entry);
      sum += amount;
      return {
        revise(now, actual) {
          expire(now);
          if (at + windowMs > now) sum += actual - entry.amount;
          entry.amount = actual;
        },
      };
    },
  };
}

/** Fills up again at `limit` a minute, at every instant. */
function continuousBucket(limit: number): Meter {
  let missing = 0;
  let last = 0;
  const drain = (now: number): void => {
    missing = Math.max(0, missing - ((now - last) * limit) / windowMs);
    last = now;
  };
  return {
    limit,
    counted(now) {
      drain(now);
      return missing;
    },
    take(at, amount) {
      drain(at);
      missing += amount;
      return {
        revise(now, actual) {
          drain(now);
          missing = Math.max(0, missing + actual - amount);
        },
      };
    },
  };
}

const meters = { sliding_window: exactWindow, token_bucket: continuousBucket };

export interface SharedKey {
  seed: number;
  meter: keyof typeof meters;
  rpm: number;
  tpm: number;
  /** What others use, as a share of whichever limit binds; they come at random. */
  externalShare: number;
  /** Others are there from and until these times, ms from the start. */
  externalFrom?: number;
  externalUntil?: number;
  /** Tokens of a request: as reserved, and which part of them is charged in the end. */
  tokens: { from: number; to: number; actualShare: number };
  /** From dispatch to headers, and from there to the end of the answer, ms. */
  latencyMs: { from: number; to: number };
  answerMs: { from: number; to: number };
  /** Whether the provider looks at what remains when it counts, or when it answers. */
  looks: "counting" | "answering";
  minutes: number;
  onRefused?(afterMs: number): void;
  /** How much our clients ask for, as a multiple of the limit; if absent, they always have more to send. */
  offered?: number;
}

export interface Outcome {
  dispatched: number;
  refused: number;
  /** Our part of what others left, over all but the first two minutes. */
  use: number;
}

/** Numbers from 0 up to 1, the same for the same seed (mulberry32). */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Clients that take all that the ledger lets them have, on a key that others use as well, against a provider with a
 * count of its own. All requests to it tell their cost truly; what it refuses is not counted.
 */
export function share(ledger: Ledger, account: Account, given: SharedKey): Outcome {
  const draw = random(given.seed);
  const between = ({ from, to }: { from: number; to: number }): number =>
    from + draw() * (to - from);
  const limits = {
    requests: meters[given.meter](given.rpm),
    tokens: meters[given.meter](given.tpm),
  };
  const start = 1_700_000_000_000;
  const end = start + given.minutes * windowMs;
  const measuredFrom = start + 2 * windowMs;
  const events = new Heap<{ at: number; run: (now: number) => void; place: number }>(
    (a, b) => a.at < b.at,
  );
  const later = (at: number, run: (now: number) => void): void =>
    events.push({ at, run, place: -1 });
  const meanTokens = (given.tokens.from + given.tokens.to) / 2;
  const bindsTokens = given.tpm / meanTokens / given.rpm < 1;

  const hints = (now: number): LimitHint[] =>
    (["requests", "tokens"] as const).map((unit) => {
      const { limit } = limits[unit];
      const remaining = Math.max(0, Math.floor(limit - limits[unit].counted(now)));
      return { unit, window: "minute", limit, remaining, resetAt: null };
    });

  // Ours and others', as the provider counts it.
  let own = 0;
  let ownIntegral = 0;
  let roomIntegral = 0;
  let countedAt = start;
  let ownTaken = 0;
  let othersTaken = 0;
  const unit = bindsTokens ? "tokens" : "requests";
  const look = (now: number): void => {
    const from = Math.max(countedAt, measuredFrom);
    if (now > from) {
      const others = limits[unit].counted(now) - own;
      ownIntegral += own * (now - from);
      roomIntegral += (limits[unit].limit - others) * (now - from);
    }
    countedAt = now;
  };

  const fits = (now: number, cost: { requests: number; tokens: number }): boolean =>
    limits.requests.counted(now) + cost.requests <= limits.requests.limit &&
    limits.tokens.counted(now) + cost.tokens <= limits.tokens.limit;

  // Others.
  const rate = (given.externalShare * given[bindsTokens ? "tpm" : "rpm"]) / windowMs;
  const perMs = bindsTokens ? rate / meanTokens : rate;
  const tryOther = (now: number, tokens: number): void => {
    if (!fits(now, { requests: 1, tokens })) {
      return later(now + otherRetryMs * (0.5 + draw()), (at) => tryOther(at, tokens));
    }
    look(now);
    limits.requests.take(now, 1);
    limits.tokens.take(now, tokens);
    if (now > measuredFrom) othersTaken += bindsTokens ? tokens : 1;
  };
  const others = (now: number): void => {
    const isThere =
      now >= start + (given.externalFrom ?? -Infinity) &&
      now < start + (given.externalUntil ?? Infinity);
    if (isThere) tryOther(now, Math.floor(between(given.tokens)));
    later(now - Math.log(1 - draw()) / perMs, others);
  };
  // They were there before us.
  if (rate > 0) later(start - 2 * windowMs, others);

  // We.
  let dispatched = 0;
  let refused = 0;
  let wakeAt = Infinity;
  let backlog = given.offered === undefined ? Infinity : 0;
  let next = Math.floor(between(given.tokens));
  const dispatch = (reservation: Reservation, now: number, reserved: number): void => {
    dispatched++;
    ledger.sent(reservation, now);
    const headersAt = now + between(given.latencyMs);
    const actual = Math.max(1, Math.floor(reserved * given.tokens.actualShare));
    later(now + draw() * Math.min(headersAt - now, marginMs), (at) => {
      look(at);
      const isRefused = !fits(at, { requests: 1, tokens: reserved });
      if (isRefused) {
        refused++;
        backlog++;
        given.onRefused?.(at - start);
        return later(headersAt, (seen) => {
          ledger.arrived(reservation, seen);
          // It says how long to wait: then what remains is not looked at.
          ledger.refused(account, reservation, seen, unit, "minute");
          ledger.settle(reservation, seen, costOf(0, 0));
          account.hold(seen + 1_000);
          pump(seen);
        });
      }
      limits.requests.take(at, 1);
      const taken = limits.tokens.take(at, reserved);
      const amount = bindsTokens ? reserved : 1;
      own += amount;
      let ownNow = amount;
      const told = hints(at);
      if (at > measuredFrom) ownTaken += bindsTokens ? actual : 1;
      later(at + windowMs, (gone) => {
        look(gone);
        own -= ownNow;
        ownNow = 0;
      });
      later(headersAt, (seen) => {
        ledger.arrived(reservation, seen);
        ledger.hint(reservation, seen, given.looks === "counting" ? told : hints(seen));
        pump(seen);
      });
      const endsAt = headersAt + between(given.answerMs);
      later(Math.max(headersAt, endsAt - 10), (done) => {
        look(done);
        taken.revise(done, actual);
        if (!bindsTokens || ownNow === 0) return;
        own += actual - ownNow;
        ownNow = actual;
      });
      later(endsAt, (done) => {
        ledger.settle(reservation, done, costOf(1, actual));
        pump(done);
      });
    });
  };
  const pump = (now: number): void => {
    if (now >= end) return;
    while (backlog > 0) {
      const reserved = next;
      const made = ledger.reserve(now, [account], costOf(1, reserved), {
        outlook: null,
        uploading: false,
      });
      if ("retryAt" in made) {
        if (made.retryAt <= now) throw new Error("Fits now and does not");
        if (made.retryAt < wakeAt || wakeAt <= now) {
          wakeAt = made.retryAt;
          later(wakeAt, pump);
        }
        return;
      }
      backlog--;
      dispatch(made, now, reserved);
      next = Math.floor(between(given.tokens));
    }
  };
  const arrive = (now: number): void => {
    backlog++;
    pump(now);
    const perMinute = bindsTokens ? given.tpm / meanTokens / given.tokens.actualShare : given.rpm;
    later(now - (Math.log(1 - draw()) * windowMs) / (perMinute * (given.offered ?? 1)), arrive);
  };
  later(start, given.offered === undefined ? pump : arrive);
  for (let event = events.first(); event !== undefined && event.at < end; event = events.first()) {
    events.remove(event);
    event.run(event.at);
  }
  look(end);
  const minutes = given.minutes - 2;
  const use =
    given.meter === "sliding_window"
      ? ownIntegral / roomIntegral
      : ownTaken / (limits[unit].limit * minutes - othersTaken);
  return { dispatched, refused, use };
}

function costOf(requests: number, tokens: number): Cost {
  return { requests, tokens, input_tokens: tokens, output_tokens: 0, total_tokens: tokens };
}
