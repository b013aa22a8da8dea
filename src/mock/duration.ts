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
