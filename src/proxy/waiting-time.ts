import { ProxyError } from "../errors.ts";
import type { Fields } from "../upstream/headers.ts";

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const part = /(\d{1,9}(?:\.\d{1,6})?)(ms|s|m|h)/gy;

/**
 * How long a client puts up with waiting, ms: the shortest of `X-Cooldown-Timeout` (`30s`, `1m30s`, or seconds) and
 * what the OpenAI, Anthropic and Cerebras SDKs send of their own timeout (`X-Stainless-…`, in seconds). Infinity
 * where the request says nothing.
 *
 * @throws ProxyError `INVALID_REQUEST` if our own header makes no sense; the SDKs' are then ignored.
 */
export function patienceOf(fields: Fields): number {
  let ms = Infinity;
  const own = fields["x-cooldown-timeout"];
  if (own !== undefined) {
    const read = durationMs(own);
    if (read === null) {
      throw new ProxyError(
        "INVALID_REQUEST",
        "X-Cooldown-Timeout must be a time such as 30s, 500ms, 1m30s or 30.",
      );
    }
    ms = read;
  }
  for (const name of ["x-stainless-read-timeout", "x-stainless-timeout"]) {
    const seconds = Number(fields[name] ?? Number.NaN);
    if (seconds > 0) ms = Math.min(ms, seconds * 1_000);
  }
  return ms;
}

function durationMs(text: string): number | null {
  const trimmed = text.trim();
  if (/^\d{1,9}(\.\d{1,6})?$/.test(trimmed)) return Number(trimmed) * 1_000;
  let sum = 0;
  part.lastIndex = 0;
  while (part.lastIndex < trimmed.length) {
    const match = part.exec(trimmed);
    if (match === null) return null;
    sum += Number(match[1]) * (unitMs[match[2] ?? ""] ?? 0);
  }
  return trimmed === "" ? null : sum;
}
