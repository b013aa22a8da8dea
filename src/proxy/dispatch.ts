import type { Lease } from "../admission/lease.ts";
import type { AdmissionRequest } from "../admission/request.ts";
import { deadlineOf } from "../admission/scheduler.ts";
import { ProxyError } from "../errors.ts";
import type { HeaderFields } from "../header-fields.ts";
import type { Account } from "../ledger/account.ts";
import type { Dialect } from "../provider/dialect.ts";
import { readHints } from "../provider/hint.ts";
import { chargeFailed } from "../provider/meter.ts";
import type { Provider } from "../provider/provider.ts";
import { setKey } from "../provider/credential.ts";
import type { RefusalReason, UpstreamRefusal } from "../provider/refusal.ts";
import type { Core, Runtime } from "../runtime.ts";
import { Cancellation } from "../upstream/cancellation.ts";
import { UpstreamFailure } from "../upstream/upstream.ts";
import type { Answer } from "../upstream/upstream.ts";
import { overloadWait } from "./backoff.ts";
import type { Strikes } from "./backoff.ts";
import type { Exchange } from "./exchange.ts";
import { follow, sleep } from "./leaving.ts";
import { mayTurnAway, readTurnedAway, waitInHead } from "./refused.ts";
import { relay, setRetryAfter } from "./reply.ts";
import { switchProtocols } from "./upgrade.ts";
import type { Upgrade } from "./upgrade.ts";

/** Tries of a request whose upstream is overloaded, in all (contract, section 4). */
const mostOverloadTries = 3;
/** Tries in a row that may find a kept connection closed. */
const mostRepeats = 3;
/** How long a key that the upstream does not accept is left alone, ms. */
const setAsideMs = 10 * 60_000;

/** A request ready to be sent. */
export interface Outgoing {
  readonly runtime: Runtime;
  readonly exchange: Exchange;
  readonly dialect: Dialect;
  /** Whose accounting and hints apply. */
  readonly provider: Provider;
  readonly url: string;
  /** The host whose addresses must be public, null where the operator has written it. */
  readonly guardedHost: string | null;
  /** End-to-end ones only. */
  readonly headers: HeaderFields;
  /** Bytes can be sent again, a stream only once. */
  readonly body: Uint8Array | ReadableStream<Uint8Array> | null;
  readonly admission: AdmissionRequest;
  /** Sends it in place of the upstream where a WebSocket is asked for. */
  readonly upgrade: Upgrade | null;
  /** As it came in. Its signal is looked at only once a request is old enough (see the pipeline). */
  readonly request: Request;
}

/** What sending takes from around it. */
export interface DispatchParts {
  readonly core: Core;
  readonly strikes: Strikes;
  /** What we call ourselves: `cooldown/<version>`. */
  readonly server: string;
}

/** An answer that turned the request away, kept for the client in case waiting does not help. */
interface Kept {
  readonly answer: Answer;
  /** Until when the upstream will not take it; null where that is not for us to say. */
  readonly until: number | null;
}

/**
 * Sends a request as soon as there is room for it, and again where the upstream turns it away and waiting can help.
 * Resolves with the answer for the client.
 */
