import { ProxyError } from "../errors.ts";
import { token } from "../header-fields.ts";
import type { HeaderFields } from "../header-fields.ts";

/** Where a request goes on its connection, and how its target is written there (RFC 9112 §3.2). */
export interface RequestTarget {
  /** Path and query, or all of the URL where the connection is to a proxy. */
  readonly target: string;
  /** The value of `Host`. */
  readonly host: string;
}

/** What stands in a target as it is; anything else is encoded by the URL's own rules. */
const plainTarget = /^[!-~]*$/;

/** Path and query of a URL whose origin is `originLength` characters long, as they are to be sent. */
export function targetOf(url: string, originLength: number): string {
  const fragment = url.indexOf("#", originLength);
  const target = fragment === -1 ? url.slice(originLength) : url.slice(originLength, fragment);
  if (!plainTarget.test(target)) {
    const { pathname, search } = new URL(url);
    return pathname + search;
  }
  return target.startsWith("/") ? target : `/${target}`;
}

/** How a body's end is told: by its length in bytes, or by chunks; null where there is no body. */
export type BodyFraming = number | "chunked" | null;

/** Methods that are without a body as a rule: for others a length of 0 says so (RFC 9110 §8.6). */
const bodiless: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "DELETE",
  "OPTIONS",
  "TRACE",
  "CONNECT",
]);

/**
 * The head of a request, with its empty line: Latin-1 characters only.
 * @param fields end-to-end ones; of those that frame the message it is `framing` that counts
 * @param more lines for this connection alone, each with its line end
 */
export function requestHead(
  method: string,
  { target, host }: RequestTarget,
  { fields }: HeaderFields,
  framing: BodyFraming,
  more = "",
): string {
  if (!token.test(method))
    throw new ProxyError("INVALID_REQUEST", "The request's method is none that HTTP knows.");
  let head = `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${more}Connection: keep-alive`;
  for (const name in fields) {
    if (ofConnection.has(name)) continue;
    const value = fields[name];
    if (value === undefined) continue;
    if (unsafe.test(value))
      throw new ProxyError(
        "INVALID_REQUEST",
        `The header ${name} has a character that none may have.`,
      );
    // Three parts are joined at once, more of them in steps.
    head = head + lineStart(name) + value;
  }
  if (framing === "chunked") head += "\r\nTransfer-Encoding: chunked";
  else if (framing !== null) head += `\r\nContent-Length: ${framing}`;
  else if (!bodiless.has(method)) head += "\r\nContent-Length: 0";
  return `${head}\r\n\r\n`;
}

/** What could end a line, or would do so once it is cut to the eight bits that go out. */
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const unsafe = /[\0\r\n\u0100-\uffff]/;

/** What is written here and not copied. */
const ofConnection: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "transfer-encoding",
]);

/** What stands before a header's value, by its name: of so many names, and none longer than this, characters. */
const lineStarts = new Map<string, string>();
const mostLineStarts = 1_000;
const longestKnown = 64;

/** The end of the line before, and the name as it is usually written: not every server knows that any case will do. */
function lineStart(name: string): string {
  const known = lineStarts.get(name);
  if (known !== undefined) return known;
  const spelling = name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
  const start = `\r\n${spelling}: `;
  if (name.length <= longestKnown && lineStarts.size < mostLineStarts) lineStarts.set(name, start);
  return start;
}
