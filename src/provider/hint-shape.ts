import { readDecimal } from "./duration.ts";

export type HintUnit = "requests" | "tokens" | "input_tokens" | "output_tokens";
export type HintWindow = "second" | "minute" | "hour" | "day";

/**
 * What a provider's answer says of one of its limits. At least one of the three numbers is there.
 *
 * There may be several of one unit and window (OpenAI's organisation and project): each holds by itself.
 */
export interface Hint {
  unit: HintUnit;
  /** The span `limit` is for; null where the provider does not say. */
  window: HintWindow | null;
  /** Units per window; above 0. */
  limit: number | null;
  /** Units left, counted by the provider when it took the request; at most `limit`. */
  remaining: number | null;
  /**
   * Milliseconds since the epoch, later than the answer. OpenAI, Groq and Anthropic mean when all of `limit` is there
   * again (with some of it sooner); Cerebras, Azure, GitHub, OpenRouter and the IETF drafts when the window ends.
   */
  resetAt: number | null;
}

/** Counts above this are a way of saying "no limit". */
const mostUnits = 1e12;

/** A hint from what was read, or null where that says nothing or contradicts itself. */
export function hintOf(
  unit: HintUnit,
  window: HintWindow | null,
  { limit, remaining, resetAt }: Pick<Hint, "limit" | "remaining" | "resetAt">,
): Hint | null {
  if (limit === 0 || (limit !== null && remaining !== null && remaining > limit)) return null;
  if (limit === null && remaining === null && resetAt === null) return null;
  return { unit, window, limit, remaining, resetAt };
}

/** A whole number of units, or null where `text` is none. */
export function readUnits(text: string | null): number | null {
  const number = text === null ? null : readDecimal(text);
  return number === null || number > mostUnits ? null : Math.floor(number);
}

/** Whether a stated limit is a way of saying that there is none: -1, or more than anyone could use. */
export function isNoLimit(text: string): boolean {
  return text.length <= 32 && (text.startsWith("-") || Number(text) > mostUnits);
}
