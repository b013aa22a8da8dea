import type { Path } from "../admission/path.ts";
import type { AdmissionRequest } from "../admission/request.ts";
import { deadlineOf } from "../admission/scheduler.ts";
import { priorityWithin } from "../client/tier.ts";
import { ProxyError } from "../errors.ts";
import { oneRequest } from "../limit/cost.ts";
import { priorities } from "../queue/lane.ts";
import type { Priority } from "../queue/lane.ts";
import type { Needs } from "../runtime.ts";
import type { Fields } from "../upstream/headers.ts";
import type { Exchange } from "./exchange.ts";
import type { Incoming } from "./incoming.ts";
import { patienceOf } from "./waiting-time.ts";

/** What a request asks of admission. A class, since a literal with a getter costs several times as much. */
export class Ask implements AdmissionRequest {
  readonly path: Path;
  readonly cost: AdmissionRequest["cost"];
  readonly outlook: AdmissionRequest["outlook"];
  readonly priority: Priority;
  readonly client: string;
  readonly weight: number;
  readonly patienceMs: number;
  readonly again = null;
  readonly bodyBytes: number;
  readonly uploading: boolean;
  readonly #request: Request;
  readonly #exchange: Exchange;

  /** @throws ProxyError `INVALID_REQUEST` where its headers say what makes no sense */
  constructor({ request, fields, body }: Incoming, exchange: Exchange, needs: Needs) {
    this.#request = request;
    this.#exchange = exchange;
    this.path = needs.path;
    this.cost = exchange.estimate?.cost ?? oneRequest;
    this.outlook = exchange.estimate?.outlook ?? null;
    const { id, tier } = exchange.client;
    this.priority = priorityWithin(tier, priorityOf(fields));
    this.client = id;
    this.weight = tier?.weight ?? 1;
    this.patienceMs = patienceOf(fields);
    // What it has waited behind another's call counts; see `askOthers`.
    if (exchange.waitedMs > 0) this.patienceMs = Math.max(0, deadlineOf(this, -exchange.waitedMs));
    this.bodyBytes = body?.byteLength ?? 0;
    this.uploading = body === null && request.body !== null;
  }

  /** Made only for a request that has to wait: the runtime makes it at the first look. */
  get signal(): AbortSignal {
    return this.#exchange.signalOf(this.#request);
  }
}

/**
 * The class that a request asks for, null where it asks for none.
 * @throws ProxyError `INVALID_REQUEST` where there is no such class
 */
export function priorityOf(fields: Fields): Priority | null {
  const value = fields["x-cooldown-priority"]?.trim().toLowerCase();
  if (value === undefined) return null;
  if (Object.hasOwn(priorities, value)) return value as Priority;
  throw new ProxyError("INVALID_REQUEST", "X-Cooldown-Priority must be high, normal or low.");
}
