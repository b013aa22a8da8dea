import type { Clock } from "../clock.ts";
import type { Frame } from "./call.ts";
import { waitUntil } from "./wait.ts";

const encoder = new TextEncoder();
/** From the last frame to the cut: an error discards what has not left yet. */
const cutAfterMs = 20;

/** Who follows a stream. */
export interface StreamWatcher {
  /** The client has been sent this many tokens by now. */
  produced(tokens: number): void;
  /** Told, possibly more than once, how the stream ended and how many tokens the client was sent. */
  ended(how: "done" | "aborted", tokens: number): void;
}

/**
 * Sends `frames` one by one, at least `intervalMs` apart. Pulled, so that a client that does not read holds up
 * the output, as it would at a provider.
 *
 * @param cutAtTokens closes the connection after the frame that reaches this many tokens; null: never.
 */
export function streamFrames(
  frames: Iterable<Frame>,
  intervalMs: number,
  clock: Clock,
  signal: AbortSignal,
  watcher: StreamWatcher,
  cutAtTokens: number | null = null,
): ReadableStream<Uint8Array> {
  const iterator = frames[Symbol.iterator]();
  let next = iterator.next();
  let producedTokens = 0;
  let isCut = false;
  let nextAt = clock.now();
  const abort = (): void => watcher.ended("aborted", producedTokens);
  signal.addEventListener("abort", abort);

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        await waitUntil(clock, nextAt, signal);
        if (signal.aborted || next.done) return controller.close();
        if (isCut) {
          watcher.ended("done", producedTokens);
          return controller.error(undefined);
        }
        producedTokens = next.value.producedTokens;
        isCut = cutAtTokens !== null && producedTokens >= cutAtTokens;
        nextAt = clock.now() + (isCut ? Math.max(intervalMs, cutAfterMs) : intervalMs);
        controller.enqueue(encoder.encode(next.value.text));
        watcher.produced(producedTokens);
        next = iterator.next();
        if (!next.done) return;
        watcher.ended("done", producedTokens);
        controller.close();
      },
      cancel: abort,
    },
    { highWaterMark: 0 },
  );
}