export async function dispatch(parts: DispatchParts, out: Outgoing): Promise<Response> {
  const { core } = parts;
  const { clock, scheduler, breaker } = core;
  const { exchange } = out;
  let { admission } = out;
  let kept: Kept | null = null;
  let overloads = 0;
  let repeats = 0;

  for (;;) {
    const blockedMs = breaker.blocked(exchange.upstream);
    const asked = blockedMs === null ? scheduler.admit(admission) : null;
    const outcome = asked instanceof Promise ? await exchange.waitFor(asked) : asked;
    if (outcome === null || "refused" in outcome) {
      if (kept !== null) {
        // The upstream's own refusal, with the time at which there will be room.
        const left = kept.until === null ? 0 : kept.until - clock.now();
        const ms = Math.max(blockedMs ?? outcome?.retryAfterMs ?? 0, left);
        if (ms > 0) setRetryAfter(kept.answer.headers, ms);
        return pass(parts, out, kept.answer);
      }
      if (outcome !== null)
        throw new ProxyError(outcome.refused, outcome.message, outcome.retryAfterMs);
      throw circuitOpen(exchange.upstream, blockedMs ?? 0);
    }
    const lease: Lease = outcome;
    exchange.lease = lease;
    // Of several keys it is the chosen one's quota that this is about.
    if (lease.path !== admission.path) exchange.quota = accountOf(lease);
    if (lease.committed !== null) await lease.committed;
    if (exchange.isLong) exchange.signalOf(out.request).throwIfAborted();
    const leavesAt = clock.now();
    const entered = breaker.enter(exchange.upstream, leavesAt);
    if (entered === null)
      throw circuitOpen(exchange.upstream, breaker.blocked(exchange.upstream) ?? 0);

    const controller = new Cancellation();
    let answer: Answer;
    try {
      answer = await send(out, lease, controller, core, leavesAt);
      exchange.answered();
    } catch (error) {
      breaker.released(entered);
      const mayRepeat = error instanceof UpstreamFailure && error.mayRepeat;
      if (!mayRepeat || ++repeats >= mostRepeats) throw error;
      // Should it have been read after all it was counted, and so it is charged; it goes again with room of its own.
      exchange.turnedAway(lease.reserved);
      core.metrics.upstreamRetry(exchange.upstream, "connection_closed");
      admission = again(admission, exchange.startedAt);
      continue;
    }
    if (answer.status < 400) tellHints(out, lease, answer, core);
    if (isKeyRefused(out, lease, answer)) {
      breaker.released(entered);
      const { status } = answer;
      const goesOn = setAside(parts, out, lease, status, status === 402 ? "billing" : null);
      if (!goesOn && status !== 401) return pass(parts, out, answer);
      controller.abort();
      if (!goesOn) throw noKeyAccepted(out, lease);
      admission = again(admission, exchange.startedAt);
      continue;
    }
    if (!mayTurnAway(out.provider, answer.status)) {
      if (answer.status < 400) {
        breaker.succeeded(entered);
        const account = accountOf(lease);
        if (account !== null) served(parts, lease, account, leavesAt);
      } else breaker.released(entered);
      return pass(parts, out, answer);
    }

    const now = clock.now();
    const account = accountOf(lease);
    // Nothing else goes out meanwhile: the rest of the answer may take its time.
    const saysMs = waitInHead(out.provider, answer, now);
    const wasHeld = (account?.heldUntil ?? 0) > now;
    if (saysMs !== null) account?.hold(now + saysMs);
    const read = await readTurnedAway(out.provider, answer, clock, saysMs);
    const { refusal } = read;
    if (refusal === null) {
      breaker.released(entered);
      return pass(parts, out, read.answer);
    }
    if (answer.status === 429) core.metrics.upstream429(exchange.upstream);
    const retriable = !(out.body instanceof ReadableStream);
    admission = again(admission, exchange.startedAt);
    const { deadlineAt } = admission.again ?? { deadlineAt: now };

    if (refusal.kind === "rate_limit" && account !== null) {
      const until = holdUntil(parts, account, refusal, now);
      // What it says remains counts only where nothing else says how long this lasts.
      const isTold = refusal.waitMs === null && exchange.quota !== null;
      const hints = isTold ? readHints(out.provider, answer.headers, now) : [];
      account.hold(until);
      lease.turnedAway(account, hints, unitOf(refusal), refusal.window);
      const waits = retriable && until <= deadlineAt;
      if (!wasHeld || !waits) breaker.failed(entered, account.spec.label, refusal.waitMs);
      else breaker.released(entered);
      kept = { answer: read.answer, until };
      if (!waits) {
        setRetryAfter(read.answer.headers, until - now);
        return pass(parts, out, read.answer);
      }
      // A call whose answer has not ended is ended.
      if (!read.whole) controller.abort();
      settleTry(core, out, lease, answer.status, refusal.reason);
      continue;
    }
    const { reason } = refusal;
    if (isUnpaid(out, lease, refusal) && setAside(parts, out, lease, answer.status, reason)) {
      breaker.released(entered);
      if (!read.whole) controller.abort();
      continue;
    }
    breaker.failed(entered, account?.spec.label ?? null, refusal.waitMs);
    kept = { answer: read.answer, until: null };
    if (refusal.kind !== "overload" || !retriable || ++overloads >= mostOverloadTries)
      return pass(parts, out, read.answer);
    const waitMs = Math.max(refusal.waitMs ?? 0, overloadWait(overloads));
    if (now + waitMs > deadlineAt) return pass(parts, out, read.answer);
    if (!read.whole) controller.abort();
    settleTry(core, out, lease, answer.status, refusal.reason);
    const pausedAt = clock.now();
    await sleep(clock, now + waitMs, exchange.signalOf(out.request));
    exchange.paused(clock.now() - pausedAt);
  }
}

