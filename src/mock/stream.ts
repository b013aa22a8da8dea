import type { Clock } from "../clock.ts";
import type { Frame } from "./call.ts";
import { waitUntil } from "./wait.ts";

const encoder = new TextEncoder();

/**
 * Sends `frames` one by one, at least `intervalMs` apart. Pulled, so that a client that does not read holds up
 * the output, as it would at a provider.
 *
 * @param ended is told, possibly more than once, how the stream ended and how many tokens the client was sent.
 */
export function streamFrames(
  frames: Iterable<Frame>,
  intervalMs: number,
  clock: Clock,
  signal: AbortSignal,
  ended: (how: "done" | "aborted", producedTokens: number) => void,
): ReadableStream<Uint8Array> {
  const iterator = frames[Symbol.iterator]();
  let next = iterator.next();
  let producedTokens = 0;
  let nextAt = clock.now();
  const abort = (): void => ended("aborted", producedTokens);
  signal.addEventListener("abort", abort);

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        await waitUntil(clock, nextAt, signal);
        if (signal.aborted || next.done) return controller.close();
        nextAt = clock.now() + intervalMs;
        producedTokens = next.value.producedTokens;
        controller.enqueue(encoder.encode(next.value.text));
        next = iterator.next();
        if (!next.done) return;
        ended("done", producedTokens);
        controller.close();
      },
      cancel: abort,
    },
    { highWaterMark: 0 },
  );
}
