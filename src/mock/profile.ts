import type { Call, Reading, ReadingContext, StreamUsage } from "./call.ts";
import type { Algorithm, Limit, LimitName } from "./limit.ts";
import type { LimitState } from "./quota.ts";

/**
 * How one provider behaves: what it understands, what it charges, what it says about its limits. A further
 * provider is one file that holds one of these, and one row in `profiles.ts`.
 */
export interface Profile {
  /** What the limits count: whether token windows make sense at all. */
  metersTokens: boolean;
  algorithm: Algorithm;
  /** Limits where the user sets none at all. */
  limits: Partial<Record<LimitName, number>>;
  streamUsage: StreamUsage;
  read(request: Request, url: URL, context: ReadingContext): Promise<Reading>;
  /**
   * Tokens taken at admission.
   *
   * @param assumedOutputTokens what to take for the output of a call that sets no bound itself.
   */
  reservedTokens(call: Exclude<Call, { kind: "free" }>, assumedOutputTokens: number): number;
  /** What every metered answer says about the limits. */
  headers(state: readonly LimitState[]): Record<string, string>;
  /** The 429's status line, headers besides those and `Retry-After`, and body. */
  refusal(by: Limit): Response;
  error(status: number, message: string): Response;
}