/** Passes an answer on to the client, or switches to what it offers. */
function pass(
  { core: { clock }, server }: DispatchParts,
  { exchange, dialect, provider, runtime, upgrade }: Outgoing,
  answer: Answer,
): Response {
  if (answer.status === 101 && upgrade !== null)
    return switchProtocols(answer, upgrade, exchange, { server, clock });
  return relay(answer, exchange, dialect, { server, clock, patience: runtime, provider });
}

/** Ends a try that the upstream has answered with `status`, as the provider counts it; another will follow. */
function settleTry(
  { metrics }: Core,
  { exchange, provider }: Outgoing,
  lease: Lease,
  status: number,
  reason: string,
): void {
  exchange.turnedAway(chargeFailed(provider, status, lease.reserved));
  metrics.upstreamRetry(exchange.upstream, reason);
}

/** Gives it to the upstream: at once, where its addresses need no looking up. */
function send(
  out: Outgoing,
  lease: Lease,
  controller: Cancellation,
  { clock }: Core,
  now: number,
): Promise<Answer> {
  const { exchange, runtime } = out;
  exchange.call = controller;
  if (exchange.isLong) follow(exchange.signalOf(out.request), controller);
  const key = runtime.keyOf(lease.path);
  if (key !== null) setKey(out.headers, out.provider, key);
  // Asked again: after minutes in the queue a name may have moved. It is remembered for less long than that.
  const checked = runtime.addresses(out.guardedHost, out.url);
  return checked instanceof Promise
    ? checked.then((addresses) => sendTo(addresses, out, lease, controller, clock.now()))
    : sendTo(checked, out, lease, controller, now);
}

function sendTo(
  addresses: readonly string[] | null,
  { exchange, runtime, upgrade, url, headers, body }: Outgoing,
  lease: Lease,
  controller: Cancellation,
  now: number,
): Promise<Answer> {
  exchange.dispatched(now);
  return (upgrade ?? runtime.upstream).send({
    url,
    addresses,
    method: exchange.method,
    headers,
    body: (exchange.resizedBody() ?? body) as
      | Uint8Array<ArrayBuffer>
      | ReadableStream<Uint8Array>
      | null,
    controller,
    watcher: lease,
    // What a model writes costs tokens and changes nothing; the SDKs send it again themselves.
    repeatable: exchange.estimate !== null,
  });
}

/** What the upstream says of its limits; only where a quota applies: others have no numbers of the provider's. */
function tellHints(
  { exchange, provider }: Outgoing,
  lease: Lease,
  answer: Answer,
  core: Core,
): void {
  if (exchange.quota === null) return;
  lease.hint(readHints(provider, answer.headers, core.clock.now()));
}

/** A request was served: a hold that it was the trial of is over, and the next wait without a word is short again. */
function served({ strikes }: DispatchParts, lease: Lease, account: Account, sentAt: number): void {
  strikes.clear(account);
  if (account.heldUntil === 0 || sentAt < account.heldUntil) return;
  account.lift();
  lease.roomMayHaveCome();
}

