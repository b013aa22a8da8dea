/**
 * Where finished log lines leave the process.
 *
 * Lines go out together, at most `collectMs` after the first of them and when there are `collectBytes`: under load a write
 * for each turn of the event loop would cost more than making the lines, and so would more than the processor's cache
 * holds. A reader that does not read (a stalled terminal, a full
 * pipe) must neither stop the proxy nor fill its memory: while a write is under way lines are kept up to
 * `maxBufferedBytes`, further ones are dropped, and their number is told once there is room again.
 */
export interface Outlet {
  /** Takes one line that ends with a newline. */
  push(line: string): void;
  /** Resolves when everything taken so far has been handed over, at the latest after `withinMs`. */
  flush(withinMs?: number): Promise<void>;
}

/** How long lines are collected, ms: not felt by a reader. */
const collectMs = 10;
/** How much is collected. */
const collectBytes = 32 * 1024;
/** What lines are first collected in, bytes. */
const firstBytes = 64 * 1024;
/** UTF-8 takes at most so many bytes for a character of a JavaScript string. */
const mostBytes = 3;

/**
 * Takes text as UTF-8; a promise means that it is not yet on its way, and that the bytes stay as they are until then.
 */
export type Write = (bytes: Uint8Array) => void | Promise<void>;

/**
 * Lines are turned into bytes as they come: strings kept for 10 ms outlive the young generation, and cost the collector
 * more than everything else that is done to a line.
 *
 * @param write gets the collected lines; called again only after its promise, if it gave one, has settled.
 * @param tellDropped makes the line that says how many were dropped.
 * @param maxBufferedBytes how much may wait while a write is under way.
 * @param later calls a function in a while: how long lines are collected.
 */
export function createOutlet(
  write: Write,
  tellDropped: (count: number) => string,
  maxBufferedBytes = 1_000_000,
  later: (run: () => void) => void = (run) => void setTimeout(run, collectMs).unref(),
): Outlet {
  let collecting = Buffer.allocUnsafeSlow(firstBytes);
  /** Takes the place of the other while that is being written. */
  let spare = Buffer.allocUnsafeSlow(firstBytes);
  let length = 0;
  let dropped = 0;
  let scheduled = false;
  let underWay: Promise<void> | null = null;

  const send = (): void => {
    if (underWay !== null || length === 0) return;
    const bytes = collecting.subarray(0, length);
    [collecting, spare] = [spare, collecting];
    length = 0;
    // A log that cannot be written is no reason to stop serving, and there is nobody to tell.
    let pending: void | Promise<void>;
    try {
      pending = write(bytes);
    } catch {
      return;
    }
    if (pending instanceof Promise) underWay = pending.then(written, written);
  };

  const due = (): void => {
    scheduled = false;
    send();
  };

  const written = (): void => {
    underWay = null;
    if (dropped > 0) {
      const line = tellDropped(dropped);
      dropped = 0;
      add(line);
    }
    send();
  };

  const add = (line: string): void => {
    const needed = length + line.length * mostBytes;
    if (needed > collecting.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * collecting.length));
      collecting.copy(larger, 0, 0, length);
      collecting = larger;
    }
    length += collecting.write(line, length);
  };

  return {
    push(line) {
      if (length + line.length > maxBufferedBytes) {
        if (underWay !== null) {
          dropped += 1;
          return;
        }
        send();
      }
      add(line);
      if (length >= collectBytes && underWay === null) return send();
      if (!scheduled) {
        scheduled = true;
        later(due);
      }
    },
    async flush(withinMs = 1000) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const tooLate = new Promise<"late">((resolve) => {
        timer = setTimeout(() => resolve("late"), withinMs);
      });
      send();
      while (underWay !== null) {
        if ((await Promise.race([underWay, tooLate])) === "late") break;
      }
      clearTimeout(timer);
    },
  };
}

/** Standard error without ever blocking on it: resolves when the text was taken, also when nobody is there. */
export function stderrWriter(): Write {
  const stream = process.stderr;
  // Without a listener, a reader that went away (EPIPE) would end the process. One does for all logs of a process.
  stream.off("error", ignore).on("error", ignore);
  return (bytes) => new Promise((resolve) => stream.write(bytes, () => resolve()));
}

function ignore(): void {}
