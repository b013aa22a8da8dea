import type { Clock } from "../clock.ts";
import type { Account } from "../ledger/account.ts";
import type { Cost } from "../limit/cost.ts";
import { amountOf, oneRequest } from "../limit/cost.ts";
import type { Limit } from "../limit/limit.ts";
import { Deadlines } from "../queue/deadlines.ts";
import type { Flow } from "../queue/lane.ts";
import { goesBefore, Line } from "../queue/line.ts";
import { fromTheBack } from "../queue/places.ts";
import { Shares } from "../queue/shares.ts";
import { Crowd } from "./crowd.ts";
import { fits, worstStart } from "./forecast.ts";
import { Guard } from "./guard.ts";
import type { Path } from "./path.ts";
import type { Pending } from "./pending.ts";
import type { AdmissionRequest } from "./request.ts";
import { isSmart } from "./smart.ts";

/** What a planner needs from its scheduler. */
export interface PlannerHost {
  readonly clock: Clock;
  /** Reserves for `item`, which fits on `path`, and ends its wait. It has left the queue already. */
  grant(item: Pending, path: Path, now: number): void;
  /** Ends the wait of `item` because its deadline has come. It has left the queue already. */
  expire(item: Pending, now: number): void;
  /** `item` is the best of its line and does not fit: where room can be fetched, now is the time. */
  seek(item: Pending, now: number, planner: Planner): void;
}

/**
 * Decides what goes next among requests that share limits, directly or through others.
 *
 * `pump` runs on every settlement, on timers, and on arrivals that may change the order: take the best head that
 * fits; once the best does not fit, guard it and let pass only what does not put it off. Then set one timer, for the
 * next moment at which time alone makes room or a deadline ends a wait.
 */
export class Planner {
  readonly #host: PlannerHost;
  readonly #shares = new Shares();
  readonly #lines = new Map<string, Line>();
  readonly #crowd = new Crowd();
  readonly #deadlines = new Deadlines<Pending>();
  /** Guards of the lines' heads, made when something wants to pass. */
  readonly #guards = new Map<Line, Guard>();
  /** Whether the last pump found no room for anything; see `#isShut`. */
  #shut = false;
  /** When time alone should make room for someone. */
  #wakeAt = Infinity;
  #timerAt = Infinity;
  #cancelTimer: () => void = () => undefined;
  #pumping = false;
  #again = false;
  /** Whether some of those that have stood here may be priced anew. */
  #reprices = false;

  constructor(host: PlannerHost) {
    this.#host = host;
  }

  get size(): number {
    return this.#deadlines.size;
  }

