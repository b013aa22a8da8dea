import { ProxyError } from "../errors.ts";

/** How a body may be built before it is refused. */
export interface BodyLimits {
  /** Objects and arrays inside one another. */
  maxDepth: number;
}

const defaultLimits: BodyLimits = { maxDepth: 200 };

const quote = 0x22;
const backslash = 0x5c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;

/**
 * Parses a request's JSON body, which must be an object.
 *
 * Depth is checked by one pass over the bytes before the parser sees them: a parser that recurses, and everything
 * that walks its result afterwards, is then safe from `[[[[…`.
 *
 * @throws ProxyError `INVALID_REQUEST` saying what is wrong.
 */
export function parseBody(
  bytes: Uint8Array,
  limits: BodyLimits = defaultLimits,
): Record<string, unknown> {
  if (deeperThan(bytes, limits.maxDepth)) {
    throw invalid(`the JSON body is nested more than ${limits.maxDepth} levels deep`);
  }
  let body: unknown;
  try {
    body = JSON.parse(decoder.decode(bytes));
  } catch (error) {
    const why =
      error instanceof SyntaxError
        ? error.message.replace(/^JSON Parse error: /, "")
        : "it is not UTF-8";
    throw invalid(
      bytes.length === 0
        ? "the body is empty; a JSON object is needed"
        : `the body is not JSON: ${why}`,
    );
  }
  if (!isObject(body)) throw invalid("the body must be a JSON object");
  return body;
}

/** Whether `value` is a JSON object (not null, not an array). */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An `INVALID_REQUEST` about the body, in the words of `what`. */
export function invalid(what: string): ProxyError {
  return new ProxyError("INVALID_REQUEST", `Cannot count this request's tokens: ${what}.`);
}

/** Fatal, because what cannot be read exactly cannot be counted exactly. */
const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Whether JSON text nests deeper than `limit`. Brackets in strings do not count; what is not JSON may give either
 * answer, the parser refuses it afterwards. One pass, at most a few steps a byte.
 */
function deeperThan(bytes: Uint8Array, limit: number): boolean {
  // A body with at most `limit` bytes cannot; nor does the scan need to look inside long strings byte by byte.
  if (bytes.length <= limit) return false;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let depth = 0;
  for (let at = 0; at < buffer.length; at++) {
    const byte = buffer[at];
    if (byte === quote) {
      at = endOfString(buffer, at);
    } else if (byte === openBrace || byte === openBracket) {
      if (++depth > limit) return true;
    } else if (byte === closeBrace || byte === closeBracket) {
      depth--;
    }
  }
  return false;
}

/** Where the string that opens at `start` closes; past the end where it does not. */
function endOfString(buffer: Buffer, start: number): number {
  for (let at = buffer.indexOf(quote, start + 1); at !== -1; at = buffer.indexOf(quote, at + 1)) {
    let escapes = at;
    while (buffer[escapes - 1] === backslash) escapes--;
    if ((at - escapes) % 2 === 0) return at;
  }
  return buffer.length;
}
