import type { Clock } from "../clock.ts";
import type { Cancellation } from "../upstream/cancellation.ts";

/** Ends `call` when the client goes away, or has gone. */
export function follow(client: AbortSignal, call: Cancellation): void {
  if (client.aborted) call.abort(client.reason);
  else client.addEventListener("abort", () => call.abort(client.reason), { once: true });
}

/** Resolves at `until` (ms since the epoch); rejects with the signal's reason if the client goes away. */
export function sleep(clock: Clock, until: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const leave = (): void => {
    cancel();
    reject(signal.reason);
  };
  const cancel = clock.at(until, () => {
    signal.removeEventListener("abort", leave);
    resolve();
  });
  signal.addEventListener("abort", leave, { once: true });
  return promise;
}
