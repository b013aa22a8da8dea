import type { Flow, Waiting } from "../queue/lane.ts";
import { fromTheBack, Places } from "../queue/places.ts";
import type { Pending } from "./pending.ts";
import type { AdmissionRequest } from "./request.ts";

/** Bodies that waiting requests may hold together (contract, section 4). */
const maxWaitingBytes = 256 * 1024 * 1024;

/** The memory that waiting requests hold, and whose it is. */
export class Bodies {
  readonly #places = new Places();
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
    this.#places.add(item, bytes);
  }

  remove(item: Waiting, bytes: number): void {
    if (bytes === 0) return;
    this.#bytes -= bytes;
    this.#places.remove(item, bytes);
  }

  /**
   * Adds to `leaving` who else gives way to `request`, so that its body can be held.
   * @param flowsOf where requests of a client wait
   * @returns whether it can be then
   */
  makeRoom(
    request: AdmissionRequest,
    leaving: Set<Pending>,
    flowsOf: (client: string) => Iterable<Flow>,
    now: number,
  ): boolean {
    const { client, weight, bodyBytes } = request;
    let excess = this.#bytes + bodyBytes - maxWaitingBytes;
    for (const item of leaving) excess -= item.request.bodyBytes;
    if (excess <= 0) return true;
    const loser = this.#places.inFavourOf(client, weight, bodyBytes);
    if (loser === null) return false;
    let { spare } = loser;
    for (const waiting of fromTheBack(flowsOf(loser.client), now)) {
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
