/** A body up to this size is handed over at once: sockets take so much without waiting for the other side. */
export const largeBodyBytes = 64 * 1024;

/**
 * `bytes` as a stream that the transport takes as fast as it can send, so that `onSent` is called when the last of
 * them was taken, not when sending began: an upload of 10 MB takes seconds, and the upstream counts the request
 * when it has all of it.
 */
export function inPieces(
  bytes: Uint8Array<ArrayBuffer>,
  onSent?: () => void,
): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (at < bytes.length) {
          controller.enqueue(bytes.subarray(at, at + largeBodyBytes));
          at += largeBodyBytes;
        } else {
          controller.close();
          onSent?.();
        }
      },
    },
    // Nothing is prepared ahead: a pull then means that the piece before it has been taken.
    { highWaterMark: 0 },
  );
}

/** `body` as it is, with `onSent` called when its end was taken. */
export function whenTaken(
  body: ReadableStream<Uint8Array>,
  onSent: () => void,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const piece = await reader.read();
        if (piece.done) {
          controller.close();
          onSent();
        } else controller.enqueue(piece.value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
