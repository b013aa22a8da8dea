import type { Unit } from "../limit/cost.ts";
import type { LimitHint, LimitSpec, WindowName } from "../limit/limit.ts";
import { windowMs } from "../limit/limit.ts";

/** So many answers have to agree on a limit before it is in force. */
const believedAfter = 2;
/** More limits than any provider has on one model. */
const mostLimits = 8;
/** Larger numbers mean "unlimited". */
const largestLimit = 1e12;
/** How late a provider may count a request where the operator has not said so, ms. */
const longestMarginMs = 1_000;

/** A limit that answers have told. */
export interface LearnedLimit {
  unit: Unit;
  window: WindowName;
  limit: number;
}

interface Candidate extends LearnedLimit {
  agreeing: number;
}

/** Limits that the file leaves open and the provider's answers tell: of each unit and window the last agreed on. */
export class Learned {
  readonly #limits = new Map<string, LearnedLimit>();
  readonly #candidates = new Map<string, Candidate>();

  get limits(): readonly LearnedLimit[] {
    return [...this.#limits.values()];
  }

  /** Puts back what was known once. */
  restore(limits: readonly LearnedLimit[]): void {
    for (const limit of limits.slice(0, mostLimits)) this.#limits.set(nameOf(limit), limit);
  }

  /**
   * An answer speaks of a limit.
   * @returns whether a limit has begun or changed
   */
  see({ unit, window, limit }: LimitHint): boolean {
    if (window === null || limit === null || unit === "slots") return false;
    if (!(limit >= 1 && limit <= largestLimit)) return false;
    const seen = { unit, window, limit: Math.floor(limit) };
    const name = nameOf(seen);
    const known = this.#limits.get(name);
    if (known?.limit === seen.limit) {
      this.#candidates.delete(name);
      return false;
    }
    if (known === undefined && this.#limits.size >= mostLimits) return false;
    const candidate = this.#candidates.get(name);
    const agreeing = candidate?.limit === seen.limit ? candidate.agreeing + 1 : 1;
    if (agreeing < believedAfter) {
      if (candidate === undefined && this.#candidates.size >= mostLimits) return false;
      this.#candidates.set(name, { ...seen, agreeing });
      return false;
    }
    this.#candidates.delete(name);
    this.#limits.set(name, seen);
    return true;
  }
}

/** Those of `learned` that `configured` leaves open, as limits of the kind that it has otherwise. */
export function openSpecs(
  learned: readonly LearnedLimit[],
  configured: readonly LimitSpec[],
): LimitSpec[] {
  const metered = configured.filter((spec) => "window" in spec);
  const kind = metered[0]?.kind ?? "sliding_window";
  return learned
    .filter((limit) => !metered.some((spec) => nameOf(spec) === nameOf(limit)))
    .map((limit) => ({ kind, ...limit, marginMs: marginMs(limit.window) }));
}

function nameOf({ unit, window }: { unit: Unit; window: WindowName }): string {
  return `${unit}/${window}`;
}

function marginMs(window: WindowName): number {
  return Math.min(longestMarginMs, windowMs[window] / 10);
}
