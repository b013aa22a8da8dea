import type { HeaderReader } from "../header-fields.ts";
import { readDecimal } from "./duration.ts";
import { longestWaitMs, onOurClock } from "./hint-reset.ts";

/**
 * The three forms of an HTTP-date, all of which are to be understood (RFC 9110, section 5.6.7): as now, "Sun, 06 Nov
 * 1994 08:49:37 GMT", and the obsolete "Sunday, 06-Nov-94 08:49:37 GMT" and "Sun Nov  6 08:49:37 1994".
 */
const imfDate = /^[A-Za-z]{3}, \d\d [A-Za-z]{3} \d{4} \d\d:\d\d:\d\d GMT$/;
const rfc850Date = /^[A-Za-z]{6,9}, (\d\d)-([A-Za-z]{3})-(\d\d) (\d\d:\d\d:\d\d) GMT$/;
const asctimeDate = /^[A-Za-z]{3} ([A-Za-z]{3}) ([ \d]\d) (\d\d:\d\d:\d\d) (\d{4})$/;
const longestDate = 33;

/**
 * How long the provider asks to wait: `retry-after-ms` (OpenAI, Azure), else `Retry-After` in seconds, also
 * fractional, or as an HTTP-date (RFC 9110, section 10.2.3).
 *
 * @param now milliseconds since the epoch.
 * @returns milliseconds, 0 where the provider says so; null where it does not say, or nothing plausible: a negative
 *   wait, a date that has passed, more than 32 days.
 */
export function retryAfter(headers: HeaderReader, now: number): number | null {
  return inMs(headers.get("retry-after-ms"), 1) ?? inSeconds(headers, now);
}

function inSeconds(headers: HeaderReader, now: number): number | null {
  const text = headers.get("retry-after");
  if (text === null) return null;
  const wait = inMs(text, 1_000);
  if (wait !== null || text.length > longestDate) return wait;
  const at = onOurClock(readHttpDate(text), headers, now);
  return at === null ? null : at - now;
}

/** Milliseconds since the epoch; NaN for what is no HTTP-date. */
function readHttpDate(text: string): number {
  if (imfDate.test(text)) return Date.parse(text);
  const [, day, month, year, time] = rfc850Date.exec(text) ?? [];
  if (day !== undefined) return Date.parse(`${day} ${month} 20${year} ${time} GMT`);
  const plain = asctimeDate.exec(text);
  return plain === null ? NaN : Date.parse(`${plain[2]} ${plain[1]} ${plain[4]} ${plain[3]} GMT`);
}

function inMs(text: string | null, unitMs: number): number | null {
  const number = text === null ? null : readDecimal(text);
  const ms = number === null ? null : Math.round(number * unitMs * 1_000) / 1_000;
  return ms !== null && ms <= longestWaitMs ? ms : null;
}
