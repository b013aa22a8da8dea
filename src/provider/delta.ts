const quote = 0x22;
const backslash = 0x5c;

/** What was seen of a stream's text so far. */
export interface SeenText {
  /** Lines that carried text. */
  events: number;
  /** Characters of ASCII. */
  ascii: number;
  /** Characters outside ASCII. */
  other: number;
}

/**
 * Tokens that the text seen amounts to, estimated: four characters of ASCII a token, one of any other script, and
 * never less than one token an event, since providers send at least one with each.
 */
export function estimateTokens(seen: SeenText): number {
  return Math.max(seen.events, Math.ceil(seen.ascii / 4) + seen.other);
}

/**
 * Adds the lengths of the JSON strings that follow any of `keys` in `line` to `seen`. The line is not parsed: it is
 * one event of a stream, and parsing each would cost more than forwarding it.
 *
 * @param line the line's bytes as Latin-1, so that an index is a byte.
 * @param keys each as it stands before its value, from its end as far back as is needed to tell it: `content":` stands
 *   for all keys that end so.
 */
export function addDeltas(seen: SeenText, line: string, keys: readonly string[]): void {
  const before = seen.ascii + seen.other;
  for (const key of keys) {
    for (let at = line.indexOf(key); at !== -1; at = line.indexOf(key, at)) {
      at += key.length;
      while (line.charCodeAt(at) === 0x20) at++;
      if (line.charCodeAt(at) === quote) at = addString(seen, line, at + 1);
    }
  }
  if (seen.ascii + seen.other > before) seen.events++;
}

/** Counts a JSON string's characters from `at`, and says where it ends. */
function addString(seen: SeenText, line: string, at: number): number {
  for (; at < line.length; at++) {
    const byte = line.charCodeAt(at);
    if (byte === quote) break;
    if (byte === backslash) {
      at++;
      if (line.charCodeAt(at) === 0x75) {
        at += 4;
        seen.other++;
      } else seen.ascii++;
    } else if (byte < 0x80) seen.ascii++;
    // The first byte of a UTF-8 sequence stands for its character, the others (10xxxxxx) do not.
    else if (byte >= 0xc0) seen.other++;
  }
  return at;
}
