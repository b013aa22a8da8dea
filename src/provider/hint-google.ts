import { readDecimal, readDuration } from "./duration.ts";
import { longestWaitMs } from "./hint-reset.ts";
import type { HintUnit, HintWindow } from "./hint-shape.ts";

/** What the typed details of Google's errors say of a quota; null for what they do not. */
export interface QuotaFailure {
  waitMs: number | null;
  unit: HintUnit | null;
  window: HintWindow | null;
  /** Units per window; 0 where the project has no such quota at all. */
  limit: number | null;
}

const mostViolations = 16;

/**
 * Reads `google.rpc.QuotaFailure` and `google.rpc.RetryInfo`, as Gemini's 429 carries them.
 *
 * Several quotas can be violated at once: the one that ends last counts. Where that is a day's, the wait is until
 * midnight in California, when days end (https://ai.google.dev/gemini-api/docs/rate-limits), whatever shorter delay
 * RetryInfo names: with the day's quota used up, retrying after that cannot succeed.
 * Shapes: https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto.
 * @param now milliseconds since the epoch.
 */
export function readQuotaFailure(
  details: readonly Record<string, unknown>[],
  now: number,
): QuotaFailure {
  const failure: QuotaFailure = { waitMs: null, unit: null, window: null, limit: null };
  for (const detail of details) {
    failure.waitMs ??= delayOf(detail["retryDelay"]);
    const violations = detail["violations"];
    if (Array.isArray(violations)) {
      for (const violation of violations.slice(0, mostViolations)) addViolation(failure, violation);
    }
  }
  if (failure.window === "day") {
    failure.waitMs = Math.max(failure.waitMs ?? 0, untilMidnightInCalifornia(now));
  }
  return failure;
}

function delayOf(value: unknown): number | null {
  const ms = typeof value === "string" ? readDuration(value) : null;
  return ms !== null && ms <= longestWaitMs ? ms : null;
}

function addViolation(failure: QuotaFailure, violation: unknown): void {
  if (typeof violation !== "object" || violation === null) return;
  const { quotaId, quotaMetric, quotaValue } = violation as Record<string, unknown>;
  const id = `${textOf(quotaId)} ${textOf(quotaMetric)}`;
  const limit = readDecimal(textOf(quotaValue));
  if (limit === 0 || failure.limit === null) failure.limit = limit;
  if (failure.window === "day") return;
  failure.window = windowOf(id) ?? failure.window;
  failure.unit = unitOf(id) ?? failure.unit;
  if (limit !== null && failure.limit !== 0) failure.limit = limit;
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value.slice(0, 256) : "";
}

/** `GenerateRequestsPerDayPerProjectPerModel-FreeTier`, `…/generate_content_requests_per_minute_per_project`. */
function windowOf(id: string): HintWindow | null {
  if (/per_?day/i.test(id)) return "day";
  if (/per_?hour/i.test(id)) return "hour";
  if (/per_?minute/i.test(id)) return "minute";
  return /per_?second/i.test(id) ? "second" : null;
}

function unitOf(id: string): HintUnit | null {
  if (/input_?token/i.test(id)) return "input_tokens";
  if (/output_?token/i.test(id)) return "output_tokens";
  if (/token/i.test(id)) return "tokens";
  return /request/i.test(id) ? "requests" : null;
}

/** Made when first needed: few programs ever do, and it takes a millisecond. */
let californianTime: Intl.DateTimeFormat | null = null;

/** Milliseconds; on the two days a year that have 23 or 25 hours, an hour off. */
function untilMidnightInCalifornia(now: number): number {
  californianTime ??= new Intl.DateTimeFormat("en-US", {
    timeZone: "America/Los_Angeles",
    hourCycle: "h23",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
  const [hours = 0, minutes = 0, seconds = 0] = californianTime.format(now).split(":").map(Number);
  return (24 * 3_600 - (hours * 3_600 + minutes * 60 + seconds)) * 1_000;
}
