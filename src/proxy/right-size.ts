import type { Dialect, ModelCall } from "../provider/dialect.ts";
import { reservesMaxOutput } from "../provider/meter.ts";
import type { Provider } from "../provider/provider.ts";
import type { Needs } from "../tokens/need.ts";

/** A cap on output that was lowered. Tokens. */
export interface Sized {
  /** What the client allowed. */
  readonly cap: number;
  /** What goes upstream. */
  readonly sentCap: number;
}

/** The fields in which the dialects have their caps. */
const capKeys = ["max_completion_tokens", "max_tokens", "max_output_tokens", "maxOutputTokens"];

export interface Sizing {
  readonly needs: Needs;
  /** What needs are learned for: quota, model and client. */
  readonly key: string;
  readonly provider: Provider;
  readonly dialect: Dialect;
  /** Without the query. */
  readonly path: string;
}

/**
 * Lowers an over-large cap to what calls like this one have needed (`right_size_max_tokens`). Only the number changes:
 * the rest of the body stays byte for byte what the client wrote.
 *
 * @param parsed what `body` says
 * @returns null where the cap stays
 */
export function rightSize(
  { needs, key, provider, dialect, path }: Sizing,
  body: Uint8Array,
  parsed: Record<string, unknown>,
  call: ModelCall,
): { body: Uint8Array; sized: Sized } | null {
  const cap = call.maxOutput;
  if (cap === null || !reservesMaxOutput(provider)) return null;
  const sentCap = needs.capFor(key, cap);
  if (sentCap === null || sentCap >= cap) return null;
  if (dialect.withMaxOutput(path, parsed, sentCap) === null) return null;
  const lowered = withLowerCap(new TextDecoder().decode(body), sentCap);
  if (lowered === null) return null;
  return { body: new TextEncoder().encode(lowered), sized: { cap, sentCap } };
}

/** JSON text whose caps are at most `tokens`; null where it is not plain which numbers those are. */
function withLowerCap(text: string, tokens: number): string | null {
  let lowered = text;
  for (const key of capKeys) {
    const quoted = `"${key}"`;
    const at = lowered.indexOf(quoted);
    if (at === -1) continue;
    // A second one may be another object's, or a duplicate of which servers read the one or the other.
    if (lowered.indexOf(quoted, at + 1) !== -1) return null;
    number.lastIndex = at + quoted.length;
    const found = number.exec(lowered);
    if (found === null) return null;
    const end = number.lastIndex;
    if (Number(found[2]) <= tokens) continue;
    lowered = `${lowered.slice(0, at)}${quoted}${found[1]}${tokens}${lowered.slice(end)}`;
  }
  return lowered === text ? null : lowered;
}

/** What follows a key with a whole number: the colon with the white space around it, and the number. */
const number = /(\s*:\s*)(\d{1,15})(?![\d.eE])/y;
