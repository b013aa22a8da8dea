/**
 * Where every algorithm gets its time from.
 *
 * All times in Cooldown are milliseconds since the Unix epoch as a number that may be fractional;
 * all durations are milliseconds.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch. Never smaller than any value returned before. */
  now(): number;
  /** Calls `run` once at time `at`, or soon after; the returned function takes that back. */
  at(at: number, run: () => void): () => void;
}

/** The longest delay `setTimeout` takes (2^31-1 ms, about 24.8 days); longer waits are cut into pieces. */
const longestTimeoutMs = 2_147_483_647;

/**
 * The clock of the running program: the wall clock read once at start, carried on by the monotonic timer,
 * so that a clock set back (NTP, a user) never frees quota.
 *
 * @param notBefore the latest time that a stored journal has seen: after a restart on a machine whose clock
 *   was set back, time goes on from there instead of repeating itself.
 */
export function systemClock(notBefore = 0): Clock {
  const origin = Math.max(Date.now(), notBefore) - performance.now();
  const now = (): number => origin + performance.now();
  const at = (time: number, run: () => void): (() => void) => {
    let timer: ReturnType<typeof setTimeout>;
    const arm = (): void => {
      const delay = Math.max(0, time - now());
      timer = delay > longestTimeoutMs ? setTimeout(arm, longestTimeoutMs) : setTimeout(run, delay);
    };
    arm();
    return () => clearTimeout(timer);
  };
  return { now, at };
}
