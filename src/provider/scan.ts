const colon = 0x3a;
const brace = 0x7b;

/** Parses JSON that is not ours to refuse: null where it is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Whether JSON text has a key with an object: not the `"usage":null` that many APIs put into every event.
 * Inside a JSON string the quotes would be escaped, so text that talks about usage does not match.
 * @param quoted the key with its quotes
 */
export function hasObject(text: string, quoted: string): boolean {
  for (let at = text.indexOf(quoted); at !== -1; at = text.indexOf(quoted, at)) {
    at += quoted.length;
    if (objectStart(text, at) !== -1) return true;
  }
  return false;
}

/**
 * Where such an object opens in bytes; -1 where there is none.
 * @param quoted the key with its quotes
 * @param from where to begin
 */
export function objectIn(bytes: Buffer, quoted: Buffer, from: number): number {
  for (let at = bytes.indexOf(quoted, from); at !== -1; at = bytes.indexOf(quoted, at)) {
    at += quoted.length;
    while (isSpace(bytes[at])) at++;
    if (bytes[at] !== colon) continue;
    at++;
    while (isSpace(bytes[at])) at++;
    if (bytes[at] === brace) return at;
  }
  return -1;
}

/** The last object with the key `key` in JSON text that may be cut off at its start; null where there is none. */
export function objectAt(text: string, key: string): Record<string, unknown> | null {
  const quoted = `"${key}"`;
  for (let at = text.lastIndexOf(quoted); at !== -1; at = text.lastIndexOf(quoted, at - 1)) {
    const start = objectStart(text, at + quoted.length);
    if (start !== -1) {
      const end = objectEnd(text, start);
      return end === -1 ? null : (parsed(text.slice(start, end)) as Record<string, unknown> | null);
    }
    if (at === 0) break;
  }
  return null;
}

/** Where the object opens that follows a key ending before `at`; -1 where something else follows. */
function objectStart(text: string, at: number): number {
  at = afterSpace(text, at);
  if (text.charCodeAt(at) !== colon) return -1;
  at = afterSpace(text, at + 1);
  return text.charCodeAt(at) === brace ? at : -1;
}

function afterSpace(text: string, at: number): number {
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

/** JSON's white space: pretty-printed answers have line ends behind the colon. */
function isSpace(code: number | undefined): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;
}

/** Just behind the object that opens at `start`; -1 where it does not close. */
function objectEnd(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x7b) depth++;
    else if (code === 0x7d && --depth === 0) return at + 1;
    else if (code === 0x22) {
      for (at++; at < text.length && text.charCodeAt(at) !== 0x22; at++) {
        if (text.charCodeAt(at) === 0x5c) at++;
      }
    }
  }
  return -1;
}
