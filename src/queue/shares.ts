import type { Flow } from "./lane.ts";

/** How much of the quota a client has had, while anybody waits. */
export interface Client {
  /** Virtual time: work received ÷ weight, never behind what the queue had reached when the client came. */
  virtualTime: number;
  /** Its flows in all lanes. */
  readonly flows: Set<Flow>;
}

/** Clients that have left are not worth looking for below this many in all. */
const spareClients = 1_000;

/**
 * Start-time fair queueing (Goyal, Vin and Cheng 1996): who has received least for its weight goes next, and a client
 * that was away has saved nothing up.
 */
export class Shares {
  readonly #clients = new Map<string, Client>();
  #waiting = 0;
  #now = 0;
  /** How many clients there must be before those that have left are looked for again: twice what the last look left. */
  #forgetAt = spareClients;

  /** The client that `flow` belongs to, its virtual time moved up to the present if nothing of it was waiting. */
  join(name: string, flow: Flow): Client {
    let client = this.#clients.get(name);
    if (client === undefined) {
      client = { virtualTime: this.#now, flows: new Set() };
      this.#clients.set(name, client);
    }
    if (client.flows.size === 0) {
      client.virtualTime = Math.max(client.virtualTime, this.#now);
      this.#waiting++;
    }
    client.flows.add(flow);
    return client;
  }

  /** Where requests of this client wait, in all lanes. */
  flowsOf(name: string): Iterable<Flow> {
    return this.#clients.get(name)?.flows ?? [];
  }

  leave(client: Client, flow: Flow): void {
    client.flows.delete(flow);
    if (client.flows.size > 0) return;
    this.#waiting--;
    if (this.#waiting === 0) {
      // Nobody waits: the account of who had what ends here.
      this.#clients.clear();
      this.#now = 0;
      this.#forgetAt = spareClients;
    } else if (this.#clients.size > this.#forgetAt) this.#forget();
  }

  /** Books `work` units for a client that is served now. */
  serve(client: Client, work: number, weight: number): void {
    this.#now = Math.max(this.#now, client.virtualTime);
    client.virtualTime += work / weight;
  }

  #forget(): void {
    for (const [name, client] of this.#clients) {
      if (client.flows.size === 0 && client.virtualTime <= this.#now) this.#clients.delete(name);
    }
    this.#forgetAt = this.#clients.size * 2 + spareClients;
  }
}