/** The account that an upstream means when it says that it is too much: the quota's, else the rule's. */
function accountOf(lease: Lease): Account | null {
  return lease.path.accounts.at(-1) ?? null;
}

function holdUntil(
  { strikes }: DispatchParts,
  account: Account,
  { waitMs }: UpstreamRefusal,
  now: number,
): number {
  if (waitMs !== null) return Math.max(account.heldUntil, now + waitMs);
  // Those that were in flight together are turned away together: that is one time, not many.
  return account.heldUntil > now ? account.heldUntil : now + strikes.next(account);
}

function unitOf({ unit }: UpstreamRefusal): Exclude<UpstreamRefusal["unit"], "concurrency"> {
  return unit === "concurrency" ? null : unit;
}

/** Statuses that are about the key: it is not known, has no credit, or may not. */
const keyStatuses: ReadonlySet<number> = new Set([401, 402, 403]);

/** Whether the upstream does not accept a key of ours. */
function isKeyRefused({ runtime }: Outgoing, lease: Lease, { status }: Answer): boolean {
  return keyStatuses.has(status) && runtime.keyOf(lease.path) !== null;
}

const unpaid: ReadonlySet<RefusalReason> = new Set(["insufficient_quota", "billing", "spend_cap"]);

/** Whether the upstream says that a key of ours has no credit. */
function isUnpaid({ runtime }: Outgoing, lease: Lease, { kind, reason }: UpstreamRefusal): boolean {
  return kind === "never" && unpaid.has(reason) && runtime.keyOf(lease.path) !== null;
}

/**
 * Leaves a key alone. False where there is no other to try, or nothing to send again.
 * @param unpaidFor why there is no credit; null where the key is not accepted
 */
function setAside(
  { core }: DispatchParts,
  out: Outgoing,
  lease: Lease,
  status: number,
  unpaidFor: RefusalReason | null,
): boolean {
  const { admission, body } = out;
  const now = core.clock.now();
  const account = accountOf(lease);
  if (account === null) return false;
  const others = admission.path.alternatives.filter((path) => path !== lease.path);
  const usable = others.some((path) => path.accounts.every(({ heldUntil }) => heldUntil <= now));
  const what =
    unpaidFor === null
      ? "the upstream does not accept a key of api_keys"
      : "a key of api_keys has no credit";
  core.log.warn(
    `${what}: ${usable ? "it is left alone for 10 minutes" : "there is no other to use"}`,
    { quota: account.spec.label, status },
  );
  if (usable) account.hold(now + setAsideMs);
  if (!usable || body instanceof ReadableStream) return false;
  settleTry(core, out, lease, status, unpaidFor ?? "key_refused");
  return true;
}

/** In place of the upstream's answer, which may quote a key that is the operator's. */
function noKeyAccepted({ exchange, provider }: Outgoing, lease: Lease): ProxyError {
  exchange.turnedAway(chargeFailed(provider, 401, lease.reserved));
  return new ProxyError(
    "UNAUTHORIZED",
    `${exchange.upstream} accepts none of the keys that this proxy has for it (api_keys).`,
  );
}

/** The same request once more, before all others, while the deadline that it came with lasts. */
function again(admission: AdmissionRequest, arrivedAt: number): AdmissionRequest {
  if (admission.again !== null) return admission;
  const { path, cost, outlook, priority, client, weight, patienceMs, bodyBytes, signal } =
    admission;
  const deadlineAt = deadlineOf(admission, arrivedAt);
  return {
    path,
    repath: () => admission.repath?.() ?? path,
    cost,
    outlook,
    priority,
    client,
    weight,
    patienceMs,
    bodyBytes,
    signal,
    again: { deadlineAt },
    // What can be sent again is all here.
    uploading: false,
  };
}

function circuitOpen(upstream: string, ms: number): ProxyError {
  return new ProxyError(
    "CIRCUIT_OPEN",
    `${upstream} has turned away many requests in a row. It is left alone for another ${Math.ceil(ms / 1_000)} s.`,
    ms,
  );
}
