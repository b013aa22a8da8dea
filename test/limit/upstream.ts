import type { Entry, Limit, Outlook } from "../../src/limit/limit.ts";

/** What happens to one request, in ms from the moment before and as shares (0 to 1). */
export interface Fate {
  /** From the request before this one. */
  gapMs: number;
  amount: number;
  /** From dispatch until it has left in full. */
  sendMs: number;
  /** From then until the headers arrive. */
  headersMs: number;
  /** When the upstream counts it, between dispatch and the latest moment it may. */
  countedShare: number;
  /** From the headers until the answer has ended. */
  answerMs: number;
  /** What of the reservation is really charged in the end. */
  actualShare: number;
  /** It never leaves: given back after `sendMs`. */
  released: boolean;
}

/** A request in flight, as both sides see it. */
export interface Call {
  /** Grows in the order of dispatch. */
  readonly id: number;
  readonly reserved: number;
  readonly dispatchedAt: number;
  readonly sentAt: number;
  /** The limit in force then. */
  readonly limit: number;
  /** What the upstream charges for it now: nothing before it has counted it. */
  charged: number;
  countedAt: number;
}

/** What the simulation asks of a limit, or of a ledger in its place. */
export interface Limited {
  readonly max: number;
  fits(now: number, amount: number): boolean;
  charge(now: number, amount: number, outlook: Outlook, fate: Fate): Entry;
  sent(entry: Entry, now: number): void;
  arrived(entry: Entry, now: number): void;
  settle(entry: Entry, now: number, actual: number): void;
  release(entry: Entry, now: number): void;
}

/** The moments at which either side of the simulation acts. */
export interface Script {
  limit: Limited;
  marginMs: number;
  startAt: number;
  /** Whether the upstream gets to count it at all; yes where absent. */
  counts?(call: Call, now: number): boolean;
  /** The upstream has counted this call just now. */
  onCount(call: Call, now: number): void;
  /** The upstream has revised a call from what it charged before. */
  onRevise?(call: Call, before: number, now: number): void;
  /** After every event. */
  onEvent?(now: number): void;
}

/**
 * Drives a limit with greedy clients against an upstream that counts each call at a moment of its own choice between
 * dispatch and the headers, or dispatch and a margin after it was sent. Events run in the order of time.
 * @returns the calls that were dispatched, and the time of the last event
 */
export function simulate(script: Script, fates: readonly Fate[]): { calls: Call[]; now: number } {
  const { limit, marginMs } = script;
  const calls: Call[] = [];
  const events: { at: number; run: (now: number) => void }[] = [];
  let now = script.startAt;
  const later = (at: number, run: (now: number) => void): void => {
    let index = events.length;
    while (index > 0 && (events[index - 1]?.at ?? 0) > at) index--;
    events.splice(index, 0, { at, run });
  };
  const runUntil = (end: number): void => {
    for (let event = events[0]; event !== undefined && event.at <= end; event = events[0]) {
      events.shift();
      now = Math.max(now, event.at);
      event.run(now);
      script.onEvent?.(now);
    }
  };

  const dispatch = (fate: Fate): void => {
    const entry = limit.charge(
      now,
      fate.amount,
      { endAt: now + fate.sendMs + fate.answerMs, amount: 0 },
      fate,
    );
    if (fate.released) return later(now + fate.sendMs, (at) => limit.release(entry, at));
    const sentAt = now + fate.sendMs;
    const headersAt = sentAt + fate.headersMs;
    const lastAt = Math.min(headersAt, sentAt + marginMs);
    const call: Call = {
      id: calls.length,
      dispatchedAt: now,
      sentAt,
      limit: limit.max,
      reserved: fate.amount,
      charged: 0,
      countedAt: Infinity,
    };
    calls.push(call);
    later(now + fate.countedShare * (lastAt - now), (at) => {
      if (script.counts?.(call, at) === false) return;
      call.countedAt = at;
      call.charged = call.reserved;
      script.onCount(call, at);
    });
    later(sentAt, (at) => limit.sent(entry, at));
    later(headersAt, (at) => limit.arrived(entry, at));
    later(headersAt + fate.answerMs, (at) => {
      const actual = Math.floor(fate.actualShare * call.reserved);
      if (call.countedAt === Infinity) return limit.settle(entry, at, actual);
      const before = call.charged;
      call.charged = actual;
      script.onRevise?.(call, before, at);
      limit.settle(entry, at, actual);
    });
  };

  for (const fate of fates) {
    const next = now + fate.gapMs;
    runUntil(next);
    now = next;
    if (limit.fits(now, fate.amount)) dispatch(fate);
    script.onEvent?.(now);
  }
  runUntil(now + 10 * 60_000);
  return { calls, now };
}

/** An entry that has been sent and has arrived at `now`. */
export function counted(limit: Limit, now: number, amount: number): Entry {
  const entry = limit.charge(now, amount, null);
  limit.sent(entry, now);
  limit.arrived(entry, now);
  return entry;
}
