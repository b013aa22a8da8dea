import type { Flight, Follower } from "../cache/coalescer.ts";
import { wishOf } from "../cache/directives.ts";
import { asksForWhole, cacheable, cacheKey, hasCredential } from "../cache/key.ts";
import type { ResponseCache } from "../cache/response-cache.ts";
import type { Answer } from "../cache/stored.ts";
import type { Clock } from "../clock.ts";
import type { Runtime } from "../runtime.ts";
import { taken } from "../upstream/relay.ts";
import { priorityOf } from "./ask.ts";
import type { Exchange } from "./exchange.ts";
import type { Incoming } from "./incoming.ts";
import { patienceOf } from "./waiting-time.ts";

/** A request whose answer may serve others. */
export interface Asking {
  readonly key: string;
  /** Where the answer is to be kept, null: nowhere. */
  readonly cache: ResponseCache | null;
  /** Those who wait for the same answer, null where nobody may. */
  readonly flight: Flight | null;
}

/** An answer that nobody has to be asked for. */
export interface Found {
  readonly answer: Answer;
  /** Of another's call: how the receiving of it ended. Null for one that was kept. */
  readonly ended: Follower["ended"] | null;
}

/** Who waited for a call whose leader was refused for reasons of its own is told this, and asks anew. */
export class LeaderRefused extends Error {
  /** Whose requests would all be refused so, null where only the leader's would. */
  readonly client: string | null;
  readonly refusal: unknown;

  constructor(refusal: unknown, client: string | null) {
    super();
    this.refusal = refusal;
    this.client = client;
  }
}

/** Whether a request's answer may be kept or shared, as far as its head tells: then its body is needed for the key. */
export function mayShare(
  { cache, coalescer }: Runtime,
  exchange: Exchange,
  { fields }: Incoming,
): boolean {
  if (cache === null && coalescer === null) return false;
  const may =
    cacheable(exchange.method, exchange.apiPath) &&
    asksForWhole(exchange.method, fields) &&
    wishOf(fields).mode !== "bypass";
  if (!may && cache !== null) exchange.cacheResult = "BYPASS";
  return may;
}

/**
 * Looks for an answer among those kept, then among those on their way.
 *
 * @param incoming its body read
 * @param question what is asked of whom
 * @returns an answer; or how this request stands to others if it has to go to the upstream itself, null: in no way
 * @throws ProxyError what the call that it waited for was refused with; `INVALID_REQUEST` for headers without sense
 */
export async function askOthers(
  { cache, coalescer, taking }: Runtime,
  exchange: Exchange,
  { request, fields, body }: Incoming,
  question: { base: string; target: string },
  clock: Clock,
): Promise<Found | Asking | null> {
  const { method, path } = exchange;
  const { mode, maxAgeMs } = wishOf(fields);
  if (!cacheable(method, path, body)) {
    if (cache !== null) exchange.cacheResult = "BYPASS";
    return null;
  }
  const key = cacheKey({ method, host: question.base, target: question.target, fields, body });
  if (cache !== null) {
    const hit = mode === "use" ? cache.get(key, maxAgeMs) : null;
    exchange.cacheResult = hit === null ? "MISS" : "HIT";
    if (mode !== "use") exchange.cacheResult = "BYPASS";
    if (hit !== null) return { answer: hit, ended: null };
  }
  if (coalescer === null || mode !== "use") return { key, cache, flight: null };

  const patienceMs = patienceOf(fields);
  // Who is to go first does not wait behind one who is not.
  const flightKey = `${key} ${priorityOf(fields) ?? ""}`;
  for (;;) {
    const place = coalescer.join(flightKey, hasCredential(fields), (written) =>
      taken(written, taking),
    );
    if (place.role === "leader") return { key, cache, flight: place.flight };
    const { seat } = place;
    exchange.onceLong(() => onAbort(request.signal, () => seat.leave()));
    const outcome = await waitFor(seat, exchange, patienceMs, clock);
    if (outcome === "refused") continue;
    if (outcome === "late") return { key, cache, flight: null };
    if (outcome === "not for us") return { key, cache: null, flight: null };
    return { answer: outcome, ended: seat.ended };
  }
}

/**
 * Waits for the answer to another's call. `late`: the client's patience has ended and the call has not begun: it is
 * for admission to say no. `refused`: the other one was, for reasons of its own. `not for us`: it may not be shared.
 */
async function waitFor(
  seat: Follower,
  exchange: Exchange,
  patienceMs: number,
  clock: Clock,
): Promise<Answer | "late" | "refused" | "not for us"> {
  const begunAt = clock.now();
  let isLate = false;
  const cancel =
    patienceMs === Infinity
      ? null
      : clock.at(begunAt + patienceMs - exchange.waitedMs, () => {
          // A call that has begun is waited for, as one of its own would be.
          if (seat.departedAt !== null) return;
          isLate = true;
          seat.leave();
        });
  try {
    return (await seat.answer) ?? "not for us";
  } catch (error) {
    if (isLate) return "late";
    if (!(error instanceof LeaderRefused)) throw error;
    if (error.client === exchange.client.id) throw error.refusal;
    return "refused";
  } finally {
    cancel?.();
    exchange.followed(begunAt, seat.departedAt);
  }
}

/** Makes the leaving of the client that leads its own: the call goes on while others wait for it. */
export function lead({ request }: Incoming, exchange: Exchange, { flight }: Asking): void {
  if (flight === null) return;
  exchange.onceLong(() => onAbort(request.signal, () => flight.leave(request.signal.reason)));
}

/** Calls `run` when the client goes away, or has gone. */
function onAbort(client: AbortSignal, run: () => void): void {
  if (client.aborted) run();
  else client.addEventListener("abort", run, { once: true });
}
