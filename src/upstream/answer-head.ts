import { HeaderFields, token } from "../header-fields.ts";

export const lf = 0x0a;
export const cr = 0x0d;

/** Bytes that are no answer to the request (RFC 9112). */
export class UnreadableAnswer extends Error {}

/** What the lines of a head say. */
export interface ParsedHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderFields;
  readonly version: "1.0" | "1.1";
}

const statusLine = /^HTTP\/(1\.[01]) (\d{3})(?: (.*))?$/;
/** What neither a header's value nor a reason may hold, beside the ends of lines. */
// oxlint-disable-next-line no-control-regex -- it is what is looked for
const forbidden = /\0|\r(?!\n)/;
// oxlint-disable-next-line no-control-regex -- they are what is looked for
const unprintable = /[\0-\x08\x0a-\x1f\x7f]/g;

/** A line of a head before, with its line end, and what it says. */
interface KnownLine {
  readonly text: string;
  readonly name: string;
  readonly value: string;
}

/** The first line of a head before, and what it says. */
interface KnownStatus {
  readonly text: string;
  readonly status: number;
  readonly statusText: string;
  readonly version: ParsedHead["version"];
}

/**
 * Lines that are remembered of a head, and the longest head of which anything is, characters: a part of a string holds
 * all of it.
 */
const mostKnown = 32;
const longestKnown = 4 * 1024;

/**
 * Parses the heads of one connection (RFC 9112 §4, §5). Its server says nearly the same in each: a line that is as it
 * was, in its place, is not taken apart again.
 */
export class HeadParser {
  #first: KnownStatus | null = null;
  readonly #known: KnownLine[] = [];

  /**
   * @param text a head, with its last line end
   * @throws UnreadableAnswer
   */
  parse(text: string): ParsedHead {
    if (forbidden.test(text)) throw new UnreadableAnswer("a head with a forbidden character");
    const headers = new HeaderFields();
    const remembers = text.length <= longestKnown;
    const first = this.#statusOf(text, remembers);
    let from = first.text.length;
    for (let i = 0; from < text.length; i++) {
      const known = this.#known[i];
      if (known !== undefined && text.startsWith(known.text, from)) {
        const next = from + known.text.length;
        if (!isSpace(text.charCodeAt(next))) {
          headers.append(known.name, known.value);
          from = next;
          continue;
        }
      }
      let end = lineEnd(text, from);
      if (lengthOf(text, from, end) === 0) break;
      // One that goes on with the value of the line before has been read with that.
      if (isSpace(text.charCodeAt(from))) throw new UnreadableAnswer("a header without a name");
      const colon = text.indexOf(":", from);
      const name = nameOf(colon === -1 || colon >= end ? "" : text.slice(from, colon), remembers);
      let value = trimmed(text, colon + 1, end);
      const isOneLine = !isSpace(text.charCodeAt(end));
      // A value over several lines, which went out of use: it is one with spaces (RFC 9112 §5.2).
      while (isSpace(text.charCodeAt(end))) {
        const more = lineEnd(text, end);
        value = `${value} ${trimmed(text, end, more)}`;
        end = more;
      }
      headers.append(name, value);
      if (remembers && isOneLine && i < mostKnown)
        this.#known[i] = { text: text.slice(from, end), name, value };
      from = end;
    }
    const { status, statusText, version } = first;
    return { status, statusText, version, headers };
  }

  #statusOf(text: string, remembers: boolean): KnownStatus {
    const known = this.#first;
    if (known !== null && text.startsWith(known.text)) return known;
    const end = lineEnd(text, 0);
    const [, version, status, reason = ""] =
      statusLine.exec(text.slice(0, lengthOf(text, 0, end))) ?? [];
    if (status === undefined) throw new UnreadableAnswer("a first line that is none of HTTP/1.1");
    const first: KnownStatus = {
      text: text.slice(0, end),
      status: Number(status),
      statusText: reason.replace(unprintable, ""),
      version: version === "1.0" ? "1.0" : "1.1",
    };
    if (remembers) this.#first = first;
    return first;
  }
}

/**
 * Parses a head by itself.
 * @throws UnreadableAnswer
 */
export function parseHead(text: string): ParsedHead {
  return new HeadParser().parse(text);
}

/** Where the line that starts at `from` ends, its line end included. */
function lineEnd(text: string, from: number): number {
  const end = text.indexOf("\n", from);
  return end === -1 ? text.length : end + 1;
}

/** How many characters a line has before its line end. */
function lengthOf(text: string, from: number, end: number): number {
  let to = end;
  if (to > from && text.charCodeAt(to - 1) === lf) to--;
  if (to > from && text.charCodeAt(to - 1) === cr) to--;
  return to - from;
}

/** Header names as servers write them, in lower case: they are always the same few. */
const names = new Map<string, string>();
const mostNames = 1_000;

function nameOf(written: string, remembers: boolean): string {
  const known = names.get(written);
  if (known !== undefined) return known;
  const name = trimmed(written, 0, written.length).toLowerCase();
  if (!token.test(name)) throw new UnreadableAnswer("a header whose name is none");
  if (remembers && names.size < mostNames) names.set(written, name);
  return name;
}

/** What stands there, without white space around it. */
function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isWhite(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function isWhite(code: number): boolean {
  return isSpace(code) || code === cr || code === lf;
}

const plainLength = /^\d{1,15}$/;

/** Where a body ends: after so many bytes, with its last chunk, or with the connection (RFC 9112 §6.3). */
export function framingOf(
  headers: HeaderFields,
  status: number,
  isBodiless: boolean,
): number | "chunked" | "close" {
  if (isBodiless || status === 204 || status === 304) return 0;
  const coding = headers.get("transfer-encoding");
  if (coding !== null) {
    // Others are between two machines, too, and who gets the answer would not know of them.
    if (!/^(?:[ \t,]|chunked|identity)*$/i.test(coding))
      throw new UnreadableAnswer("a transfer coding that nobody asked for");
    return /(?:^|,)[ \t]*chunked$/i.test(coding) ? "chunked" : "close";
  }
  const length = headers.get("content-length");
  if (length === null) return "close";
  if (plainLength.test(length)) return Number(length);
  // The same length said twice is one; two lengths are nothing that could be believed.
  const [first = "", ...more] = length.split(",").map((one) => one.trim());
  if (!plainLength.test(first) || more.some((other) => other !== first))
    throw new UnreadableAnswer("a length that is none");
  if (more.length > 0) headers.set("content-length", first);
  return Number(first);
}

/** Whether a head speaks of two ends: what comes behind one may have been meant to come before the other. */
export function isAmbiguous(headers: HeaderFields, status: number): boolean {
  const isCoded = headers.has("transfer-encoding");
  const length = headers.get("content-length");
  return status === 204 ? isCoded || (length ?? "0") !== "0" : isCoded && length !== null;
}

/** How long the server keeps the connection, ms; 0 where it does not, null where it does not say. */
export function keepTime(headers: HeaderFields, version: "1.0" | "1.1"): number | null {
  const options = headers.get("connection")?.toLowerCase() ?? "";
  const isKept = version === "1.1" ? !/\bclose\b/.test(options) : /\bkeep-alive\b/.test(options);
  if (!isKept) return 0;
  const parameters = headers.get("keep-alive");
  if (parameters === null) return null;
  const timeout = /\btimeout=(\d{1,9})/i.exec(parameters)?.[1];
  return timeout === undefined ? null : Number(timeout) * 1_000;
}
