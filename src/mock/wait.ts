import type { Clock } from "../clock.ts";

/** Resolves at `time`, or as soon as `signal` aborts; at once where either is past. */
export function waitUntil(clock: Clock, time: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted || time <= clock.now()) return resolve();
    const wake = (): void => {
      cancel();
      signal?.removeEventListener("abort", wake);
      resolve();
    };
    const cancel = clock.at(time, wake);
    signal?.addEventListener("abort", wake);
  });
}
