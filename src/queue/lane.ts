import type { Cost } from "../limit/cost.ts";
import type { Heaped } from "./heap.ts";
import { Heap } from "./heap.ts";
import type { Client, Shares } from "./shares.ts";

/** Priority classes, most urgent first. */
export const priorities = { high: 0, normal: 1, low: 2 } as const;
export type Priority = keyof typeof priorities;

/** A request in the queue. */
export interface Waiting {
  /** Order of arrival in the process. */
  readonly seq: number;
  readonly priority: Priority;
  /** Whether it has been sent before and was turned away by the upstream: then it goes before all others. */
  readonly again: boolean;
  readonly client: string;
  readonly weight: number;
  /** As it is priced now: another price moves it to no other lane, only to another place among the lanes' heads. */
  cost: Readonly<Cost>;
  readonly arrivedAt: number;
  /** Longest wait allowed by its limits, ms: what ageing is measured by. */
  readonly timeoutMs: number;
  /** Where it waits; null while it does not. The list pointers belong to the lane. */
  flow: Flow | null;
  previousInLane: Waiting | null;
  nextInLane: Waiting | null;
  previousInFlow: Waiting | null;
  nextInFlow: Waiting | null;
}

/** The requests of one client in one lane, first come first. */
export interface Flow extends Heaped {
  readonly name: string;
  readonly lane: Lane;
  readonly client: Client;
  /** The client's virtual time when this flow was put where it stands among the others; see `fair`. */
  standing: number;
  head: Waiting;
  tail: Waiting;
}

/**
 * Requests of one class and size. Inside it clients take turns by their shares; every operation is O(log clients).
 *
 * Invariants: every flow in the heap has at least one request; the lane's own list holds all of them by arrival.
 */
export class Lane {
  readonly #shares: Shares;
  readonly #flows = new Map<string, Flow>();
  readonly #turns = new Heap<Flow>(
    (a, b) => a.standing < b.standing || (a.standing === b.standing && a.head.seq < b.head.seq),
  );
  #first: Waiting | null = null;
  #last: Waiting | null = null;

  constructor(shares: Shares) {
    this.#shares = shares;
  }

  /**
   * Whose turn it is. A client that was served elsewhere has moved back since its flow here was put in order: it is
   * put in order again when it comes first, since virtual time only grows.
   */
  fair(): Waiting | null {
    for (;;) {
      const first = this.#turns.first();
      if (first === undefined) return null;
      if (first.standing === first.client.virtualTime) return first.head;
      first.standing = first.client.virtualTime;
      this.#turns.update(first);
    }
  }

  /** Who came first. */
  oldest(): Waiting | null {
    return this.#first;
  }

  push(item: Waiting): void {
    item.previousInLane = this.#last;
    if (this.#last === null) this.#first = item;
    else this.#last.nextInLane = item;
    this.#last = item;

    const flow = this.#flows.get(item.client);
    if (flow === undefined) this.#open(item);
    else {
      item.flow = flow;
      item.previousInFlow = flow.tail;
      flow.tail.nextInFlow = item;
      flow.tail = item;
    }
  }

  /** Takes `item` out, wherever it stands. */
  remove(item: Waiting): void {
    const flow = item.flow;
    if (flow === null) return;
    if (item.previousInLane === null) this.#first = item.nextInLane;
    else item.previousInLane.nextInLane = item.nextInLane;
    if (item.nextInLane === null) this.#last = item.previousInLane;
    else item.nextInLane.previousInLane = item.previousInLane;

    const { previousInFlow: before, nextInFlow: after } = item;
    if (before !== null) before.nextInFlow = after;
    if (after !== null) after.previousInFlow = before;
    if (flow.tail === item && before !== null) flow.tail = before;
    if (flow.head === item) {
      if (after === null) this.#close(flow);
      else {
        flow.head = after;
        // What was served is known already: so it is put in order once for both.
        flow.standing = flow.client.virtualTime;
        this.#turns.update(flow);
      }
    }
    item.flow = null;
    item.previousInLane = item.nextInLane = item.previousInFlow = item.nextInFlow = null;
  }

  #open(item: Waiting): void {
    const name = item.client;
    // The flow must exist before the client joins with it: the client is filled in at once.
    const flow: { -readonly [K in keyof Flow]: Flow[K] } = {
      name,
      lane: this,
      client: noClient,
      standing: 0,
      head: item,
      tail: item,
      place: -1,
    };
    flow.client = this.#shares.join(name, flow);
    flow.standing = flow.client.virtualTime;
    item.flow = flow;
    this.#flows.set(name, flow);
    this.#turns.push(flow);
  }

  #close(flow: Flow): void {
    this.#turns.remove(flow);
    this.#flows.delete(flow.name);
    this.#shares.leave(flow.client, flow);
  }
}

const noClient: Client = { virtualTime: 0, flows: new Set() };
