import type { MeteredCall, Reading, ReadingContext, StreamUsage } from "./call.ts";
import { wholeUnits } from "./duration.ts";
import type { Algorithm, LimitName, LimitValues, Unit } from "./limit.ts";
import type { LimitState, Refused } from "./quota.ts";

/**
 * What becomes of the tokens taken at admission when the answer has ended: they are replaced by what was used,
 * or they stay what was reserved.
 */
export type Settling = "actual" | "reserved";

/** A 429 to be worded: which limit, and for which call. */
export interface Refusal extends Refused {
  model: string;
}

/**
 * How one provider behaves: what it understands, what it charges, what it says about its limits. A further
 * provider is one file that holds one of these, and one row in `profiles.ts`.
 */
export interface Profile {
  /** What its limits count. */
  units: readonly Unit[];
  algorithm: Algorithm;
  /** Limits where the user sets none at all. */
  limits: Partial<Record<LimitName, number>>;
  /** Limits that follow from others where the user does not set them. */
  derivedLimits?(limits: LimitValues): LimitValues;
  streamUsage: StreamUsage;
  settling: Settling;
  /** Whether cached input is left out of `tokens` and `input_tokens` when a call is settled. */
  cachedIsFree: boolean;
  /** Whether a refused request counts as a request. */
  chargesRefused: boolean;
  /** The header that carries the request's id; null where the provider sends none. */
  idHeader: string | null;
  read(request: Request, url: URL, context: ReadingContext): Promise<Reading>;
  /**
   * Tokens taken at admission.
   *
   * @param assumedOutputTokens what to take for the output of a call that sets no bound itself.
   */
  reservedTokens(call: MeteredCall, assumedOutputTokens: number): number;
  /** What every metered answer says about the limits. */
  headers(state: readonly LimitState[], now: number): Record<string, string>;
  /** The refusal's status line, headers besides those, and body. */
  refusal(refusal: Refusal, id: string): Response;
  /** What an account without credit is told; null where the provider has no such answer. */
  outOfCredit: ((id: string) => Response) | null;
  error(status: number, message: string, id: string): Response;
}

/**
 * Whole seconds until a refused call fits, as `Retry-After` has them; no header for a call over the whole
 * limit, which fits at no time.
 */
export function retryAfter({ waitMs }: Refused): Record<string, string> {
  return waitMs === Infinity ? {} : { "retry-after": String(wholeUnits(waitMs, 1000)) };
}
