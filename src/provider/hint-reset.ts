import type { HeaderReader } from "../header-fields.ts";
import { readDecimal, readDuration } from "./duration.ts";

/** Waits beyond this (milliseconds: 32 days, a month and a little) are mistakes or jokes, and ignored. */
export const longestWaitMs = 32 * 86_400_000;

/** From where on a bare number is seconds since 1970 (in 2001) and no longer a wait. */
const firstEpochSeconds = 1_000_000_000;
/** From where on it is milliseconds since 1970 (also 2001). */
const firstEpochMs = 1_000_000_000_000;

/** A difference between clocks below this, in milliseconds, may be rounding and travel time. */
const toleratedSkewMs = 5_000;
/** A larger difference than this is no wrong clock: with that, TLS would already have failed. */
const largestSkewMs = 86_400_000;

const longestText = 64;
const rfc3339 = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/;

/**
 * When a limit resets, from any way providers write it; they are told apart by shape and size:
 * durations (`6m0s`, `120ms`: OpenAI, Groq), seconds from now (`33011.38`: Cerebras, Azure, IETF drafts),
 * RFC 3339 (Anthropic), seconds since 1970 (GitHub) and milliseconds since 1970 (OpenRouter).
 *
 * Times of day are set right by the answer's `Date` where the two clocks plainly differ.
 * @param now milliseconds since the epoch.
 * @returns milliseconds since the epoch; null where `text` is none of these, not after `now`, or over 32 days off.
 */
export function readReset(text: string, headers: HeaderReader, now: number): number | null {
  if (text.length > longestText) return null;
  const number = readDecimal(text);
  if (number !== null) {
    if (number * 1_000 <= longestWaitMs) return plausible(now + number * 1_000, now);
    if (number < firstEpochSeconds) return null;
    return onOurClock(number < firstEpochMs ? number * 1_000 : number, headers, now);
  }
  const duration = readDuration(text);
  if (duration !== null) return plausible(now + duration, now);
  return rfc3339.test(text) ? onOurClock(Date.parse(text), headers, now) : null;
}

/**
 * An instant that the provider named by its own clock, on ours.
 *
 * @param at milliseconds since the epoch on the provider's clock; may be NaN.
 * @returns milliseconds since the epoch; null where that is not after `now`, or over 32 days off.
 */
export function onOurClock(at: number, headers: HeaderReader, now: number): number | null {
  const date = headers.get("date");
  if (date === null || date.length > longestText) return plausible(at, now);
  const ahead = Date.parse(date) - now;
  const isSkew = Math.abs(ahead) >= toleratedSkewMs && Math.abs(ahead) <= largestSkewMs;
  return plausible(isSkew ? at - ahead : at, now);
}

function plausible(at: number, now: number): number | null {
  return at > now && at - now <= longestWaitMs ? at : null;
}
