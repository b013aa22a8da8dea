/** Nothing a provider sends about time is longer; what is longer is not read at all. */
const longestText = 64;

const decimal = /^\d{1,18}(?:\.\d{1,20})?$/;
const part = /(\d{1,15}(?:\.\d{1,15})?)(ms|us|µs|μs|ns|s|m|h|d)/y;

const unitMs: Readonly<Record<string, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
  ms: 1,
  us: 0.001,
  µs: 0.001,
  μs: 0.001,
  ns: 0.000_001,
};

/** Reads a plain decimal number that is not negative (`33011.382867097855`); null for anything else. */
export function readDecimal(text: string): number | null {
  return text.length <= longestText && decimal.test(text) ? Number(text) : null;
}

/**
 * Reads a duration as Go prints it: `6m0s`, `120ms`, `2m59.56s`, `1h2m3s`, `1.5µs` (and `d`, which Go has not).
 *
 * Every part needs its unit: a bare number is no duration. Source: https://pkg.go.dev/time#Duration.String.
 * @returns milliseconds, may be fractional; null where `text` is no duration.
 */
export function readDuration(text: string): number | null {
  if (text.length === 0 || text.length > longestText) return null;
  let ms = 0;
  part.lastIndex = 0;
  while (part.lastIndex < text.length) {
    const match = part.exec(text);
    if (match === null) return null;
    ms += Number(match[1]) * (unitMs[match[2] ?? ""] ?? 0);
  }
  // Sums of decimal parts: 2 * 60_000 + 59.56 * 1_000 is 179_560.000…, and microseconds are as fine as anyone counts.
  return Math.round(ms * 1_000) / 1_000;
}
