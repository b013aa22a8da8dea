import { readDecimal } from "./duration.ts";
import { longestWaitMs, onOurClock } from "./hint-reset.ts";

/** "Fri, 31 Dec 1999 23:59:59 GMT": the one form of an HTTP-date that is still sent (RFC 9110, section 5.6.7). */
const httpDate = /^[A-Za-z]{3}, \d\d [A-Za-z]{3} \d{4} \d\d:\d\d:\d\d GMT$/;

/**
 * How long the provider asks to wait: `retry-after-ms` (OpenAI, Azure), else `Retry-After` in seconds, also
 * fractional, or as an HTTP-date (RFC 9110, section 10.2.3).
 *
 * @param now milliseconds since the epoch.
 * @returns milliseconds, 0 where the provider says so; null where it does not say, or nothing plausible: a negative
 *   wait, a date that has passed, more than 32 days.
 */
export function retryAfter(headers: Headers, now: number): number | null {
  return inMs(headers.get("retry-after-ms"), 1) ?? inSeconds(headers, now);
}

function inSeconds(headers: Headers, now: number): number | null {
  const text = headers.get("retry-after");
  if (text === null) return null;
  const wait = inMs(text, 1_000);
  if (wait !== null || text.length > 32 || !httpDate.test(text)) return wait;
  const at = onOurClock(Date.parse(text), headers, now);
  return at === null ? null : at - now;
}

function inMs(text: string | null, unitMs: number): number | null {
  const number = text === null ? null : readDecimal(text);
  const ms = number === null ? null : Math.round(number * unitMs * 1_000) / 1_000;
  return ms !== null && ms <= longestWaitMs ? ms : null;
}
