import { exceeded } from "../admission/forecast.ts";
import type { Path } from "../admission/path.ts";
import type { AdmissionRequest } from "../admission/request.ts";
import { deadlineOf } from "../admission/scheduler.ts";
import { priorityWithin } from "../client/tier.ts";
import { ProxyError } from "../errors.ts";
import { priorities } from "../queue/lane.ts";
import type { Priority } from "../queue/lane.ts";
import type { Needs, Runtime } from "../runtime.ts";
import type { Fields } from "../upstream/headers.ts";
import type { Exchange } from "./exchange.ts";
import type { Incoming } from "./incoming.ts";
import { needsAnew } from "./plan.ts";
import type { UpstreamTarget } from "./plan.ts";
import type { RightSize } from "./right-size.ts";
import { patienceOf } from "./waiting-time.ts";

/** What a request's needs followed from. */
interface AskedFrom {
  readonly runtime: Runtime;
  readonly route: UpstreamTarget;
  readonly model: string;
}

/** What a request asks of admission. A class, since a literal with a getter costs several times as much. */
export class Ask implements AdmissionRequest {
  path: Path;
  readonly reprice?: () => boolean;
  readonly priority: Priority;
  readonly client: string;
  readonly weight: number;
  readonly patienceMs: number;
  readonly again = null;
  readonly bodyBytes: number;
  readonly uploading: boolean;
  readonly #request: Request;
  readonly #exchange: Exchange;
  readonly #from: AskedFrom;

  /**
   * @param needs what it needs room in
   * @param from what it followed from, to find it anew by the configuration in force later
   * @throws ProxyError `INVALID_REQUEST` where its headers say what makes no sense
   */
  constructor(
    { request, fields, body }: Incoming,
    exchange: Exchange,
    needs: Needs,
    from: AskedFrom,
  ) {
    this.#request = request;
    this.#exchange = exchange;
    this.#from = from;
    this.path = needs.path;
    const { rightSize } = exchange;
    if (rightSize !== null) this.reprice = () => this.#reprice(rightSize);
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

  repath(): Path {
    const { runtime, route, model } = this.#from;
    return needsAnew(runtime, route, model, this.#exchange).path;
  }

  get cost(): AdmissionRequest["cost"] {
    return this.#exchange.estimate?.cost ?? this.#exchange.plainCost;
  }

  get outlook(): AdmissionRequest["outlook"] {
    return this.#exchange.estimate?.outlook ?? null;
  }

  /** Gives it the cap that answers of its kind need now, where that can ever go. */
  #reprice(rightSize: RightSize): boolean {
    const before = this.#exchange.estimate;
    const sentCap = rightSize.capNow();
    if (before === null || sentCap === before.sentCap) return false;
    const fresh = before.withCap(sentCap);
    // Of several keys, each has the same limits.
    const { limits } = this.path.alternatives[0] ?? this.path;
    if (exceeded(limits, fresh.cost) !== null) return false;
    this.#exchange.estimate = fresh;
    return true;
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
