/** Resolves when it is the caller's turn: one caller a turn of the event loop, in order of asking. */
export type NextTurn = () => Promise<void>;

/**
 * Shares the event loop between long pieces of work: however many of them there are, each turn of the loop
 * runs one step of one of them, so that everything else waits for one step at most.
 */
export function createTurns(): NextTurn {
  const waiting: (() => void)[] = [];
  let running = false;
  const run = (): void => {
    waiting.shift()?.();
    running = waiting.length > 0;
    if (running) setImmediate(run);
  };
  return () =>
    new Promise((resolve) => {
      waiting.push(resolve);
      if (running) return;
      running = true;
      setImmediate(run);
    });
}
