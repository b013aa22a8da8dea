import type { Lease } from "../admission/lease.ts";
import type { SeatEnd } from "../cache/coalescer.ts";
import type { Recording } from "../cache/recorder.ts";
import { isEventStream } from "../cache/stored.ts";
import type { AnswerHead } from "../cache/stored.ts";
import { setRefusalHeaders } from "../client/refusal.ts";
import type { Clock } from "../clock.ts";
import type { ProxyError } from "../errors.ts";
import type { HeaderWriter } from "../header-fields.ts";
import type { Account } from "../ledger/account.ts";
import type { WindowName } from "../limit/limit.ts";
import type { Cost } from "../limit/cost.ts";
import { oneRequest } from "../limit/cost.ts";
import { windowMs } from "../limit/limit.ts";
import type { Dialect } from "../provider/dialect.ts";
import { dialectOf, errorDialectOf } from "../provider/dialects.ts";
import { chargeFailed } from "../provider/meter.ts";
import type { Provider } from "../provider/provider.ts";
import type { Fields } from "../upstream/headers.ts";
import { stripResponseHeaders } from "../upstream/headers.ts";
import type { BodyEnd, BodyObserver, Patience } from "../upstream/relay.ts";
import { openBody, toBody } from "../upstream/relay.ts";
import type { Answer } from "../upstream/upstream.ts";
import type { Asking, Found } from "./asking.ts";
import type { Exchange } from "./exchange.ts";
import type { SideReader } from "./decode.ts";
import type { Settlement } from "./settle.ts";
import { answerReader } from "./settle.ts";

/** What SDKs do not wait for by themselves is said not to be retried, ms. */
const longestRetryMs = 60_000;

/** Sets what every answer on an upstream's behalf carries (contract, section 5). `now` is ms since the epoch. */
export function setOwnHeaders(
  headers: HeaderWriter,
  exchange: Exchange,
  server: string,
  now: number,
  fields: Fields = {},
): void {
  headers.set("x-proxy", server);
  headers.set("x-cooldown-request-id", exchange.id);
  if (fields["x-request-id"] === undefined) headers.set("x-request-id", exchange.id);
  if (exchange.cacheResult !== null) headers.set("x-cache", exchange.cacheResult);
  const { waitedMs } = exchange;
  headers.set("x-cooldown-wait", waitedMs === 0 ? "0.000" : (waitedMs / 1_000).toFixed(3));
  if (exchange.estimate !== null) {
    headers.set("x-cooldown-tokens", String(exchange.lease?.reserved.total_tokens ?? 0));
  }
  if (exchange.quota !== null) setQuotaHeaders(headers, exchange.quota, now);
}

/** What passing an answer on takes from around it. */
export interface RelayParts {
  readonly server: string;
  readonly clock: Clock;
  /** How long an upstream may send nothing, and a client take nothing. */
  readonly patience: Patience;
  /** Whose accounting applies. */
  readonly provider: Provider;
}

/** The upstream's answer as the client gets it; ends the exchange when its last byte has passed. */
export function relay(
  answer: Answer,
  exchange: Exchange,
  dialect: Dialect,
  { server, clock, patience, provider }: RelayParts,
): Response {
  const { status, statusText, headers, endsUnsaid = false } = answer;
  const { estimate, lease, asking } = exchange;
  const reader =
    estimate !== null && lease !== null && status < 300
      ? answerReader(dialect, estimate, lease.reserved, headers, exchange.streamed)
      : null;
  stripResponseHeaders(headers);
  const { fields } = headers;
  // As the upstream sent it: what is added below is for this client alone.
  const head = asking && { status, statusText, headers: new Headers(headers.toInit()) };
  const recording = asking && head && record(asking, exchange, head, provider, endsUnsaid);
  setOwnHeaders(headers, exchange, server, exchange.firstByteAt ?? clock.now(), fields);
  const flight = asking?.flight ?? null;
  const passing = new Passing(exchange, status, provider, reader, recording);
  const opened = openBody(answer, fields, patience, passing);
  exchange.replied();
  // A flight reads it for this client and all others.
  const body =
    flight === null || head === null ? toBody(opened, patience) : flight.open(head, opened);
  return new Response(body, { status, statusText, headers: headers.toInit() });
}

/** What happens as an answer passes, and when it has. */
class Passing implements BodyObserver {
  readonly onChunk: BodyObserver["onChunk"];
  readonly #exchange: Exchange;
  readonly #status: number;
  readonly #provider: Provider;
  readonly #reader: SideReader<Settlement> | null;
  readonly #recording: Recording | null;

  constructor(
    exchange: Exchange,
    status: number,
    provider: Provider,
    reader: SideReader<Settlement> | null,
    recording: Recording | null,
  ) {
    this.onChunk = bothOf(reader, recording);
    this.#exchange = exchange;
    this.#status = status;
    this.#provider = provider;
    this.#reader = reader;
    this.#recording = recording;
  }

