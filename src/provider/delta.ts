const space = 0x20;
const quote = 0x22;
const backslash = 0x5c;

/** What was seen of a stream's text so far. */
export interface SeenText {
  /** Pieces of text that were not empty. */
  pieces: number;
  /** Characters of ASCII. */
  ascii: number;
  /** Characters outside ASCII. */
  other: number;
}

/**
 * Tokens that the text seen amounts to, estimated: four characters of ASCII a token, one of any other script, and
 * never less than one token a piece, since providers send at least one with each.
 */
export function estimateTokens(seen: SeenText): number {
  return Math.max(seen.pieces, Math.ceil(seen.ascii / 4) + seen.other);
}

/** Keys as `addDeltas` looks for them. */
export function textKeys(...keys: readonly string[]): readonly Buffer[] {
  return keys.map((key) => Buffer.from(key, "latin1"));
}

/**
 * Adds the lengths of the JSON strings that follow any of `keys` in `bytes` to `seen`. Nothing is parsed: it is part of
 * a stream, and parsing that would cost more than forwarding it.
 *
 * @param bytes one event, or a number of whole ones
 * @param keys each as it stands before its value, from its end as far back as is needed to tell it: `content":` stands
 *   for all keys that end so.
 */
export function addDeltas(seen: SeenText, bytes: Buffer, keys: readonly Buffer[]): void {
  for (const key of keys) {
    for (let at = bytes.indexOf(key); at !== -1; at = bytes.indexOf(key, at))
      at = addText(seen, bytes, at + key.length, bytes.length);
  }
}

/**
 * Adds the length of the JSON string that stands behind a key which ends at `at`, if one does.
 * @param end where to look no further
 * @returns where what it has looked at ends
 */
export function addText(seen: SeenText, bytes: Buffer, at: number, end: number): number {
  while (at < end && bytes[at] === space) at++;
  return at < end && bytes[at] === quote ? addString(seen, bytes, at + 1, end) : at;
}

/** Counts a JSON string's characters from `at`, and says where it ends. */
function addString(seen: SeenText, bytes: Buffer, at: number, until: number): number {
  let ascii = 0;
  let other = 0;
  for (; at < until; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === quote) break;
    if (byte === backslash) {
      at++;
      if (bytes[at] === 0x75) {
        at += 4;
        other++;
      } else ascii++;
    } else if (byte < 0x80) ascii++;
    // The first byte of a UTF-8 sequence stands for its character, the others (10xxxxxx) do not.
    else if (byte >= 0xc0) other++;
  }
  seen.ascii += ascii;
  seen.other += other;
  if (ascii + other > 0) seen.pieces++;
  return Math.min(at, until);
}
