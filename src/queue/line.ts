import type { Waiting } from "./lane.ts";
import { Lane, priorities } from "./lane.ts";
import type { Shares } from "./shares.ts";

/** Below this many tokens a request counts double in smart mode, above `largeTokens` half (contract, section 4). */
const smallTokens = 1_000;
const largeTokens = 5_000;
/** Lanes of one class: sizes by powers of two that meet at the two bounds above. */
const sizes = [
  62,
  125,
  250,
  500,
  smallTokens - 1,
  2_000,
  largeTokens,
  10_000,
  20_000,
  40_000,
  80_000,
  160_000,
];

/** Lanes of requests that go again come after those of the classes, in the list but not in the order. */
const againRow = Object.keys(priorities).length;
/** Their class: no wait lifts any other so far. */
const againClass = -1e9;

/** Waiting lifts a request by a class each time this share of its longest wait has passed. */
const liftShare = 0.1;

/**
 * All requests that need the same accounts, in lanes by class and size, so that only the heads of a few lanes are
 * ever compared.
 */
export class Line {
  readonly #shares: Shares;
  /** By class and size; a lane that was needed once stays. */
  readonly #byKey: (Lane | undefined)[] = [];
  /** Those that there are, in the same order: they are gone through at every look. */
  #lanes: readonly Lane[] = [];
  /** Requests waiting here. */
  size = 0;
  /** Whether small requests go first now; set by the planner. */
  smart = false;
  /** Its first, where that could not start when the queue was last looked at; set by the planner. */
  blocked: Waiting | null = null;

  constructor(shares: Shares) {
    this.#shares = shares;
  }

  push(item: Waiting): void {
    const row = item.again ? againRow : priorities[item.priority];
    const key = row * (sizes.length + 1) + sizeLane(item.cost.total_tokens);
    (this.#byKey[key] ?? this.#open(key)).push(item);
    this.size++;
  }

  #open(key: number): Lane {
    const lane = new Lane(this.#shares);
    this.#byKey[key] = lane;
    this.#lanes = this.#byKey.filter((one) => one !== undefined);
    return lane;
  }

  remove(item: Waiting): void {
    if (item.flow === null) return;
    item.flow.lane.remove(item);
    this.size--;
  }

  /** The requests that could be next, two a lane at most: whose turn it is, and who has waited longest. */
  picks(): Waiting[] {
    const into: Waiting[] = [];
    for (const lane of this.#lanes) {
      const fair = lane.fair();
      if (fair === null) continue;
      into.push(fair);
      const oldest = lane.oldest();
      if (oldest !== null && oldest !== fair) into.push(oldest);
    }
    return into;
  }

  /** The first in the order of the queue, as `goesBefore` has it. */
  head(now: number): Waiting | null {
    let head: Waiting | null = null;
    let headClass = Infinity;
    for (const lane of this.#lanes) {
      const fair = lane.fair();
      if (fair === null) continue;
      const fairClass = classAt(fair, now);
      if (fairClass < headClass || (fairClass === headClass && this.#goesFirst(fair, head))) {
        head = fair;
        headClass = fairClass;
      }
      // Whose turn it is stands before who came first, unless waiting has lifted that one.
      const oldest = lane.oldest() ?? fair;
      if (oldest === fair) continue;
      const oldestClass = classAt(oldest, now);
      if (oldestClass < headClass || (oldestClass === headClass && this.#goesFirst(oldest, head))) {
        head = oldest;
        headClass = oldestClass;
      }
    }
    return head;
  }

  #goesFirst(item: Waiting, head: Waiting | null): boolean {
    return head === null || goesBeforeInClass(item, head, this.smart);
  }

  /** Any request that waits here. */
  anyone(): Waiting | null {
    for (const lane of this.#lanes) {
      const oldest = lane.oldest();
      if (oldest !== null) return oldest;
    }
    return null;
  }

  /** Whether `item` is one of those that could be next. */
  isPick(item: Waiting): boolean {
    const lane = item.flow?.lane;
    return lane !== undefined && (lane.fair() === item || lane.oldest() === item);
  }
}

/** Which of a class's lanes a request of this many tokens stands in. */
export function sizeLane(tokens: number): number {
  let lane = 0;
  while (lane < sizes.length && tokens > (sizes[lane] ?? Infinity)) lane++;
  return lane;
}

/** The class that counts now, smaller first: waiting lifts it, past the highest too, so that nothing starves. */
export function classAt(item: Waiting, now: number): number {
  if (item.again) return againClass;
  return (
    priorities[item.priority] - Math.floor((now - item.arrivedAt) / (item.timeoutMs * liftShare))
  );
}

/** How a request counts in smart mode: smaller first. */
function smartRank(item: Waiting): number {
  const tokens = item.cost.total_tokens;
  if (tokens < smallTokens) return 0;
  return tokens > largeTokens ? 2 : 1;
}

/**
 * The order of the queue: class with ageing, then size in smart mode, then the client's share, then arrival.
 * @param smart whether both stand in lines where small requests go first
 */
export function goesBefore(a: Waiting, b: Waiting, now: number, smart: boolean): boolean {
  const byClass = classAt(a, now) - classAt(b, now);
  return byClass === 0 ? goesBeforeInClass(a, b, smart) : byClass < 0;
}

function goesBeforeInClass(a: Waiting, b: Waiting, smart: boolean): boolean {
  const bySize = smart ? smartRank(a) - smartRank(b) : 0;
  if (bySize !== 0) return bySize < 0;
  const byShare = (a.flow?.client.virtualTime ?? 0) - (b.flow?.client.virtualTime ?? 0);
  return byShare === 0 ? a.seq < b.seq : byShare < 0;
}