  /** Every waiting request, in no order. */
  waiting(): Pending[] {
    return [...this.#deadlines.items()];
  }

  /** What all requests that wait for `account` will be charged together. */
  aheadOf(account: Account): Readonly<Cost> {
    return this.#crowd.aheadOf(account);
  }

  /** Which of those that wait for `account` gives way to `request`, for which there is no place; null: none. */
  inTheWay(account: Account, { client, weight }: AdmissionRequest): Pending | null {
    const places = this.#crowd.placesOf(account, this.#deadlines.items());
    const loser = places?.inFavourOf(client, weight, 1) ?? null;
    if (loser === null) return null;
    const flows = [...this.flowsOf(loser.client)].filter(({ tail }) =>
      (tail as Pending).request.path.accounts.includes(account),
    );
    const [last] = fromTheBack(flows, this.#host.clock.now());
    return (last as Pending | undefined) ?? null;
  }

  /** Where requests of this client wait. */
  flowsOf(client: string): Iterable<Flow> {
    return this.#shares.flowsOf(client);
  }

  /** Puts a request into the queue; it may be granted before this returns. */
  enqueue(draft: Omit<Pending, "line">): void {
    const { item, isFirst } = this.#stand(draft);
    if (isFirst || !this.#fitsInto(item, this.#host.clock.now())) this.pump();
  }

  /** Takes over requests that waited elsewhere: none goes before all of them stand in line. */
  adopt(items: readonly Pending[]): void {
    for (const item of items) this.#stand(item);
    this.pump();
  }

  /** Takes a request out of the queue: its client left, or it can no longer succeed. */
  remove(item: Pending): void {
    if (!this.#take(item)) return;
    this.pump();
  }

  /** Empties the queue without ending anybody's wait, for another planner to take over. */
  takeAll(): Pending[] {
    const all = this.waiting();
    for (const item of all) this.#take(item);
    this.#wakeAt = Infinity;
    this.#arm(this.#host.clock.now());
    return all.toSorted((a, b) => a.seq - b.seq);
  }

  /** Lets go what can go now. */
  pump(): void {
    if (this.#pumping) {
      this.#again = true;
      return;
    }
    this.#pumping = true;
    do {
      this.#again = false;
      const now = this.#host.clock.now();
      this.#expire(now);
      for (const line of this.#lines.values()) line.smart = isSmart(line, now);
      while (this.#step(now));
      this.#seek(now);
      this.#arm(now);
    } while (this.#again);
    this.#pumping = false;
  }

  /** Brings the next look forward where it can be sooner now: the upstream has counted a request before it had to. */
  rearm(): void {
    const now = this.#host.clock.now();
    if (this.#shut) this.#isShut(now);
    for (const { blocked } of this.#lines.values())
      if (blocked !== null) this.#wakeFor(blocked as Pending, now);
    this.#arm(now);
  }

  /** Prices anew what could be next: so all are compared, and let go, by what is known now. */
  #reprice(): void {
    for (const line of this.#lines.values()) {
      for (const item of line.picks() as Pending[]) {
        if (item.request.reprice?.() === true) this.#crowd.reprice(item, item.request.cost);
      }
    }
  }

  /** The best of each line waits: room for it may be had elsewhere. */
  #seek(now: number): void {
    for (const line of this.#lines.values()) {
      const head = (line.blocked ?? line.anyone()) as Pending | null;
      if (head !== null) this.#host.seek(head, now, this);
    }
  }

  /** Grants the best head, or one that may pass it. False if nothing can go; then it is planned when to look again. */
  #step(now: number): boolean {
    if (this.#guards.size > 0) this.#guards.clear();
    this.#wakeAt = Infinity;
    this.#shut = this.#isShut(now);
    if (this.#shut) {
      for (const line of this.#lines.values()) line.blocked = null;
      return false;
    }
    if (this.#reprices) this.#reprice();
    let best: Pending | null = null;
    for (const line of this.#lines.values()) {
      const head = line.head(now) as Pending | null;
      line.blocked = head;
      if (head === null) continue;
      if (best === null || this.#before(head, best, now)) best = head;
    }
    if (best === null) return false;
    const path = best.request.path.choose(best.cost, now);
    if (fits(path.limits, best.cost, now)) {
      this.#grant(best, path, now);
      return true;
    }
    const picks: Pending[][] = [];
    for (const line of this.#lines.values()) picks.push(line.picks() as Pending[]);
    const passing = this.#passing(picks, now);
    if (passing === null) this.#plan(picks, now);
    else this.#grant(passing.item, passing.path, now);
    return passing !== null;
  }

  /** The first in order among those that fit and put off nobody by going. */
  #passing(
    lines: readonly Pending[][],
    now: number,
  ): { readonly item: Pending; readonly path: Path } | null {
    let first: { readonly item: Pending; readonly path: Path } | null = null;
    for (const picks of lines) {
      const [some] = picks;
      if (some === undefined) continue;
      const { path: only } = some.request;
      for (const path of only.alternatives.length === 0 ? [only] : only.alternatives)
        first = this.#passingOn(path, picks, first, now);
    }
    return first;
  }

  #passingOn(
    path: Path,
    picks: readonly Pending[],
    before: { readonly item: Pending; readonly path: Path } | null,
    now: number,
  ): { readonly item: Pending; readonly path: Path } | null {
    let first = before;
    const { limits } = path;
    const rooms: number[] = [];
    for (const limit of limits) rooms.push(limit.roomAt(now, now));
    for (const item of picks) {
      // The rooms first: most do not fit, and this tells it for all picks of a line with one look at its limits.
      if (!isWithin(limits, rooms, item.cost) || !fits(limits, item.cost, now)) continue;
      if (!this.#mayPass(item, path, now)) continue;
      if (first === null || this.#before(item, first.item, now)) first = { item, path };
    }
    return first;
  }

  /**
   * Whether nothing at all can go, for want of room for even one request: the common case of a saturated quota, seen
   * without a look at the queue. Only asked of a single line, since what waits in another might have to be guarded.
   */
  #isShut(now: number): boolean {
    if (this.#lines.size !== 1) return false;
    const item = this.#anyone();
    if (item === null) return false;
    let until = now;
    for (const limit of item.request.path.choose(oneRequest, now).limits) {
      if (limit.unit !== "requests" && limit.unit !== "slots") continue;
      if (!limit.fits(now, 1)) until = Math.max(until, limit.fitsAt(now, 1));
    }
    if (until > now) this.#wakeAt = until;
    return until > now;
  }

  #anyone(): Pending | null {
    for (const line of this.#lines.values()) return line.anyone() as Pending | null;
    return null;
  }

  /** Whether `item`, which fits on `path`, puts off none of the heads before it by going there. */
  #mayPass(item: Pending, path: Path, now: number): boolean {
    for (const line of this.#lines.values()) {
      const head = line.blocked as Pending | null;
      if (head === null || head === item || !this.#before(head, item, now)) continue;
      let guard = this.#guards.get(line);
      if (guard === undefined) {
        guard = new Guard(head, now);
        this.#guards.set(line, guard);
      }
      if (!guard.lets(item, path, now)) return false;
    }
    return true;
  }

  /**
   * The short way for a newcomer while the plan stands: behind its line's head it changes nothing but, perhaps,
   * passes it. Returns false where the plan has to be made again.
   */
  #fitsInto(item: Pending, now: number): boolean {
    const head = item.line.blocked as Pending | null;
    if (this.#pumping || now >= this.#timerAt || (head === null && !this.#shut)) return false;
    if (head !== null && item.line.isPick(item)) {
      if (this.#before(item, head, now)) return false;
      if (this.#canPass(item, now)) return false;
      if (
        item.cost.total_tokens < head.cost.total_tokens &&
        !fits(limitsOf(item, now), item.cost, now)
      )
        this.#wakeFor(item, now);
    }
    this.#arm(now);
    return true;
  }

  /** Whether `item` could go now, past the heads. */
  #canPass(item: Pending, now: number): boolean {
    const { path } = item.request;
    const paths = path.alternatives.length === 0 ? [path] : path.alternatives;
    return paths.some((one) => fits(one.limits, item.cost, now) && this.#mayPass(item, one, now));
  }

  /** Sets `#wakeAt` to when a head, or the smallest request of a line, fits by time alone. */
  #plan(lines: readonly Pending[][], now: number): void {
    for (const picks of lines) {
      let [smallest] = picks;
      const head = smallest?.line.blocked as Pending | null | undefined;
      if (head) this.#wakeFor(head, now);
      for (const item of picks) {
        if (item.cost.total_tokens < (smallest?.cost.total_tokens ?? 0)) smallest = item;
      }
      if (smallest !== undefined && smallest !== head) this.#wakeFor(smallest, now);
    }
  }

  #wakeFor(item: Pending, now: number): void {
    const at = worstStart(limitsOf(item, now), item.cost, now);
    if (at > now) this.#wakeAt = Math.min(this.#wakeAt, at);
  }

  #grant(item: Pending, path: Path, now: number): void {
    const client = item.flow?.client;
    if (client !== undefined) {
      this.#shares.serve(client, Math.max(1, item.cost.total_tokens), item.weight);
    }
    this.#take(item);
    this.#host.grant(item, path, now);
  }

  #expire(now: number): void {
    for (let item = this.#deadlines.first(); item !== null; item = this.#deadlines.first()) {
      if (item.deadlineAt > now) return;
      this.#take(item);
      this.#host.expire(item, now);
    }
  }

  /** Puts a request into every list; `isFirst` where nobody waits on its path yet. */
  #stand(draft: Omit<Pending, "line">): { item: Pending; isFirst: boolean } {
    const { key } = draft.request.path;
    const known = this.#lines.get(key);
    const line = known ?? new Line(this.#shares);
    if (known === undefined) this.#lines.set(key, line);
    const item: Pending = Object.assign(draft, { line });
    line.push(item);
    this.#deadlines.push(item);
    this.#reprices ||= item.request.reprice !== undefined;
    this.#crowd.add(item);
    return { item, isFirst: known === undefined };
  }

  /** Takes `item` out of every list; false if it was in none. */
  #take(item: Pending): boolean {
    if (item.flow === null) return false;
    const { path } = item.request;
    item.line.remove(item);
    if (item.line.size === 0) this.#lines.delete(path.key);
    this.#deadlines.remove(item);
    this.#crowd.remove(item);
    return true;
  }

  #before(a: Pending, b: Pending, now: number): boolean {
    return goesBefore(a, b, now, a.line.smart && b.line.smart);
  }

  /** Keeps the one timer at the next moment that matters. */
  #arm(now: number): void {
    const at = Math.min(this.#wakeAt, this.#deadlines.first()?.deadlineAt ?? Infinity);
    if (at === this.#timerAt) return;
    this.#cancelTimer();
    this.#timerAt = at;
    this.#cancelTimer = () => undefined;
    if (at === Infinity) return;
    this.#cancelTimer = this.#host.clock.at(Math.max(at, now), () => {
      this.#timerAt = Infinity;
      this.pump();
    });
  }
}

/** The limits that decide when `item` goes. */
function limitsOf({ request, cost }: Pending, now: number): readonly Limit[] {
  return request.path.choose(cost, now).limits;
}

/** Whether `cost` is no more than the room in each limit. */
function isWithin(
  limits: readonly Limit[],
  rooms: readonly number[],
  cost: Readonly<Cost>,
): boolean {
  for (let i = 0; i < limits.length; i++) {
    const limit = limits[i];
    if (limit !== undefined && amountOf(cost, limit.unit) > (rooms[i] ?? 0)) return false;
  }
  return true;
}
