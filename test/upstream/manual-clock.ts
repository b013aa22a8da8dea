import type { Clock } from "../../src/clock.ts";

/** A clock that a test sets. `advance` runs what has become due, in order. */
export function manualClock(): Clock & { advance(ms: number): void; timers(): number } {
  let now = 0;
  const due = new Map<object, { at: number; run: () => void }>();
  return {
    now: () => now,
    at(at, run) {
      const key = {};
      due.set(key, { at, run });
      return () => void due.delete(key);
    },
    advance(ms) {
      const until = now + ms;
      for (;;) {
        const [next] = [...due]
          .filter(([, { at }]) => at <= until)
          .sort(([, a], [, b]) => a.at - b.at);
        if (next === undefined) break;
        const [key, { at, run }] = next;
        due.delete(key);
        now = Math.max(now, at);
        run();
      }
      now = until;
    },
    timers: () => due.size,
  };
}
