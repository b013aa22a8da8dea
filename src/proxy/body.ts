import { ProxyError } from "../errors.ts";
import type { Fields } from "../upstream/headers.ts";

/** Bodies up to this size are read before they are passed on: cheaper than a stream, and they can be sent again. */
export const smallBody = 64 * 1024;

/** The length that a message says its body has; null where it says none. */
export function contentLength(fields: Fields): number | null {
  const value = fields["content-length"];
  return value === undefined ? null : Number(value);
}

/** @throws ProxyError `BODY_TOO_LARGE` if the request says that its body is larger than `max` bytes. */
export function checkLength(fields: Fields, max: number): void {
  const length = contentLength(fields);
  if (length !== null && length > max) throw tooLarge(max);
}

/**
 * All bytes of a request's body, which must be no more than `max`.
 * @throws ProxyError `BODY_TOO_LARGE`, as soon as that is known
 */
export async function readBody(request: Request, fields: Fields, max: number): Promise<Uint8Array> {
  checkLength(fields, max);
  if (contentLength(fields) !== null) return request.bytes();
  if (request.body === null) return new Uint8Array();
  const bytes = await collect(request.body, max);
  if (bytes === null) throw tooLarge(max);
  return bytes;
}

/** All bytes of a stream; null if they are more than `max`, then the rest is not read. */
async function collect(
  stream: ReadableStream<Uint8Array>,
  max: number,
): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.byteLength;
    if (length > max) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** `stream`, broken off with `BODY_TOO_LARGE` when more than `max` bytes have come through. */
export function bounded(
  stream: ReadableStream<Uint8Array>,
  max: number,
): ReadableStream<Uint8Array> {
  let length = 0;
  return stream.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        length += chunk.byteLength;
        if (length > max) controller.error(tooLarge(max));
        else controller.enqueue(chunk);
      },
    }),
  );
}

function tooLarge(max: number): ProxyError {
  return new ProxyError(
    "BODY_TOO_LARGE",
    `The body is larger than the ${max} bytes allowed (server.max_body_size).`,
  );
}
