/** Counting in a thread of its own, so that long texts do not hold up the event loop. */
import type { Clock } from "../clock.ts";
import { UsageError } from "../errors.ts";
import { tokenizerNamed, type TokenizerName } from "./tokenizer.ts";

/** Texts to count, and the number that tells which question an answer belongs to. */
export interface Question {
  readonly id: number;
  readonly vocabulary: TokenizerName;
  readonly texts: readonly string[];
}

/** The tokens of each text of the question `id`; null where its tokenizer's file cannot be read any more. */
export interface Answer {
  readonly id: number;
  readonly counts: readonly number[] | null;
}

/** What the thread does with a question. */
export function answer({ id, vocabulary, texts }: Question): Answer {
  try {
    return { id, counts: texts.map(tokenizerNamed(vocabulary).count) };
  } catch (error) {
    if (error instanceof UsageError) return { id, counts: null };
    throw error;
  }
}

/** The part of `Worker` that is needed here. */
export interface CountingThread {
  onmessage: ((event: MessageEvent<Answer>) => unknown) | null;
  onerror: ((event: ErrorEvent) => unknown) | null;
  addEventListener(event: "close", heard: () => void): void;
  postMessage(question: Question): void;
  ref(): void;
  unref(): void;
  terminate(): void;
}

/**
 * Starts `worker.ts`. In the executable, entry points lie where they lay under their common folder `src/`,
 * with the ending `.js`, and this module's URL is that of the executable in that folder.
 */
export function startThread(): CountingThread {
  const path = Bun.isStandaloneExecutable ? "./tokens/worker.js" : "./worker.ts";
  return new Worker(new URL(path, import.meta.url), { name: "tokens" });
}

/** Questions that may wait for the thread before it counts as saturated: of 64 KB each, about 0.2 s of work. */
const saturatedAt = 64;

/** With no answer for this long, the thread is taken for dead. */
const silenceMs = 10_000;

/** A thread that keeps dying is given up: the cause is not the text that was in it. */
const mostStarts = 3;

export interface RemoteCounter {
  /** False once it pays to estimate instead: too much is waiting, or the thread cannot be had. */
  available(): boolean;
  /** The tokens of each text; null where the thread could not, died or was closed before it answered. Never rejects. */
  count(vocabulary: TokenizerName, texts: readonly string[]): Promise<readonly number[] | null>;
  /** Ends the thread and answers null to every open question, now and later. */
  close(): void;
}

/**
 * A counter in another thread, started with the first question. It keeps the process alive only while a
 * question is open.
 */
export function createRemoteCounter(
  clock: Clock,
  start: () => CountingThread = startThread,
): RemoteCounter {
  const open = new Map<number, (counts: readonly number[] | null) => void>();
  let thread: CountingThread | null = null;
  let starts = 0;
  let lastId = 0;
  let stopWatching: (() => void) | null = null;

  const giveUp = (): void => {
    stopWatching?.();
    stopWatching = null;
    const ended = thread;
    thread = null;
    if (ended !== null) {
      ended.onmessage = null;
      ended.onerror = null;
      ended.terminate();
    }
    const unanswered = [...open.values()];
    open.clear();
    for (const resolve of unanswered) resolve(null);
  };

  const watch = (): void => {
    stopWatching?.();
    stopWatching = open.size > 0 ? clock.at(clock.now() + silenceMs, giveUp) : null;
  };

  const heard = ({ id, counts }: Answer): void => {
    const resolve = open.get(id);
    open.delete(id);
    watch();
    if (open.size === 0) thread?.unref();
    resolve?.(counts);
  };

  const running = (): CountingThread | null => {
    if (thread !== null || starts >= mostStarts) return thread;
    starts++;
    try {
      const started = start();
      started.onmessage = (event) => heard(event.data);
      started.onerror = (event) => {
        event.preventDefault();
        giveUp();
      };
      started.addEventListener("close", () => {
        if (thread === started) giveUp();
      });
      thread = started;
    } catch {
      // No thread to be had (resources, a missing entry point): the caller estimates.
    }
    return thread;
  };

  return {
    available: () => open.size < saturatedAt && (thread !== null || starts < mostStarts),
    count: (vocabulary, texts) => {
      const to = running();
      if (to === null) return Promise.resolve(null);
      return new Promise((resolve) => {
        const id = ++lastId;
        open.set(id, resolve);
        if (open.size === 1) {
          to.ref();
          watch();
        }
        to.postMessage({ id, vocabulary, texts });
      });
    },
    close: () => {
      starts = mostStarts;
      giveUp();
    },
  };
}
