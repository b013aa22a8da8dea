import type { Clock } from "../clock.ts";
import type { ErrorCode } from "../errors.ts";
import type { Account } from "../ledger/account.ts";
import type { Ledger, ReserveOptions } from "../ledger/ledger.ts";
import type { Cost } from "../limit/cost.ts";
import { noCost } from "../limit/cost.ts";
import type { Limit } from "../limit/limit.ts";
import { Bodies } from "./bodies.ts";
import type { Queues } from "./bodies.ts";
import { earliestStart, exceeded, startBehind } from "./forecast.ts";
import { Lease } from "./lease.ts";
import type { Pending } from "./pending.ts";
import type { PlannerHost } from "./planner.ts";
import { Planner } from "./planner.ts";
import type { Path } from "./path.ts";
import type { AdmissionRequest, Refusal } from "./request.ts";

/** How long to leave a store that cannot be reached, ms: it is tried more often than that. */
const storeRetryMs = 5_000;

const nobody: ReadonlySet<Pending> = new Set();

/**
 * Admission: turns a request into a lease, at once where there is room and nobody waits, else when its turn comes.
 * The ledger says what fits, a planner for each group of limits says who is next.
 */
export class Scheduler implements PlannerHost {
  readonly clock: Clock;
  readonly #ledger: Ledger;
  readonly #planners = new Map<string, Planner>();
  #lastSeq = 0;
  readonly #bodies = new Bodies();
  /** While draining: when what still waits is given up; null otherwise. */
  #drainUntil: number | null = null;

  constructor(clock: Clock, ledger: Ledger) {
    this.clock = clock;
    this.#ledger = ledger;
    if (ledger.seek !== undefined) ledger.onRoom = (group) => this.#roomIn(group);
  }

