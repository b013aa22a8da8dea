import type { Clock } from "../../src/clock.ts";

/** A clock that stands until a test moves it. */
export interface ManualClock extends Clock {
  /** Moves time on by `ms`, running what falls due in order and letting promises resolve in between. */
  advance(ms: number): Promise<void>;
}

export function manualClock(start = 1_700_000_000_000): ManualClock {
  let now = start;
  let timers: { at: number; run: () => void }[] = [];
  const settlePromises = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return {
    now: () => now,
    at(at, run) {
      const timer = { at, run };
      timers.push(timer);
      return () => void (timers = timers.filter((other) => other !== timer));
    },
    async advance(ms) {
      const end = now + ms;
      await settlePromises();
      for (;;) {
        const due = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (!due) break;
        timers = timers.filter((timer) => timer !== due);
        now = Math.max(now, due.at);
        due.run();
        await settlePromises();
      }
      now = end;
    },
  };
}
