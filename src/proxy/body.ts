import { ProxyError } from "../errors.ts";
import type { Deadlines } from "../upstream/deadlines.ts";
import type { Fields } from "../upstream/headers.ts";

/** Bodies up to this size are read before they are passed on: cheaper than a stream, and they can be sent again. */
export const smallBody = 64 * 1024;

/**
 * Where a pause may be this long, a small body must arrive within it as a whole: to see its pauses it would have to
 * be read piece by piece, which costs more than all else that is done to such a request.
 */
const longPauseMs = 10_000;

/** How long a body may pause on its way here (`server.read_timeout`). */
export interface Arriving {
  readonly pauseMs: number;
  /** Waits of that length. */
  readonly deadlines: Deadlines;
}

/**
 * The length that a request says its body has; null where it says none.
 * @throws ProxyError `INVALID_REQUEST` where that is not one whole number
 */
export function contentLength(fields: Fields): number | null {
  const value = fields["content-length"];
  if (value === undefined) return null;
  // The runtime lets equal lengths pass and joins them; RFC 9112 §6.3 has such a message refused or mended.
  if (!/^\d{1,15}$/.test(value))
    throw new ProxyError("INVALID_REQUEST", "The Content-Length header is not one length.");
  return Number(value);
}

/** @throws ProxyError `BODY_TOO_LARGE` if the request says that its body is larger than `max` bytes. */
export function checkLength(fields: Fields, max: number): void {
  const length = contentLength(fields);
  if (length !== null && length > max) throw tooLarge(max);
}

/**
 * All bytes of a request's body, which must be no more than `max`.
 * @throws ProxyError `BODY_TOO_LARGE`, as soon as that is known; `INVALID_REQUEST` where it stops arriving
 */
export function readBody(
  request: Request,
  fields: Fields,
  max: number,
  arriving: Arriving,
): Promise<Uint8Array> {
  checkLength(fields, max);
  const length = contentLength(fields);
  // Before a look at `body`, which would make a stream of it.
  if (length !== null && length <= smallBody && arriving.pauseMs >= longPauseMs)
    return whole(request, arriving);
  const { body } = request;
  return body === null
    ? Promise.resolve(new Uint8Array())
    : collect(arrivingBody(body, max, arriving));
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Written without `async` and `race`, which are several promises more for each request. */
function whole(request: Request, { pauseMs, deadlines }: Arriving): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const wait = deadlines.begin({ late: () => reject(stopped(pauseMs)) });
    void request
      .bytes()
      .then(resolve, reject)
      .finally(() => wait.end());
  });
}

/**
 * `stream` as it is read, broken off with `BODY_TOO_LARGE` when more than `max` bytes have come through, and with
 * `INVALID_REQUEST` when nothing comes for too long. Time in which nobody reads does not count.
 */
export function arrivingBody(
  stream: ReadableStream<Uint8Array>,
  max: number,
  { pauseMs, deadlines }: Arriving,
): ReadableStream<Uint8Array> {
  const reader = stream.getReader();
  let length = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const wait = deadlines.begin({ late: () => controller.error(stopped(pauseMs)) });
        try {
          const piece = await reader.read();
          if (piece.done) return controller.close();
          length += piece.value.byteLength;
          if (length > max) throw tooLarge(max);
          controller.enqueue(piece.value);
        } finally {
          wait.end();
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function stopped(ms: number): ProxyError {
  return new ProxyError(
    "INVALID_REQUEST",
    `The request's body stopped arriving for ${ms / 1_000} s (server.read_timeout).`,
  );
}

function tooLarge(max: number): ProxyError {
  return new ProxyError(
    "BODY_TOO_LARGE",
    `The body is larger than the ${max} bytes allowed (server.max_body_size).`,
  );
}
