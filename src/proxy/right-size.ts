import type { Dialect } from "../provider/dialect.ts";
import { reservesMaxOutput } from "../provider/meter.ts";
import type { Provider } from "../provider/provider.ts";
import type { Needs } from "../tokens/need.ts";

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
 * A call whose over-large cap is lowered to what calls like it have needed (`right_size_max_tokens`). Only the number
 * changes: the rest of the body stays byte for byte what the client wrote.
 */
export class RightSize {
  readonly key: string;
  /** What the client allows, tokens. */
  readonly cap: number;
  readonly #needs: Needs;
  readonly #body: Uint8Array;
  readonly #mayLower: boolean;

  /** @param parsed what `body` says */
  constructor(
    { needs, key, provider, dialect, path }: Sizing,
    body: Uint8Array,
    parsed: Record<string, unknown>,
    cap: number,
  ) {
    this.key = key;
    this.cap = cap;
    this.#needs = needs;
    this.#body = body;
    this.#mayLower =
      cap > 1 &&
      reservesMaxOutput(provider) &&
      dialect.withMaxOutput(path, parsed, cap - 1) !== null &&
      this.bodyFor(cap - 1) !== null;
  }

  /** The cap to send by what is known now, tokens. */
  capNow(): number {
    if (!this.#mayLower) return this.cap;
    return Math.min(this.cap, this.#needs.capFor(this.key, this.cap) ?? this.cap);
  }

  /** The body with `sentCap` in it; null where it stays as it is. */
  bodyFor(sentCap: number): Uint8Array | null {
    if (sentCap >= this.cap) return null;
    // Latin-1 has a character for each byte, whatever the bytes mean.
    const text = Buffer.from(this.#body.buffer, this.#body.byteOffset, this.#body.byteLength);
    const lowered = withLowerCap(text.toString("latin1"), sentCap);
    return lowered === null ? null : Buffer.from(lowered, "latin1");
  }
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
