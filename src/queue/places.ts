import type { Heaped } from "./heap.ts";
import { Heap } from "./heap.ts";
import type { Flow, Waiting } from "./lane.ts";
import { classAt } from "./line.ts";

/** What divided weights may be off by: else two clients that hold the same could change places for ever. */
const roundingError = 1e-6;

/** What one client holds. `place` is its place in the order of those that could give something up. */
interface Holder extends Heaped {
  readonly client: string;
  /** Its tier's, as its last request said: the one of number `seq`. */
  weight: number;
  seq: number;
  held: number;
  /** Its requests that may be asked to give way: not those that go again. */
  movable: number;
  /** All its requests. */
  requests: number;
}

/** A client that has to give something up. */
export interface Loser {
  readonly client: string;
  /** How much more it holds than the one that gets it would, by their weights. */
  readonly spare: number;
}

/**
 * Who holds how much of something that is bounded: places of a queue, or bytes. Kept in O(log clients) from when the
 * bound is first met on: most queues never get there.
 *
 * Invariants: every holder has a request; the order has those with one that may give way.
 */
export class Places {
  readonly #holders = new Map<string, Holder>();
  readonly #greediest = new Heap<Holder>((a, b) => a.held * b.weight > b.held * a.weight);
  readonly #keepsLast: boolean;

  /**
   * @param keepsLast whether the last request of a client never gives way, and one of another that has none always gets
   *   a place of somebody who has several: however little its weight, it takes its turns
   */
  constructor(keepsLast = false) {
    this.#keepsLast = keepsLast;
  }

  /** Clients that hold anything. */
  get clients(): number {
    return this.#holders.size;
  }

  /** `item` holds `amount`, more than 0, from now on. */
  add(item: Waiting, amount: number): void {
    const { client, weight, seq } = item;
    let holder = this.#holders.get(client);
    if (holder === undefined) {
      holder = { client, weight, seq, held: 0, movable: 0, requests: 0, place: -1 };
      this.#holders.set(client, holder);
    }
    if (seq >= holder.seq) {
      holder.weight = weight;
      holder.seq = seq;
    }
    holder.held += amount;
    holder.requests++;
    if (!item.again) holder.movable++;
    this.#reorder(holder);
  }

  /** `item` no longer holds `amount`. */
  remove(item: Waiting, amount: number): void {
    const holder = this.#holders.get(item.client);
    if (holder === undefined) return;
    holder.held -= amount;
    holder.requests--;
    if (!item.again) holder.movable--;
    this.#reorder(holder);
    if (holder.held === 0) this.#holders.delete(item.client);
  }

  /**
   * Who has to give way to a request of `client` for which nothing is left: the client that holds most for its
   * weight, if that is more than `client` would hold with `amount` more. Null where nobody has to. Who gave way can so
   * never get its place back in the same way, and a client that stays within its share always gets what another holds
   * beyond its own.
   */
  inFavourOf(client: string, weight: number, amount: number): Loser | null {
    const greediest = this.#greediest.first();
    if (greediest === undefined) return null;
    if (this.#keepsLast && !this.#holders.has(client))
      return { client: greediest.client, spare: 1 };
    const held = (this.#holders.get(client)?.held ?? 0) + amount;
    const spare = greediest.held - (held * greediest.weight) / weight;
    return spare > roundingError ? { client: greediest.client, spare } : null;
  }

  #reorder(holder: Holder): void {
    const isIn = holder.place !== -1;
    if (holder.movable === 0 || (this.#keepsLast && holder.requests === 1)) {
      if (isIn) this.#greediest.remove(holder);
    } else if (isIn) this.#greediest.update(holder);
    else this.#greediest.push(holder);
  }
}

/**
 * The requests of these flows from the end of the queue's order: the lowest class first, the newest first in it.
 * Those that go again are left out: they have been let in before.
 */
export function* fromTheBack(flows: Iterable<Flow>, now: number): Generator<Waiting, void> {
  const tails: Waiting[] = [];
  for (const { tail } of flows) if (!tail.again) tails.push(tail);
  while (tails.length > 0) {
    let at = 0;
    for (let i = 1; i < tails.length; i++) if (isBehind(tails[i], tails[at], now)) at = i;
    const last = tails[at];
    if (last === undefined) return;
    if (last.previousInFlow === null) tails.splice(at, 1);
    else tails[at] = last.previousInFlow;
    yield last;
  }
}

function isBehind(a: Waiting | undefined, b: Waiting | undefined, now: number): boolean {
  if (a === undefined || b === undefined) return false;
  const byClass = classAt(a, now) - classAt(b, now);
  return byClass === 0 ? a.seq > b.seq : byClass > 0;
}
