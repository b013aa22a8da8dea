import { UsageError } from "../errors.ts";

const unitMs: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const shape = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/;
const part = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;

/**
 * Milliseconds in a duration as the command line writes it: `500ms`, `30s`, `10m`, `1h30m`, or a bare number
 * of seconds.
 *
 * @throws UsageError when `text` is none of these.
 */
export function parseDuration(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  if (!shape.test(text)) {
    throw new UsageError(
      `"${text}" is not a duration: write 500ms, 30s, 10m, 1h30m or a number of seconds.`,
    );
  }
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(part)) {
    totalMs += Number(amount) * (unitMs[unit ?? ""] ?? 0);
  }
  return totalMs;
}

/** Milliseconds that floating point may add to a wait: they must not become a whole unit more. */
const roundingErrorMs = 1e-6;

/** A wait in whole units of `unitMs`, rounded up, so that who waits as long has waited long enough. */
export function wholeUnits(durationMs: number, unitMs: number): number {
  return Math.max(0, Math.ceil((durationMs - roundingErrorMs) / unitMs));
}

/**
 * A duration as Go prints it, which is how OpenAI and Groq write theirs: `120ms`, `7.66s`, `2m59.56s`, `6m0s`,
 * `1h0m0s`. Rounded up to a millisecond.
 *
 * Source: https://pkg.go.dev/time#Duration.String
 */
export function goDuration(durationMs: number): string {
  const wholeMs = wholeUnits(durationMs, 1);
  if (wholeMs === 0) return "0s";
  if (wholeMs < 1000) return `${wholeMs}ms`;
  const hours = Math.floor(wholeMs / 3_600_000);
  const minutes = Math.floor(wholeMs / 60_000) % 60;
  const seconds = `${(wholeMs % 60_000) / 1000}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}
