import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import type { ProxyError } from "../errors.ts";
import { errorDialectOf } from "../provider/dialects.ts";

/** What an answer of the forward proxy's own says beside its error. */
export interface RefusalParts {
  error: ProxyError;
  /** The request's id. */
  id: string;
  /** What we call ourselves in `X-Proxy`. */
  server: string;
  /** How long the request had waited, ms. */
  waitedMs: number;
  /** Path of the request and its `anthropic-version`, which tell the dialect; a tunnel has neither. */
  path: string;
  anthropicVersion: string | null;
}

/** An answer of our own, as both a socket and `node:http` can send it. */
export interface OwnAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** What SDKs do not wait for by themselves is said not to be retried, ms. */
const longestRetryMs = 60_000;

/**
 * The answer to a request that goes nowhere (contract, section 5). A missing or wrong key is 407 with a challenge
 * (RFC 9110 §15.5.8): clients of a proxy send credentials when that asks for them, and take a 401 as the upstream's.
 */
export function refusal(parts: RefusalParts): OwnAnswer {
  const { error, id, server, waitedMs, path, anthropicVersion } = parts;
  const isChallenge = error.code === "UNAUTHORIZED";
  const headers: Record<string, string> = {
    "content-type": "application/json",
    "x-cooldown-error": error.code,
    ...ownHeaders(id, server, waitedMs),
    "x-request-id": id,
  };
  if (isChallenge) headers["proxy-authenticate"] = challenge;
  if (error.retryAfterMs !== null) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000)));
    if (error.retryAfterMs > longestRetryMs) headers["x-should-retry"] = "false";
  }
  return {
    status: isChallenge ? 407 : error.status,
    headers,
    body: errorDialectOf(null, path, anthropicVersion).errorBody(error, id),
  };
}

/** What asks a client of the proxy for its key. */
export const challenge = 'Basic realm="cooldown", charset="UTF-8"';

/** What every answer carries, that to a tunnel included. */
export function ownHeaders(id: string, server: string, waitedMs: number): Record<string, string> {
  return {
    "x-proxy": server,
    "x-cooldown-request-id": id,
    "x-cooldown-wait": (waitedMs / 1_000).toFixed(3),
  };
}

/** How long a client may take to read a refusal and hang up, ms. */
const lingerMs = 2_000;

/** Sends an answer over a bare socket and closes it, at the latest when the client has had time to read it. */
export function endWith(socket: Duplex, { status, headers, body }: OwnAnswer, clock: Clock): void {
  const length = String(Buffer.byteLength(body));
  const head = rawHead(status, { ...headers, "content-length": length, connection: "close" });
  socket.end(head + body);
  // What it still sends is not for anybody.
  socket.resume();
  const stop = clock.at(clock.now() + lingerMs, () => socket.destroy());
  socket.once("close", stop);
}

/** Status line and headers, with the empty line that ends them. */
export function rawHead(status: number, headers: Record<string, string>, reason?: string): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${reason ?? STATUS_CODES[status] ?? ""}\r\n${lines.join("")}\r\n`;
}
