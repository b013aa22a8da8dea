import type { Clock } from "../clock.ts";

/** One wait in a list of deadlines. */
export interface Wait {
  /** Ends the wait; after that it does not run out. May be called more than once. */
  end(): void;
  /** Begins it anew, ended or not. */
  restart(): void;
}

/** Who waits: an object, since nearly no wait runs out and a closure for each would be made for nothing. */
export interface Waiting {
  /** It has run out. */
  late(): void;
}

/**
 * Many waits of the same length under one timer.
 *
 * As all are equally long, they run out in the order in which they began: the list is always sorted, beginning and
 * ending a wait is a few assignments, and the timer needs to know only the first. It is not even stopped when a
 * wait ends, but finds out when it fires; and one that was begun anew meanwhile is put where it belongs then, since
 * streams begin theirs anew with every piece. A `setTimeout` of its own for each would cost several times as much.
 */
export interface Deadlines {
  /** Begins a wait; `who.late` is called once if it is not ended within the list's duration. */
  begin(who: Waiting): Wait;
  /** Forgets all waits and stops the timer. */
  close(): void;
}

/** A place in a ring whose head is the list itself: the first wait to run out comes after the head. */
class Node implements Wait {
  before: Node = this;
  after: Node = this;
  /** When it runs out, ms since the epoch. */
  at = 0;
  /** By what it stands where it stands: `at`, or what that was before it was begun anew. */
  standing = 0;
  readonly who: Waiting;
  readonly #begin: (node: Node) => void;

  constructor(who: Waiting, begin: (node: Node) => void) {
    this.who = who;
    this.#begin = begin;
  }

  restart(): void {
    this.#begin(this);
  }

  end(): void {
    this.before.after = this.after;
    this.after.before = this.before;
    this.before = this;
    this.after = this;
  }
}

/** Creates a list of waits that are each `durationMs` long. */
export function createDeadlines(clock: Clock, durationMs: number): Deadlines {
  const start = (node: Node): void => {
    node.at = clock.now() + durationMs;
    if (node.after === node) stand(node);
  };
  /** Puts a node where it belongs: at the end, or not far from it. */
  const stand = (node: Node): void => {
    let before = head.before;
    while (before !== head && before.standing > node.at) before = before.before;
    node.standing = node.at;
    node.before = before;
    node.after = before.after;
    before.after.before = node;
    before.after = node;
    stopTimer ??= clock.at(node.at, runOut);
  };
  const head = new Node({ late: () => {} }, start);
  let stopTimer: (() => void) | null = null;

  const runOut = (): void => {
    const now = clock.now();
    const late: Node[] = [];
    for (let node = head.after; node !== head && node.standing <= now; node = head.after) {
      node.end();
      if (node.at <= now) late.push(node);
      else stand(node);
    }
    // Armed before anything is called: what is called may begin waits.
    stopTimer = head.after === head ? null : clock.at(head.after.standing, runOut);
    for (const { who } of late) who.late();
  };

  const begin = (who: Waiting): Wait => {
    const node = new Node(who, start);
    start(node);
    return node;
  };

  const close = (): void => {
    stopTimer?.();
    stopTimer = null;
    while (head.after !== head) head.after.end();
  };
  return { begin, close };
}
