import type { Duplex } from "node:stream";
import type { Answer } from "../upstream/upstream.ts";
import type { Head } from "./websocket-open.ts";

/** More of a refusal's body is not passed on, bytes. */
const longestBody = 1024 * 1024;

/** Statuses whose answers have no body. */
const bodiless: ReadonlySet<number> = new Set([204, 205, 304]);

/**
 * The answer of an upstream that does not switch protocols, with its body (RFC 9112 §6.3), read to its end or to a
 * bound; null where it breaks off. Ends the connection.
 */
export async function readRefusal(
  socket: Duplex,
  { status, headers }: Head,
): Promise<Answer | null> {
  const isChunked = /\bchunked\b/i.test(headers.get("transfer-encoding") ?? "");
  const length = headers.get("content-length");
  const isComplete = (body: Buffer): boolean => {
    if (isChunked) return dechunked(body).isComplete;
    return length !== null && body.length >= Number(length);
  };
  const read = bodiless.has(status) ? Buffer.alloc(0) : await readUntil(socket, isComplete);
  socket.destroy();
  const saysItsEnd = !bodiless.has(status) && (isChunked || length !== null);
  if (saysItsEnd && read.length < longestBody && !isComplete(read)) return null;
  const whole = isChunked ? dechunked(read).body : read;
  const body = length === null ? whole : whole.subarray(0, Number(length));
  headers.delete("content-length");
  headers.delete("transfer-encoding");
  return {
    status,
    statusText: "",
    headers,
    body: bodiless.has(status) ? null : new Uint8Array(body),
  };
}

function readUntil(socket: Duplex, isComplete: (body: Buffer) => boolean): Promise<Buffer> {
  return new Promise((resolve) => {
    let body = Buffer.alloc(0);
    const finish = (): void => resolve(body);
    if (isComplete(body)) return finish();
    socket.on("data", (piece: Buffer) => {
      body = Buffer.concat([body, piece]);
      if (body.length >= longestBody || isComplete(body)) finish();
    });
    socket.once("end", finish);
    socket.once("close", finish);
    socket.resume();
  });
}

/** What chunked coding holds so far (RFC 9112 §7.1), and whether that is all. */
function dechunked(coded: Buffer): { body: Buffer; isComplete: boolean } {
  const chunks: Buffer[] = [];
  let at = 0;
  for (;;) {
    const end = coded.indexOf("\r\n", at);
    if (end === -1) return { body: Buffer.concat(chunks), isComplete: false };
    const size = Number.parseInt(coded.toString("latin1", at, end), 16);
    if (size === 0 || !(size > 0)) return { body: Buffer.concat(chunks), isComplete: true };
    chunks.push(coded.subarray(end + 2, end + 2 + size));
    at = end + 2 + size + 2;
    if (at > coded.length) return { body: Buffer.concat(chunks), isComplete: false };
  }
}
