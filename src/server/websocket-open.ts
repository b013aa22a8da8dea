import { createHash, randomBytes } from "node:crypto";
import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import type { HeaderFields } from "../header-fields.ts";
import { parseHost } from "../routing/host.ts";
import { parseHead } from "../upstream/answer-head.ts";
import { failureOf, timeoutOf } from "../upstream/failure.ts";
import type { OutgoingProxy } from "../upstream/outgoing-proxy.ts";
import { proxyFor } from "../upstream/outgoing-proxy.ts";
import { originOf } from "../upstream/places.ts";
import { targetOf } from "../upstream/request-head.ts";
import type { Answer, UpstreamRequest } from "../upstream/upstream.ts";
import { UpstreamFailure } from "../upstream/upstream.ts";
import { dial, dialThrough, secured } from "../upstream/dial.ts";
import type { DialTarget } from "../upstream/dial.ts";
import { readRefusal } from "./websocket-refusal.ts";

/** The longest head of an answer, bytes. */
const longestHead = 64 * 1024;

export interface OpenOptions {
  clock: Clock;
  /** The longest that connecting, and the answer after it, may take, ms. */
  connectMs: number;
  firstByteMs: number;
  proxy: OutgoingProxy | null;
  /** PEM of all authorities trusted; null: the built-in ones. */
  authorities: readonly string[] | null;
}

/** An upstream's answer to an upgrade: a refusal with its body, or a WebSocket. */
export interface Opened {
  /** Status 101, and no body, where there is a WebSocket. */
  answer: Answer;
  /** The connection, paused, with all that came behind the head to be read; null where it was refused. */
  socket: Duplex | null;
}

/**
 * Asks for a WebSocket (RFC 6455 §4.1). Written on a socket: the runtime's own client hides what a refusal says, and
 * neither it nor `fetch` lets a fast sender wait.
 *
 * @param request its headers are the end-to-end ones; those of the handshake are added
 * @throws UpstreamFailure where there is no answer; the signal's reason where it is aborted
 */
export async function openWebSocket(
  request: UpstreamRequest,
  options: OpenOptions,
): Promise<Opened> {
  const { clock, firstByteMs } = options;
  const { signal } = request.controller;
  const url = new URL(request.url);
  let socket: Duplex;
  try {
    signal.throwIfAborted();
    socket = await connectTo(url, request, options);
  } catch (error) {
    request.watcher?.cancel?.();
    throw error;
  }
  // From here on an error without a listener would end the process.
  socket.on("error", () => {});
  const abandon = (): void => void socket.destroy();
  signal.addEventListener("abort", abandon, { once: true });
  let isLate = false;
  const stopWaiting = clock.at(clock.now() + firstByteMs, () => {
    isLate = true;
    socket.destroy();
  });
  try {
    const key = randomBytes(16).toString("base64");
    // Latin-1, as headers are read: as UTF-8 a byte of theirs would become two.
    socket.write(handshake(url, request, key), "latin1");
    request.watcher?.sent();
    const head = await readHead(socket);
    if (head === null) throw brokenOff(request.url);
    const { status, headers } = head;
    if (status !== 101) {
      const answer = await readRefusal(socket, head);
      if (answer === null) throw brokenOff(request.url);
      return { answer, socket: null };
    }
    checkAccepted(url, headers, key);
    return { answer: { status, statusText: "", headers, body: null }, socket };
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    if (isLate) throw timeoutOf(request.url, "answer", firstByteMs);
    throw error;
  } finally {
    stopWaiting();
    signal.removeEventListener("abort", abandon);
  }
}

async function connectTo(
  url: URL,
  request: UpstreamRequest,
  options: OpenOptions,
): Promise<Duplex> {
  const { clock, connectMs, authorities: ca } = options;
  const { signal } = request.controller;
  const isTls = url.protocol === "https:";
  const port = url.port === "" ? (isTls ? 443 : 80) : Number(url.port);
  const host = parseHost(url.hostname);
  const target: DialTarget = { name: host?.name ?? url.hostname, port };
  const via = proxyFor(options.proxy, request.url);
  const name = target.name.replace(/^\[|\]$/g, "");
  const dialling = { clock, connectMs, signal };
  const socket = await (via === null
    ? dial(target, request.addresses ?? [name], dialling)
    : dialThrough({ url: via, ca }, target, dialling));
  if (!isTls) return socket;
  return await secured(socket, name, request.url, ca, dialling);
}

/** What the handshake itself says; the client's own part of it ends here. */
const ofHandshake = new Set([
  "connection",
  "content-length",
  "host",
  "sec-websocket-accept",
  "sec-websocket-extensions",
  "sec-websocket-key",
  "sec-websocket-version",
  "upgrade",
]);

function handshake({ host }: URL, { url, headers }: UpstreamRequest, key: string): string {
  const lines = [
    `GET ${targetOf(url, originOf(url).length)} HTTP/1.1`,
    `Host: ${host}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${key}`,
  ];
  for (const [name, value] of Object.entries(headers.fields)) {
    if (ofHandshake.has(name)) continue;
    lines.push(`${name}: ${value}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** The head of an answer. */
export interface Head {
  status: number;
  headers: HeaderFields;
}

/**
 * The first head that is no interim answer, with the socket paused behind it; null where the connection ends before.
 * @throws UpstreamFailure where it cannot be read
 */
function readHead(socket: Duplex): Promise<Head | null> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const finish = (head: Head | Error | null): void => {
      socket.pause();
      socket.off("data", read);
      socket.off("end", ended);
      socket.off("close", ended);
      if (head instanceof Error) return reject(head);
      if (received.length > 0) socket.unshift(received);
      resolve(head);
    };
    const ended = (): void => finish(null);
    const read = (piece: Buffer): void => {
      received = Buffer.concat([received, piece]);
      for (;;) {
        const end = received.indexOf("\r\n\r\n");
        if (end === -1) {
          if (received.length > longestHead) finish(unreadable());
          return;
        }
        const text = received.toString("latin1", 0, end + 4);
        received = received.subarray(end + 4);
        let head: Head;
        try {
          head = parseHead(text);
        } catch {
          return finish(unreadable());
        }
        if (head.status === 101 || head.status >= 200) return finish(head);
      }
    };
    socket.on("data", read);
    socket.once("end", ended);
    socket.once("close", ended);
  });
}

/** @throws UpstreamFailure where the answer does not belong to the request (RFC 6455 §4.1) */
function checkAccepted(url: URL, headers: HeaderFields, key: string): void {
  const expected = createHash("sha1")
    .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  const isRight =
    headers.get("sec-websocket-accept") === expected &&
    headers.get("upgrade")?.toLowerCase() === "websocket" &&
    (headers.get("sec-websocket-extensions") ?? "") === "";
  if (isRight) return;
  throw new UpstreamFailure(
    "UPSTREAM_UNREACHABLE",
    `${url.host} answered the WebSocket handshake wrongly.`,
    true,
  );
}

function brokenOff(url: string): UpstreamFailure {
  return failureOf({ code: "ECONNRESET" }, url, { isConnected: true });
}

function unreadable(): UpstreamFailure {
  return new UpstreamFailure(
    "UPSTREAM_UNREACHABLE",
    "The upstream gave no answer that can be read.",
    true,
  );
}
