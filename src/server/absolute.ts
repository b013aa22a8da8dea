import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../clock.ts";
import { ProxyError } from "../errors.ts";

/** How much of a request's body is held when the pipeline does not take it, in bytes. */
const heldBytes = 64 * 1024;
/** Headers of a request that end at this proxy (RFC 9110 §11.7.2), or that the server has answered already. */
const endHere: ReadonlySet<string> = new Set([
  "expect",
  "host",
  "proxy-authorization",
  "proxy-connection",
]);

export interface RequestOptions {
  clock: Clock;
  /** The URL asked for. */
  url: string;
  /** Its host and port, as they stand in `Host` whatever the client wrote there (RFC 9112 §3.2.2). */
  host: string;
  /** The key that the client gave this proxy, null for none: the pipeline finds it in `X-Cooldown-Key`. */
  key: string | null;
  /** The longest pause while the body arrives, ms. */
  readMs: number;
  signal: AbortSignal;
}

/**
 * A request of `node:http` as the pipeline takes it: repeated headers stay repeated, the body is read as it is taken.
 *
 * The body fails with `INVALID_REQUEST` where it stops arriving. A GET or HEAD request has none: its length is still
 * in the headers, for the pipeline to refuse it.
 */
export function requestOf(incoming: IncomingMessage, options: RequestOptions): Request {
  const headers = new Headers();
  const { rawHeaders } = incoming;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? "";
    if (!endHere.has(name.toLowerCase())) headers.append(name, rawHeaders[i + 1] ?? "");
  }
  headers.set("host", options.host);
  if (options.key !== null) headers.set("x-cooldown-key", options.key);
  const method = incoming.method ?? "GET";
  const hasBody =
    method !== "GET" &&
    method !== "HEAD" &&
    (headers.has("transfer-encoding") || Number(headers.get("content-length") ?? 0) > 0);
  return new Request(options.url, {
    method,
    headers,
    signal: options.signal,
    ...(hasBody ? { body: bodyOf(incoming, options) } : {}),
  });
}

/** The body as a stream that is read from the connection only as fast as it is taken. */
function bodyOf(
  incoming: IncomingMessage,
  { clock, readMs }: RequestOptions,
): ReadableStream<Uint8Array> {
  let stopWaiting = (): void => {};
  let isOver = false;
  incoming.pause();
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const end = (finish: () => void) => (): void => {
          stopWaiting();
          if (isOver) return;
          isOver = true;
          finish();
        };
        incoming.on("data", (piece: Buffer) => {
          if (isOver) return;
          stopWaiting();
          controller.enqueue(new Uint8Array(piece));
          if ((controller.desiredSize ?? 0) <= 0) incoming.pause();
        });
        const broken = end(() => controller.error(new Error("The client broke off its request.")));
        incoming.once(
          "end",
          end(() => controller.close()),
        );
        incoming.once("error", broken);
        incoming.once("close", broken);
      },
      pull(controller) {
        if (isOver) return;
        stopWaiting();
        stopWaiting = clock.at(clock.now() + readMs, () => {
          isOver = true;
          controller.error(
            new ProxyError(
              "INVALID_REQUEST",
              `The request's body stopped arriving for ${readMs / 1_000} s (server.read_timeout).`,
            ),
          );
        });
        incoming.resume();
      },
      cancel() {
        isOver = true;
        stopWaiting();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: heldBytes }),
  );
}

export interface AnswerOptions {
  clock: Clock;
  /** The longest time that the client may take nothing, ms. */
  writeMs: number;
}

/**
 * Sends the pipeline's answer: piece by piece, no faster than the client takes it. One that breaks off, that is not as
 * long as it says, or that the client does not take, ends with the connection, so that it never looks complete, and
 * nothing of it looks like the next answer.
 * Resolves when it has been sent, or cannot be any more; never rejects.
 */
export async function sendAnswer(
  answer: Response,
  outgoing: ServerResponse,
  options: AnswerOptions,
): Promise<void> {
  const { status, statusText, headers, body } = answer;
  const { req: incoming } = outgoing;
  const length = lengthOf(answer);
  if (length === null) headers.delete("content-length");
  outgoing.statusCode = status;
  // Others cannot be written; the reason says nothing that the status does not (RFC 9112 §4).
  if (/^[ -~]+$/.test(statusText)) outgoing.statusMessage = statusText;
  for (const [name, value] of headers) {
    if (name !== "set-cookie") outgoing.setHeader(name, value);
  }
  const cookies = headers.getSetCookie();
  if (cookies.length > 0) outgoing.setHeader("set-cookie", cookies);
  // The rest of a body that nobody wants would have to be read before the next request.
  if (!incoming.complete && hasBody(incoming)) outgoing.setHeader("connection", "close");
  const isBodiless = incoming.method === "HEAD" || status === 204 || status === 304;
  if (isBodiless || (body === null && (length ?? 0) === 0)) {
    await body?.cancel().catch(() => {});
    outgoing.end();
    return;
  }
  const reader = body?.getReader();
  let sent = 0;
  try {
    outgoing.flushHeaders();
    for (;;) {
      const piece = await reader?.read();
      if (piece === undefined || piece.done) break;
      sent += piece.value.length;
      if (sent > (length ?? Infinity)) throw new Error("The answer is longer than it says.");
      if (!outgoing.write(piece.value)) await taken(outgoing, options);
      if (outgoing.destroyed || outgoing.closed) throw new Error("The client has gone.");
    }
    if (sent < (length ?? 0)) throw new Error("The answer is shorter than it says.");
    outgoing.end();
  } catch (error) {
    // Where the end of the connection is that of the answer, an orderly one would make it look complete.
    if (length === null && incoming.httpVersion === "1.0") outgoing.socket?.resetAndDestroy();
    outgoing.socket?.destroy();
    outgoing.destroy();
    await reader?.cancel(error).catch(() => {});
  }
}

/** How long an answer says it is, in bytes; null where it says nothing, or nothing clear, or may not (RFC 9110 §8.6). */
function lengthOf({ status, headers }: Response): number | null {
  const text = headers.get("content-length") ?? "";
  return status !== 204 && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

/** Resolves when the client has taken what was written; rejects when it has gone, or does not. */
function taken(outgoing: ServerResponse, { clock, writeMs }: AnswerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (run: () => void) => (): void => {
      stop();
      outgoing.off("drain", drained);
      outgoing.off("close", closed);
      run();
    };
    const drained = finish(resolve);
    const closed = finish(() => reject(new Error("The client has gone.")));
    const stop = clock.at(
      clock.now() + writeMs,
      finish(() => reject(new Error("The client takes nothing."))),
    );
    outgoing.on("drain", drained);
    outgoing.on("close", closed);
  });
}
