import type { Flow, Waiting } from "../queue/lane.ts";
import { fromTheBack, Places } from "../queue/places.ts";
import type { Pending } from "./pending.ts";
import type { AdmissionRequest } from "./request.ts";

/** Bodies that waiting requests may hold together (contract, section 4). */
const maxWaitingBytes = 256 * 1024 * 1024;

/** Where requests wait. */
export interface Queues {
  /** All that wait. */
  waiting(): Iterable<Pending>;
  /** Where requests of a client wait. */
  flowsOf(client: string): Iterable<Flow>;
}

/** The memory that waiting requests hold, and whose it is. */
export class Bodies {
  /** Null until there is no room for a body. */
  #places: Places | null = null;
  #bytes = 0;

  /** Bytes held by all. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether one more of this size can be held. */
  fits(bytes: number): boolean {
    return this.#bytes + bytes <= maxWaitingBytes;
  }

  add(item: Waiting, bytes: number): void {
    if (bytes === 0) return;
    this.#bytes += bytes;
    this.#places?.add(item, bytes);
  }

  remove(item: Waiting, bytes: number): void {
    if (bytes === 0) return;
    this.#bytes -= bytes;
    if (this.#bytes === 0) this.#places = null;
    else this.#places?.remove(item, bytes);
  }

  /**
   * Adds to `leaving` who else gives way to `request`, so that its body can be held.
   * @returns whether it can be then
   */
  makeRoom(request: AdmissionRequest, leaving: Set<Pending>, queues: Queues, now: number): boolean {
    const { client, weight, bodyBytes } = request;
    let excess = this.#bytes + bodyBytes - maxWaitingBytes;
    for (const item of leaving) excess -= item.request.bodyBytes;
    if (excess <= 0) return true;
    this.#places ??= heldBy(queues.waiting());
    const loser = this.#places.inFavourOf(client, weight, bodyBytes);
    if (loser === null) return false;
    let { spare } = loser;
    for (const waiting of fromTheBack(queues.flowsOf(loser.client), now)) {
      const item = waiting as Pending;
      const bytes = item.request.bodyBytes;
      if (bytes === 0 || leaving.has(item)) continue;
      if (spare <= 0) return false;
      leaving.add(item);
      spare -= bytes;
      excess -= bytes;
      if (excess <= 0) return true;
    }
    return false;
  }
}

function heldBy(waiting: Iterable<Pending>): Places {
  const places = new Places();
  for (const item of waiting)
    if (item.request.bodyBytes > 0) places.add(item, item.request.bodyBytes);
  return places;
}