  /** Requests that wait. */
  get waiting(): number {
    let sum = 0;
    for (const planner of this.#planners.values()) sum += planner.size;
    return sum;
  }

  /** Bytes of body held by them. */
  get waitingBytes(): number {
    return this.#bodies.bytes;
  }

  /**
   * Asks for admission. Synchronous wherever nobody has to wait.
   * Rejects with the signal's reason if the client leaves the queue; refusals are values.
   */
  admit(request: AdmissionRequest): Lease | Refusal | Promise<Lease | Refusal> {
    const now = this.clock.now();
    const { path } = request;
    if (this.#drainUntil !== null) return this.#shuttingDown(now);
    const planner = this.#planners.get(path.group);
    if (planner === undefined || planner.size === 0) {
      const lease = this.#reserve(request, path.choose(request.cost, now), now, 0);
      if (lease !== null) return lease;
    }
    const refusal = this.#refusalOnArrival(request, now);
    if (refusal !== null) return refusal;
    const leaving = this.#inTheWay(request, now);
    return "refused" in leaving ? leaving : this.#wait(request, now, leaving);
  }

  /**
   * After accounts changed: what waits needs what the configuration says now, what can no longer ever fit is refused,
   * and what can go now goes.
   */
  replan(): void {
    const now = this.clock.now();
    const moved: Pending[] = [];
    for (const [group, planner] of this.#planners) {
      const paths = new Map(planner.waiting().map(({ request }) => [request, pathNow(request)]));
      if ([...paths].every(([{ path }, next]) => path === next && path.group === group)) continue;
      moved.push(...planner.takeAll());
      for (const [request, path] of paths) request.path = path;
      this.#forgetIfIdle(group, planner);
    }
    for (const [group, planner] of this.#planners) {
      for (const item of planner.waiting()) {
        // Gone meanwhile: others were let go, or had waited too long.
        if (item.flow === null) continue;
        const limit = exceededBy(item, now);
        if (limit === null) continue;
        planner.remove(item);
        item.end(tooLarge(item.request, limit));
      }
      this.#forgetIfIdle(group, planner);
    }
    const staying = moved.filter((item) => {
      const limit = exceededBy(item, now);
      if (limit !== null) item.end(tooLarge(item.request, limit));
      return limit === null;
    });
    const groups = Map.groupBy(staying, (item) => item.request.path.group);
    for (const [group, items] of groups) this.#plannerOf(group).adopt(items);
    for (const planner of this.#planners.values()) planner.pump();
  }

  /**
   * Stops taking requests. What waits may still go within `graceMs`; what surely cannot is refused now, the rest
   * when the time is up.
   */
  drain(graceMs: number): void {
    this.#drainUntil = this.clock.now() + graceMs;
    for (const planner of this.#planners.values()) this.#giveUp(planner, this.#drainUntil);
  }

  /** Refuses what surely cannot start by `until` any more. */
  #giveUp(planner: Planner, until: number): void {
    const now = this.clock.now();
    const stays = planner.takeAll().filter((item) => {
      const canStart = firstStart(item.request.path, item.cost, now) <= until;
      if (!canStart) item.end(this.#shuttingDown(now));
      item.deadlineAt = Math.min(item.deadlineAt, until);
      return canStart;
    });
    planner.adopt(stays);
  }

  grant(item: Pending, path: Path, now: number): void {
    const { request } = item;
    const lease = this.#reserve(request, path, now, now - item.arrivedAt);
    if (lease === null) throw new Error("A planner granted what does not fit");
    item.end(lease);
  }

  /** Charges `request` on `path` if it fits there now; null if it does not. */
  #reserve(request: AdmissionRequest, path: Path, now: number, waitedMs: number): Lease | null {
    const { cost } = request;
    const options = reserveOptions(request, now);
    const made = this.#ledger.reserve(now, path.accounts, cost, options);
    if (!("id" in made)) return null;
    request.path.took(path);
    return new Lease(this, this.#ledger, path, made, waitedMs);
  }

  expire(item: Pending, now: number): void {
    if (this.#drainUntil !== null && item.deadlineAt >= this.#drainUntil)
      item.end(this.#shuttingDown(now));
    else item.end(this.#tooLate(item.request, now));
    const { group } = item.request.path;
    const planner = this.#planners.get(group);
    if (planner !== undefined) this.#forgetIfIdle(group, planner);
  }

  counted({ group }: Path): void {
    this.#planners.get(group)?.rearm();
  }

  settled({ group }: Path): void {
    this.#roomIn(group);
  }

  seek({ request, cost }: Pending, now: number, planner: Planner): void {
    this.#ledger.seek?.(now, request.path.choose(cost, now).accounts, cost, (account) =>
      planner.aheadOf(account),
    );
  }

  #roomIn(group: string): void {
    const planner = this.#planners.get(group);
    if (planner === undefined) return;
    if (planner.size > 0 && this.#drainUntil !== null) this.#giveUp(planner, this.#drainUntil);
    if (planner.size > 0) planner.pump();
    this.#forgetIfIdle(group, planner);
  }

  #plannerOf(group: string): Planner {
    let planner = this.#planners.get(group);
    if (planner === undefined) {
      planner = new Planner(this);
      this.#planners.set(group, planner);
    }
    return planner;
  }

  #forgetIfIdle(group: string, planner: Planner): void {
    if (planner.size === 0) this.#planners.delete(group);
  }

  #refusalOnArrival(request: AdmissionRequest, now: number): Refusal | null {
    const { path, cost } = request;
    const limit = exceeded(path.choose(cost, now).limits, cost);
    if (limit !== null) return tooLarge(request, limit);
    if (firstStart(path, cost, now) > deadlineOf(request, now)) return this.#tooLate(request, now);
    if (!this.#ledger.healthy()) {
      const retryAfterMs = storeRetryMs;
      const message = "Usage cannot be kept at the moment, so nothing goes out. Try again soon.";
      return { refused: "STORE_UNAVAILABLE", message, retryAfterMs };
    }
    return null;
  }

  /**
   * Those that give way to a request which comes to wait, so that one client cannot fill the queue for all; or why it
   * may not wait. Who has been let in once is neither asked nor has to.
   */
  #inTheWay(request: AdmissionRequest, now: number): ReadonlySet<Pending> | Refusal {
    const { path, bodyBytes, again } = request;
    const full = path.accounts.filter(({ waiting, spec }) => waiting >= spec.maxQueueDepth);
    if (again !== null || (full.length === 0 && this.#bodies.fits(bodyBytes))) return nobody;
    const leaving = new Set<Pending>();
    const planner = this.#planners.get(path.group);
    for (const account of full) {
      if (leaving.values().some((item) => item.request.path.accounts.includes(account))) continue;
      const item = planner?.inTheWay(account, request) ?? null;
      if (item === null) {
        const text = `${account.waiting} requests are waiting for ${account.spec.label} already (max_queue_depth).`;
        return this.#refuse("QUEUE_FULL", text, request, now);
      }
      leaving.add(item);
    }
    const queues: Queues = {
      waiting: () => this.#planners.values().flatMap((one) => one.waiting()),
      flowsOf: (client) => this.#planners.values().flatMap((one) => one.flowsOf(client)),
    };
    if (this.#bodies.makeRoom(request, leaving, queues, now)) return leaving;
    const text = "Waiting requests hold all the memory they may.";
    return this.#refuse("QUEUE_FULL", text, request, now);
  }

  /** @param leaving who gives way to it */
  #wait(
    request: AdmissionRequest,
    now: number,
    leaving: ReadonlySet<Pending>,
  ): Promise<Lease | Refusal> {
    const { promise, resolve, reject } = Promise.withResolvers<Lease | Refusal>();
    const { path, signal } = request;
    const end = (outcome: Lease | Refusal): void => {
      this.#bodies.remove(item, request.bodyBytes);
      signal?.removeEventListener("abort", leave);
      resolve(outcome);
    };
    const item: Omit<Pending, "line"> = {
      request,
      end,
      seq: ++this.#lastSeq,
      priority: request.priority,
      again: request.again !== null,
      client: request.client,
      weight: request.weight,
      cost: request.cost,
      arrivedAt: now,
      timeoutMs: Math.min(...path.accounts.map(({ spec }) => spec.requestTimeoutMs)),
      deadlineAt: deadlineOf(request, now),
      flow: null,
      previousInLane: null,
      nextInLane: null,
      previousInFlow: null,
      nextInFlow: null,
      previousToEnd: null,
      nextToEnd: null,
      place: -1,
    };
    const leave = (): void => {
      if (!this.#removed(item as Pending)) return;
      this.#bodies.remove(item, request.bodyBytes);
      reject(signal?.reason);
    };
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    signal?.addEventListener("abort", leave, { once: true });
    // One of them that is gone already has been let go, in the room of the one before.
    const evicted = leaving.size === 0 ? [] : [...leaving].filter((other) => this.#removed(other));
    this.#bodies.add(item, request.bodyBytes);
    this.#plannerOf(path.group).enqueue(item);
    const text = "The queue is full, and another client holds less of it: this one gave way.";
    for (const other of evicted) other.end(this.#refuse("QUEUE_FULL", text, other.request, now));
    return promise;
  }

  /** Takes one that waits out of its queue; false if it was let go meanwhile. */
  #removed(item: Pending): boolean {
    if (item.flow === null) return false;
    const { group } = item.request.path;
    const planner = this.#plannerOf(group);
    planner.remove(item);
    this.#forgetIfIdle(group, planner);
    return true;
  }

  #tooLate(request: AdmissionRequest, now: number): Refusal {
    const text = `No room in ${names(request)} within the ${seconds(patience(request))} that this request may wait.`;
    return this.#refuse("QUEUE_TIMEOUT", text, request, now);
  }

  /** A refusal for want of room, with the time at which there should be some for this request. */
  #refuse(code: ErrorCode, text: string, request: AdmissionRequest, now: number): Refusal {
    const planner = this.#planners.get(request.path.group) ?? null;
    const { path, cost } = request;
    const [pool] = path.accounts;
    // Of several alternatives each takes a share of what waits.
    const aheadOf = (account: Account): Readonly<Cost> =>
      path.alternatives.length === 0
        ? (planner?.aheadOf(account) ?? noCost)
        : shared(planner?.aheadOf(pool ?? account) ?? noCost, path.alternatives.length);
    let at = now;
    for (const account of path.choose(cost, now).accounts) {
      at = Math.max(at, startBehind(account.limits, cost, aheadOf(account), now));
    }
    const retryAfterMs = at - now;
    return {
      refused: code,
      message: `${text} Try again in ${seconds(retryAfterMs)}.`,
      retryAfterMs,
    };
  }

  #shuttingDown(now: number): Refusal {
    const retryAfterMs = Math.max(1_000, (this.#drainUntil ?? now) - now);
    return {
      refused: "SHUTTING_DOWN",
      message: "Cooldown is shutting down. Try again in a moment.",
      retryAfterMs,
    };
  }
}

/** What `request` needs room in by now: the path that it has, unless that leads over other accounts. */
function pathNow(request: AdmissionRequest): Path {
  const next = request.repath?.() ?? request.path;
  return next.is(request.path) ? request.path : next;
}

/** The limit that `item` exceeds even when it is empty, or null. */
function exceededBy({ request, cost }: Pending, now: number): Limit | null {
  return exceeded(request.path.choose(cost, now).limits, cost);
}

function reserveOptions({ outlook, uploading }: AdmissionRequest, now: number): ReserveOptions {
  if (outlook === null) return uploading ? arriving : whole;
  return { outlook: { endAt: now + outlook.durationMs, cost: outlook.cost }, uploading };
}

const arriving: ReserveOptions = { outlook: null, uploading: true };
const whole: ReserveOptions = { outlook: null, uploading: false };

/** No start can be earlier than this, on whatever alternative. */
function firstStart({ alternatives, limits }: Path, cost: Readonly<Cost>, now: number): number {
  if (alternatives.length === 0) return earliestStart(limits, cost, now);
  return Math.min(...alternatives.map((path) => earliestStart(path.limits, cost, now)));
}

/** `cost` by `parts`, rounded up. */
function shared(cost: Readonly<Cost>, parts: number): Cost {
  return {
    requests: Math.ceil(cost.requests / parts),
    tokens: Math.ceil(cost.tokens / parts),
    input_tokens: Math.ceil(cost.input_tokens / parts),
    output_tokens: Math.ceil(cost.output_tokens / parts),
    total_tokens: Math.ceil(cost.total_tokens / parts),
  };
}

/** When a request that asks at `now` has waited too long, ms since the epoch. */
export function deadlineOf(request: AdmissionRequest, now: number): number {
  return request.again?.deadlineAt ?? now + patience(request);
}

/** How long a request may wait: its own patience and the limits' `request_timeout`, ms. */
function patience({ path, patienceMs }: AdmissionRequest): number {
  let ms = patienceMs;
  for (const { spec } of path.accounts) ms = Math.min(ms, spec.requestTimeoutMs);
  return ms;
}

function names({ path }: AdmissionRequest): string {
  return path.accounts.map(({ spec }) => spec.label).join(" and ");
}

function seconds(ms: number): string {
  return `${Math.ceil(ms / 100) / 10} s`;
}

function tooLarge({ path, cost }: AdmissionRequest, limit: Limit): Refusal {
  const amount = limit.unit === "slots" ? 1 : cost[limit.unit];
  const what = limit.unit.replace("_", " ");
  const per = limit.window === null ? "" : ` a ${limit.window}`;
  const quota = path.accounts.find(({ limits }) => limits.includes(limit)) ?? path.accounts.at(-1);
  return {
    refused: "EXCEEDS_QUOTA",
    message:
      `This request needs ${amount} ${what}, more than the whole limit of ${limit.max}${per} of ${quota?.spec.label ?? ""}: ` +
      "it could never be sent. Make it smaller, or lower its max_tokens.",
    retryAfterMs: null,
  };
}
