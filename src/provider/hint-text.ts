import { readDecimal, readDuration } from "./duration.ts";
import { longestWaitMs } from "./hint-reset.ts";
import type { HintUnit, HintWindow } from "./hint-shape.ts";

/** What the text of a refusal states; null for what it does not. */
export interface Statement {
  waitMs: number | null;
  unit: HintUnit | "concurrency" | null;
  window: HintWindow | null;
  /** Units per window; above 0. */
  limit: number | null;
  /** Units the refused request would have needed. */
  requested: number | null;
}

// Every repetition below is bounded or starts with its own delimiter, so that all of them are linear.
const wait =
  /(?:(?:try again|retry) (?:in|after)|please wait(?: for)?):? (?:about )?(\d[\d.]{0,23}(?:(?:ms|us|µs|ns|s|m|h|d)[\d.]{0,24}){0,6}) ?(milli|ms|sec|min|hour|day)?/i;
const regain = /regain access on (\d{4}-\d\d-\d\d) at (\d\d:\d\d) UTC/i;
const limit = /\blimit:? (\d[\d,]{0,18})\b/i;
const limitOf = /\bof (\d[\d,]{0,18}) (?:(?:input |output )?tokens|requests|per)\b/i;
const requested = /\brequested:? (\d[\d,]{0,18})\b/i;
const abbreviation = /\(([io]?)([rt])p([smhd])\)/i;
/** Images and audio have limits of their own, in no unit that a quota has. */
const otherAbbreviation = /\((?:ip|as)[smhd]\)/i;
const tokens =
  /(?:\b(input|prompt|request|output|completion)[ -])?\btokens?[ -](?:per|limit|rate|has|have|quota)\b/i;
const requests = /\b(?:requests?|calls?)[ -](?:per|limit|rate|has|have|quota)\b|\bfree-models\b/i;
const window =
  /(?:\bper[ -]|\/ ?|by)(second|sec|minute|min|hour|day)s?\b|\b(daily|hourly)\b|\bper (1|60|3600|86400)s\b/i;

const windows: Readonly<Record<string, HintWindow>> = {
  s: "second",
  sec: "second",
  second: "second",
  "1": "second",
  m: "minute",
  min: "minute",
  minute: "minute",
  "60": "minute",
  h: "hour",
  hour: "hour",
  hourly: "hour",
  "3600": "hour",
  d: "day",
  day: "day",
  daily: "day",
  "86400": "day",
};

const wordMs: Readonly<Record<string, number>> = {
  milli: 1,
  ms: 1,
  sec: 1_000,
  min: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
};

/**
 * Reads what the text of a refusal says of the limit, as OpenAI and Groq put it ("on tokens per min (TPM): Limit
 * 30000, Used 29937, Requested 385. Please try again in 644ms."), Anthropic ("of 20,000 input tokens per minute"),
 * Azure ("Please retry after 6 seconds"), Cerebras ("Requests per minute limit exceeded") and GitHub Models ("Rate
 * limit of 50 per 86400s exceeded").
 *
 * @param message bounded by the caller: the time is proportional to its length.
 * @param now milliseconds since the epoch, for texts that name a day.
 */
export function readStatement(message: string, now: number): Statement {
  const { unit, window: abbreviated } = unitOf(message);
  const named = window.exec(message);
  const name = named?.[1] ?? named?.[2] ?? named?.[3] ?? "";
  const stated = readCount(limit.exec(message)?.[1] ?? limitOf.exec(message)?.[1]);
  return {
    waitMs: waitOf(message, now),
    unit,
    window: abbreviated ?? windows[name.toLowerCase()] ?? null,
    limit: stated === 0 ? null : stated,
    requested: readCount(requested.exec(message)?.[1]),
  };
}

function unitOf(message: string): Pick<Statement, "unit" | "window"> {
  const short = abbreviation.exec(message);
  if (short !== null) {
    const [, side = "", kind = "", span = ""] = short;
    return {
      unit: kind.toLowerCase() === "r" ? "requests" : tokensOf(side.toLowerCase()),
      window: windows[span.toLowerCase()] ?? null,
    };
  }
  if (otherAbbreviation.test(message)) return { unit: null, window: null };
  if (/\bconcurren(?:t|cy)|concurrentrequests/i.test(message)) {
    return { unit: "concurrency", window: null };
  }
  const words = tokens.exec(message);
  if (words !== null) return { unit: tokensOf((words[1] ?? "").toLowerCase()), window: null };
  return { unit: requests.test(message) ? "requests" : null, window: null };
}

/** "Request tokens" are what Anthropic once called the tokens of the prompt. */
function tokensOf(side: string): HintUnit {
  if (side === "o" || side === "output" || side === "completion") return "output_tokens";
  return side === "" ? "tokens" : "input_tokens";
}

function waitOf(message: string, now: number): number | null {
  const match = wait.exec(message);
  if (match !== null) {
    // The full stop of the sentence is no decimal point.
    const text = (match[1] ?? "").replace(/\.$/, "");
    const ms =
      readDuration(text) ?? inWords(readDecimal(text), wordMs[(match[2] ?? "sec").toLowerCase()]);
    if (ms !== null && ms <= longestWaitMs) return ms;
  }
  const day = regain.exec(message);
  const at = day === null ? Number.NaN : Date.parse(`${day[1]}T${day[2]}:00Z`);
  return at > now && at - now <= longestWaitMs ? at - now : null;
}

function inWords(number: number | null, unitMs = 1_000): number | null {
  return number === null ? null : Math.round(number * unitMs * 1_000) / 1_000;
}

function readCount(text: string | undefined): number | null {
  return text === undefined ? null : readDecimal(text.replaceAll(",", ""));
}