  ended(end: BodyEnd): void {
    void this.#recording?.end(end.how === "complete");
    // A call that was broken off may have cost more than what passed here: it stays charged as reserved.
    if (end.how !== "complete") {
      const outcome = end.how === "abandoned" ? "aborted" : "upstream_broke_off";
      return this.#exchange.finish(this.#status, outcome);
    }
    const settlement = this.#reader?.end() ?? null;
    if (settlement instanceof Promise) void settlement.then((settled) => this.#settle(settled));
    else this.#settle(settlement);
  }

  #settle(settlement: Settlement | null): void {
    const exchange = this.#exchange;
    const status = this.#status;
    if (settlement?.usage && settlement.sound)
      exchange.estimate?.learn(settlement.usage, settlement.stoppedForLength, exchange.upstreamMs);
    const charged = settlement?.charged ?? chargedWithout(status, this.#provider, exchange.lease);
    exchange.finish(status, outcomeOf(status), charged, settlement?.counted ?? charged);
  }
}

/** What an answer that says nothing about tokens costs; null: as reserved. */
function chargedWithout(
  status: number,
  provider: Provider,
  lease: Lease | null,
): Readonly<Cost> | null {
  return status < 400 ? null : chargeFailed(provider, status, lease?.reserved ?? oneRequest);
}

/** An answer that was kept, or that another's call got, as this client gets it; ends the exchange. */
export function reuse(
  { answer, ended }: Found,
  exchange: Exchange,
  server: string,
  now: number,
): Response {
  const { status, statusText, headers, body } = answer;
  const id = headers.get("x-request-id");
  setOwnHeaders(headers, exchange, server, now, id === null ? {} : { "x-request-id": id });
  exchange.isReused = true;
  exchange.replied();
  if (ended === null) exchange.finish(status, "cache_hit");
  else void ended.then((how) => exchange.finish(status, seatOutcomes[how]));
  return new Response(body, { status, statusText, headers });
}

const seatOutcomes = {
  complete: "coalesced",
  failed: "upstream_broke_off",
  left: "aborted",
} as const satisfies Record<SeatEnd, string>;

/** Begins a copy of an answer for the cache; null where it is not to be kept. */
function record(
  { key, cache }: Asking,
  { method, path }: Exchange,
  head: AnswerHead,
  provider: Provider,
  endsUnsaid: boolean,
): Recording | null {
  // What a GET streams ends as it likes; what a model writes has a last event, by which a whole answer is known.
  const follow = method === "GET" ? null : () => dialectOf(provider, path).follow();
  const tellsItsEnd = follow !== null && isEventStream(head.headers.get("content-type"));
  if (endsUnsaid && !tellsItsEnd) return null;
  return cache?.record(key, method, head, follow) ?? null;
}

interface ChunkReader {
  push(this: void, chunk: Uint8Array): void;
}

/** Gives each piece to those who read along. */
function bothOf(
  first: ChunkReader | null,
  second: ChunkReader | null,
): ((chunk: Uint8Array) => void) | undefined {
  if (first === null || second === null) {
    const only = first ?? second;
    return only?.push;
  }
  return (chunk) => {
    first.push(chunk);
    second.push(chunk);
  };
}

/** One of a few words for metrics and logs. */
function outcomeOf(status: number): string {
  if (status < 400) return "ok";
  if (status === 429) return "upstream_429";
  return status < 500 ? "upstream_4xx" : "upstream_5xx";
}

function dialectFor({ provider, apiPath, anthropicVersion }: Exchange): Dialect {
  return errorDialectOf(provider, apiPath, anthropicVersion);
}

/** Says when a retry makes sense: in whole seconds, never too early. */
export function setRetryAfter(headers: HeaderWriter, ms: number): void {
  headers.set("retry-after", String(Math.max(1, Math.ceil(ms / 1_000))));
  // What an upstream said in milliseconds was said before the request waited here.
  if (headers.has("retry-after-ms")) headers.set("retry-after-ms", String(Math.ceil(ms)));
  if (ms > longestRetryMs) headers.set("x-should-retry", "false");
}

/** An answer of our own, in the dialect of the API that was called. */
export function errorReply(
  error: ProxyError,
  exchange: Exchange,
  server: string,
  now: number,
): Response {
  const headers = new Headers({
    "content-type": "application/json",
    "x-cooldown-error": error.code,
  });
  if (error.retryAfterMs !== null) setRetryAfter(headers, error.retryAfterMs);
  setOwnHeaders(headers, exchange, server, now);
  if (exchange.clientRefusal !== null) setRefusalHeaders(headers, exchange.clientRefusal);
  return new Response(dialectFor(exchange).errorBody(error, exchange.id), {
    status: error.status,
    headers,
  });
}

/**
 * `X-RateLimit-*` for requests and tokens a minute, and for each limit on requests the fields of the IETF draft
 * (draft-ietf-httpapi-ratelimit-headers-10: quota units are requests unless said otherwise; there are none for tokens).
 */
function setQuotaHeaders(headers: HeaderWriter, quota: Account, now: number): void {
  let policy = "";
  let state = "";
  for (const limit of quota.limits) {
    if (limit.window === null) continue;
    const { remaining, limit: most } = limit.usage(now);
    if (limit.unit === "requests") {
      const name = `"${fieldName(quota.spec.label)}-${limit.window}"`;
      policy += `${policy === "" ? "" : ", "}${name};q=${most};w=${windowMs[limit.window] / 1_000}`;
      state += `${state === "" ? "" : ", "}${name};r=${remaining}`;
      if (remaining === 0) state += `;t=${Math.ceil((limit.fitsAt(now, 1) - now) / 1_000)}`;
    }
    const suffix = minuteSuffix(limit.unit, limit.window);
    if (suffix === null) continue;
    headers.set(`x-ratelimit-limit-${suffix}`, String(most));
    headers.set(`x-ratelimit-remaining-${suffix}`, String(remaining));
  }
  if (policy === "") return;
  headers.set("ratelimit-policy", policy);
  headers.set("ratelimit", state);
}

function minuteSuffix(unit: string, window: WindowName): "rpm" | "tpm" | null {
  if (window !== "minute") return null;
  if (unit === "requests") return "rpm";
  return unit === "tokens" ? "tpm" : null;
}

/** A name as a structured field's string may hold it (RFC 9651 §3.3.3): quotes and what is not printable left out. */
function fieldName(label: string): string {
  return /^[\w .:=*-]*$/.test(label) ? label : label.replace(/[^\w .:=*-]/g, "_");
}
