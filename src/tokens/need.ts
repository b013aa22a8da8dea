/** How much of an over-large output cap a route has ever needed, for providers that reserve the cap. */
import { type Level, newLevel, observeLevel } from "./drift.ts";
import { packNeed, unpackNeed } from "./need-form.ts";
import { FadingHistogram } from "./quantile.ts";
import { Remembered } from "./remembered.ts";

/**
 * Answers of a route that must have ended before its caps are lowered. Twice as many would miss long answers that make
 * up 5 % of a route once in 170 routes instead of once in 13; simulated, it cuts no fewer, as the factor below and the
 * least share make up for it, and it costs a third of the first minutes.
 */
const firstAt = 50;
/** About so many answers are remembered: enough that the p99.95 below rests on two of them. */
const memory = 4096;
/** After a change, so many answers tell as much as is needed, and those before it no longer count. */
const relearnedAt = 1000;
/** A cap is lowered if at least this share of it is saved: less is not worth a changed request. */
const leastSaved = 0.2;
/** No cap is lowered to less than this share: saving the last tenth would add little and cut more when answers change. */
const leastShare = 0.1;
/** Caps below this are left alone. */
const leastCap = 256;

/** The share of answers that the lowered cap leaves whole as far as they have been seen. */
const covered = 0.9995;
/** Standard deviations (of a normal distribution) to which the tail is continued: 1 answer in 4,300 lies beyond. */
const reach = 3.5;
const leastFactor = 1.15;
/** What a cap is at least over all that was seen when lowering begins. It shrinks with the 0.4th power of the answers. */
const firstFactor = 3;
const factorShrinks = 0.4;

/** A cut answer makes caps so many times as large at once. */
const raiseBy = 4;
/** Of the answers, so many may at most be cut in the long run, whatever they do. */
const cutShare = 1 / 1000;
/** A route that has been cut less than that may save up so many cuts, and be cautious for a shorter time after each. */
const mostCredit = 3;
const shortCaution = 4;
/** A change that is none costs 100 answers' reservations, so it should be rarer than for predictions. */
const driftThreshold = 4;
const mostRoutes = 6;

/** An answer that has ended by itself. Tokens. */
export interface NeedSeen {
  readonly output: number;
  /** What the client allowed. */
  readonly cap: number;
  /** What was sent upstream: the cap, or less. */
  readonly sentCap: number;
  /** Whether the provider says that the answer ended because of the cap. */
  readonly stoppedForLength: boolean;
}

export interface Needs {
  /**
   * What to send instead of `cap` as the limit of output tokens: less, if answers to requests of this key with a cap
   * of this size have needed much less; null to leave it as it is.
   *
   * - Until 50 answers have ended, and for 50 after their length has changed: null.
   * - Then what 99.95 % of the last 4,000 or so have needed (all of them, while they are fewer than 2,000), continued
   *   outward to 3.5 standard deviations as a lognormal tail would go, and at least 3 times it at 50 answers, 2.3 at
   *   100, 1.15 from 550 on. Of n answers that are alike, the next exceeds all with a chance of 1/(n+1): from 1,000 on
   *   the largest seen is itself what 99.9 % need, before that the factor makes up for it.
   * - A cut makes it four times as much at once, a second one soon after gives the client's own cap. That fades over
   *   1,000 answers for each factor of four, or 250 where the route had been cut less than 1 in 1,000 times before: in
   *   the long run no more than 1 in 1,000 can be cut, however the answers change (the argument of Gibbs and Candès,
   *   Adaptive Conformal Inference, https://arxiv.org/abs/2106.00170).
   *
   * Simulated with 32 in flight and a cap of 32,000: 0.00 to 0.03 % of answers cut over 100,000, lognormal ones
   * of σ 0.5 to 1.2 and routes with 0.2 to 5 % of long ones; 0.02 to 0.24 % of the 2,000 after a five-fold drift.
   * A route that needs 400 (σ 0.8) is sent 5,200 instead of 32,000 in the mean.
   */
  capFor(key: string, cap: number): number | null;
  /** Takes in an answer. */
  learn(key: string, seen: NeedSeen): void;
  /** All that was learned, for storing. */
  toJSON(): unknown;
  /** Takes over what was stored; entries that make no sense are left out. */
  restore(stored: unknown): void;
  /** For a store that writes single keys. */
  readonly keys: Remembered<Routes>;
}

