import { isIP } from "node:net";
import { readDomain, readUrl } from "./domain.ts";
import type { Reading } from "./domain.ts";
import { didYouMean } from "./suggest.ts";

/** Reads the name of a quota, tier or key: it appears in metrics, logs and the paths of control routes. */
export function readName(text: string): Reading<string> {
  if (text.length > 100) return { problem: "is longer than 100 characters" };
  const good = /^[\p{L}\p{N}_*][\p{L}\p{N} ._:*@+-]*$/u.test(text) && text === text.trim();
  return good
    ? { value: text }
    : { problem: "is not a name; use letters, digits and . _ - : only" };
}

/** Reads an address or name to listen on, without a port; the brackets of an IPv6 address are optional. */
export function readBindAddress(text: string): Reading<string> {
  const bare = text.trim().replace(/^\[(.*)\]$/, "$1");
  if (isIP(bare) !== 0) return { value: bare.toLowerCase() };
  if (bare.includes(":"))
    return { problem: "must be an address or name alone; the port has a key of its own" };
  return readDomain(bare, { wildcard: false });
}

/** Reads one way to tell clients apart: `api_key`, `ip` or `header:NAME` (a field name of RFC 9110, 5.1). */
export function readIdentity(text: string): Reading<string> {
  if (text === "api_key" || text === "ip") return { value: text };
  const header = /^header:(.*)$/i.exec(text)?.[1];
  if (header === undefined) {
    return {
      problem: `must be api_key, ip or header:NAME${didYouMean(text, ["api_key", "ip", "header:NAME"])}`,
    };
  }
  if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(header))
    return { problem: "has no header name after header:" };
  return { value: `header:${header.toLowerCase()}` };
}

/** Reads the SHA-256 of a key in hexadecimal. */
export function readKeyHash(text: string): Reading<string> {
  const hash = text.trim().toLowerCase();
  return /^[0-9a-f]{64}$/.test(hash)
    ? { value: hash }
    : { problem: "must be the SHA-256 of the key: 64 hexadecimal digits" };
}

/** Reads the proxy that outgoing connections take. Its user and password are decoded before they are sent. */
export function readProxyUrl(text: string): Reading<string> {
  const reading = readUrl(text, { schemes: ["http", "https"], path: false });
  if ("problem" in reading) return reading;
  const { username, password } = new URL(reading.value);
  return isEncoded(username) && isEncoded(password)
    ? reading
    : { problem: "has a % in its user or password that encodes nothing; write it as %25" };
}

function isEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** Reads where Redis is, a URL or `HOST:PORT`. The problem quotes nothing: the URL holds a password. */
export function readRedisUrl(text: string): Reading<string> {
  const given = text.trim();
  const url = given.includes("://") ? given : `redis://${given}`;
  const reading = readUrl(url, {
    schemes: ["redis", "rediss", "redis+tls", "redis+unix"],
    path: true,
  });
  return "value" in reading
    ? reading
    : { problem: "must be HOST:PORT or a URL such as redis://:password@host:6379/0" };
}

/** Reads a gRPC worker: `host:port`, or its http or https URL. */
export function readWorker(text: string): Reading<string> {
  const given = text.trim();
  if (given.includes("://")) return readUrl(given, { schemes: ["http", "https"], path: false });
  const reading = readDomain(given, { wildcard: false });
  if ("problem" in reading || /:\d+$/.test(reading.value)) return reading;
  return { problem: `has no port; did you mean "${reading.value}:50051"?` };
}