/** Requests of one key whose caps are between two powers of two. */
export interface Route {
  /** Answers since the route began or last changed; counts to `memory` at most. */
  seen: number;
  /** Output tokens of those answers. */
  current: FadingHistogram;
  /** And of those before the change, until the new ones tell enough. */
  before: FadingHistogram | null;
  level: Level;
  /** By what power of e caps are raised because of cuts; 0 for not at all. */
  raised: number;
  /** Cuts that the route has left of its share: 0 to 3. */
  credit: number;
}

/** By the binary logarithm of the cap. */
export type Routes = Map<number, Route>;

/** A route of which nothing is known. */
function newRoute(): Route {
  return {
    seen: 0,
    current: newHistogram(),
    before: null,
    level: newLevel(),
    raised: 0,
    credit: 0,
  };
}

function newHistogram(): FadingHistogram {
  return new FadingHistogram(memory);
}

/** Learns what answers need for each key (a quota and a model, and best the client), of the 1,000 keys used last. */
export function createNeeds(): Needs {
  const keys = new Remembered<Routes>({
    make: () => new Map(),
    pack: packNeed,
    unpack: (stored) => unpackNeed(stored, memory),
  });
  return {
    keys,
    capFor: (key, cap) => {
      if (!(cap >= leastCap && cap < Infinity)) return null;
      const route = keys.get(key)?.get(sizeOf(cap));
      if (route === undefined || route.seen < firstAt) return null;
      const lowered = Math.ceil(Math.max(cap * leastShare, needOf(route) * Math.exp(route.raised)));
      return lowered <= cap * (1 - leastSaved) ? lowered : null;
    },
    learn: (key, seen) => {
      const { output, cap, sentCap } = seen;
      if (!(output >= 0 && output < Infinity && cap >= 1 && cap < Infinity && sentCap >= 1)) return;
      const routes = keys.change(key);
      learn(routeFor(routes, sizeOf(cap)), seen);
    },
    toJSON: () => keys.toJSON(),
    restore: (stored) => keys.restore(stored),
  };
}

function sizeOf(cap: number): number {
  return Math.floor(Math.log2(cap));
}

function routeFor(routes: Routes, size: number): Route {
  let route = routes.get(size);
  if (route === undefined) {
    route = newRoute();
    // The smallest caps have the least to be saved.
    if (routes.size >= mostRoutes) routes.delete(Math.min(...routes.keys()));
    routes.set(size, route);
  }
  return route;
}

function learn(route: Route, { output, cap, sentCap, stoppedForLength }: NeedSeen): void {
  const cut = sentCap < cap && (stoppedForLength || output >= sentCap);
  if (cut) {
    const again = route.raised > Math.log(raiseBy) / 2;
    const whole = Math.log(cap / Math.max(1, needOf(route)));
    // Never by less than a cut's share, or caps that are too low again and again would not be paid for.
    route.raised += Math.log(raiseBy);
    if (again) route.raised = Math.max(route.raised, whole);
    route.credit = Math.max(0, route.credit - 1);
  } else {
    const pace = route.credit >= 1 ? shortCaution : 1;
    route.raised = Math.max(0, route.raised - Math.log(raiseBy) * cutShare * pace);
    route.credit = Math.min(mostCredit, route.credit + cutShare);
  }
  route.current.add(output);
  route.seen = Math.min(memory, route.seen + 1);
  if (observeLevel(route.level, output, driftThreshold)) {
    // Answers of another kind: what these need is not known yet. What the old ones needed is still a lower bound.
    if (route.before === null) route.before = route.current;
    else route.before.absorb(route.current);
    route.current = newHistogram();
    route.seen = 0;
  } else if (route.seen >= relearnedAt) {
    route.before = null;
  }
}

/** Output tokens that practically all answers of `route` need at most, cuts aside. */
function needOf({ seen, current, before }: Route): number {
  const largest = Math.max(current.quantile(covered), before?.quantile(covered) ?? 0);
  const median = Math.max(1, current.quantile(0.5));
  // The largest of n lies about where 1 in n is beyond: as far as the logarithms are normal, `reach` is further out
  // by the ratio of the two.
  const known = normalBeyond(Math.max(1 / Math.max(2, seen), 1 - covered));
  const outward = Math.max(1, largest / median) ** Math.max(0, reach / known - 1);
  const least = Math.max(leastFactor, firstFactor * (firstAt / Math.max(1, seen)) ** factorShrinks);
  return largest * Math.max(outward, least);
}

/** How many standard deviations the upper tail of share `q` begins at (Abramowitz and Stegun 26.2.23, within 0.0005). */
function normalBeyond(q: number): number {
  const t = Math.sqrt(-2 * Math.log(q));
  return (
    t -
    (2.515517 + t * (0.802853 + t * 0.010328)) /
      (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
  );
}
