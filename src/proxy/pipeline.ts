import type { Path } from "../admission/path.ts";
import type { AdmissionRequest } from "../admission/request.ts";
import { refusalError } from "../client/refusal.ts";
import { priorityWithin } from "../client/tier.ts";
import type { QuotaConfig, RateLimitConfig } from "../config/schema.ts";
import { ProxyError } from "../errors.ts";
import { oneRequest } from "../limit/cost.ts";
import type { Limit } from "../limit/limit.ts";
import type { ModelCall } from "../provider/dialect.ts";
import { parseBody } from "../provider/body.ts";
import { dialectOf } from "../provider/dialects.ts";
import { generic } from "../provider/generic.ts";
import { priorities } from "../queue/lane.ts";
import type { Priority } from "../queue/lane.ts";
import type { QuotaCandidate } from "../routing/rules.ts";
import { pickQuota } from "../routing/rules.ts";
import type { Route, UpstreamRoute } from "../routing/target.ts";
import { destination, routeRequest, routeToUpstream } from "../routing/target.ts";
import type { Needs, Runtime } from "../runtime.ts";
import type { Deadlines } from "../upstream/deadlines.ts";
import { createDeadlines } from "../upstream/deadlines.ts";
import type { Fields } from "../upstream/headers.ts";
import { fieldsOf, stripRequestHeaders } from "../upstream/headers.ts";
import { UpstreamFailure } from "../upstream/upstream.ts";
import { arrivingBody, checkLength, contentLength, readBody, smallBody } from "./body.ts";
import { dispatch, follow } from "./dispatch.ts";
import type { DispatchParts } from "./dispatch.ts";
import type { Learning } from "./estimate.ts";
import { estimate, learningKey } from "./estimate.ts";
import { Exchange } from "./exchange.ts";
import { errorReply } from "./reply.ts";
import { rightSize } from "./right-size.ts";
import { asksForWebSocket } from "./upgrade.ts";
import type { Upgrade } from "./upgrade.ts";
import { patienceOf } from "./waiting-time.ts";

/** Longer names of models are cut, characters. */
const longestModel = 120;

type Target = Route<RateLimitConfig, QuotaConfig>;
type UpstreamTarget = UpstreamRoute<RateLimitConfig, QuotaConfig>;

/**
 * Most requests of a plain API are over by then. What only a longer one needs is done after it: its connection kept
 * from the idle timeout, and its client's leaving listened for. That is a tenth of what a short one would cost.
 */
const shortMs = 50;

/** The connection that a request came in on. */
export interface Connection {
  /** Address of its other end, null if unknown. */
  peer(): string | null;
  /** Nothing may pass on it for a while, and it is to stay. */
  hold(): void;
  /** The request has ended: what is idle from here may be closed. */
  free(): void;
  /** What passes a WebSocket on, where the connection can become one. */
  upgrade?(runtime: Runtime): Upgrade;
}

/** What answers where the request is for Cooldown itself. */
export interface ControlRoutes {
  fetch(request: Request, caller: { peer: string | null }): Response | Promise<Response>;
}

/** What the pipeline needs of the process, beside the runtime of each request. */
export interface PipelineParts extends DispatchParts {
  readonly learning: Learning;
  readonly control: ControlRoutes;
}

/** The way of every request, from its arrival to the end of its answer. */
export class Pipeline {
  readonly #parts: PipelineParts;
  /** Requests too young to be looked after; see `shortMs`. */
  readonly #short: Deadlines;
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(parts: PipelineParts) {
    this.#parts = parts;
    this.#short = createDeadlines(parts.core.clock, shortMs);
  }

  /** Requests for upstreams that have arrived and not ended. */
  get running(): number {
    return this.#running;
  }

  /** Resolves when no request is on its way. */
  idle(): Promise<void> {
    return this.#running === 0
      ? Promise.resolve()
      : new Promise((resolve) => void this.#idle.push(resolve));
  }

  /**
   * Answers one request. Never rejects: what goes wrong is an answer.
   * @param connection what it came in on
   */
  handle(request: Request, connection: Connection, runtime: Runtime): Response | Promise<Response> {
    const target = targetOf(request.url);
    const fields = fieldsOf(request.headers);
    let route: Target;
    try {
      route = routeRequest(runtime.routing, fields["host"] ?? null, target);
    } catch (error) {
      return this.#fail(error, this.#begin(request, fields, target, connection), request.signal);
    }
    if (route.kind === "control") {
      return this.#parts.control.fetch(request, { peer: connection.peer() });
    }
    const exchange = this.#begin(request, fields, target, connection);
    return this.#answer(request, fields, connection, runtime, route, exchange);
  }

  async #answer(
    request: Request,
    fields: Fields,
    connection: Connection,
    runtime: Runtime,
    target: Exclude<Target, { kind: "control" }>,
    exchange: Exchange,
  ): Promise<Response> {
    try {
      return await this.#forward(request, fields, connection, runtime, target, exchange);
    } catch (error) {
      return this.#fail(error, exchange, request.signal);
    }
  }

  async #forward(
    request: Request,
    fields: Fields,
    connection: Connection,
    runtime: Runtime,
    target: Exclude<Target, { kind: "control" }>,
    exchange: Exchange,
  ): Promise<Response> {
    exchange.client = runtime.identifier.identify(fields, connection);
    const maxBody = runtime.config.server.max_body_size;
    checkLength(fields, maxBody);
    refuseLostBody(request.method, fields);

    // Which upstream, and what the request costs there: the body is read only if that depends on it.
    let body: Uint8Array | null = null;
    let parsed: Record<string, unknown> | null = null;
    let call: ModelCall | null = null;
    let route: UpstreamTarget;
    if (target.kind === "v1") {
      if (runtime.routesByModel && request.body !== null)
        body = await readBody(request, fields, maxBody, runtime.arriving);
      const model = body === null ? "" : modelIn(body);
      route = routeToUpstream(runtime.routing, runtime.upstreamOf(model), target.target);
    } else route = target;
    exchange.upstream = route.host;
    const [first] = route.quotas;
    exchange.provider = first?.quota.provider ?? null;
    // A client's own limit on tokens has them counted where no quota does.
    const limitsTokens = (exchange.client.tier?.tpm ?? null) !== null;
    const dialect =
      first === undefined && !limitsTokens
        ? generic
        : dialectOf(first?.quota.provider ?? "generic", exchange.path);
    if (
      (first !== undefined || limitsTokens) &&
      dialect.isMetered(exchange.method, exchange.path) &&
      (limitsTokens ||
        needsCall(route.quotas) ||
        route.quotas.some(({ quota }) => runtime.learnedTokens(quota)))
    ) {
      body ??= await readBody(request, fields, maxBody, runtime.arriving);
      parsed = parseBody(body);
      call = dialect.readCall(exchange.path, parsed);
      exchange.model = shortened(call.model);
      exchange.streamed = call.stream;
    }

    const quota = pickQuota(route.quotas, call?.model ?? "");
    const { url, guarded } = destination(route, quota);
    const guardedHost = guarded ? route.hostname : null;
    const checked = runtime.addresses(guardedHost, url);
    if (checked instanceof Promise) await checked;
    const share = { model: exchange.model ?? "", credential: exchange.client.credential };
    const needs = runtime.needs(route, quota?.quota ?? null, share);
    exchange.quota = needs.quota;
    const provider = quota?.quota.provider ?? "generic";
    if (call !== null && (limitsTokens || (quota !== null && countsTokens(needs)))) {
      const { learning } = this.#parts;
      const scope = quota?.quota.name ?? route.host;
      const rightSizes = quota?.quota.right_size_max_tokens === true;
      const key = `${learningKey(scope, call.model)}\n${exchange.client.id}`;
      const sizing = { needs: learning.needs, key, provider, dialect, path: exchange.path };
      const smaller =
        rightSizes && body !== null && parsed !== null
          ? rightSize(sizing, body, parsed, call)
          : null;
      if (smaller !== null) ({ body } = smaller);
      const cap = call.maxOutput;
      // Learned from the first answer on, though caps stay as they are until enough is known.
      const sized =
        rightSizes && cap !== null ? { cap, sentCap: cap, key, ...smaller?.sized } : null;
      const priced = estimate(learning, call, { scope, provider, limits: limitsOf(needs), sized });
      exchange.estimate = priced instanceof Promise ? await priced : priced;
    }
    if (
      body === null &&
      request.body !== null &&
      (contentLength(fields) ?? Infinity) <= smallBody
    ) {
      body = await readBody(request, fields, maxBody, runtime.arriving);
    }
    this.#takeFromClient(exchange);
    const upgrade = asksForWebSocket(exchange.method, fields)
      ? (connection.upgrade?.(runtime) ?? null)
      : null;
    // The server looks at those of the request once more when it switches.
    const headers = upgrade === null ? request.headers : new Headers(request.headers);
    stripRequestHeaders(headers, fields);
    for (const name of exchange.client.keyHeaders) headers.delete(name);
    // Where the body has changed, its length is for the sender to say.
    if (exchange.estimate !== null) headers.delete("content-length");
    return await dispatch(this.#parts, {
      runtime,
      exchange,
      dialect,
      provider,
      url,
      guardedHost,
      headers,
      body: body ?? (request.body && arrivingBody(request.body, maxBody, runtime.arriving)),
      admission: new Ask(request, fields, exchange, needs, body),
      signal: () => request.signal,
      upgrade,
    });
  }

  /** @throws ProxyError where the client's own limit has no room: that costs the upstream's quota nothing */
  #takeFromClient(exchange: Exchange): void {
    const { clients, metrics } = this.#parts.core;
    const cost = { requests: 1, tokens: exchange.estimate?.cost.total_tokens ?? 0 };
    const taken = clients.take(exchange.client, cost);
    if (taken.ok) {
      exchange.taken = { ...cost, at: taken.at };
      return;
    }
    exchange.clientRefusal = taken;
    metrics.clientLimited();
    throw refusalError(taken);
  }

  #begin(request: Request, fields: Fields, target: string, connection: Connection): Exchange {
    const query = target.indexOf("?");
    const path = query === -1 ? target : target.slice(0, query);
    const version = fields["anthropic-version"] ?? null;
    this.#running++;
    const exchange = new Exchange(this.#parts.core, request.method, path, version, () => {
      this.#running--;
      short.end();
      if (exchange.isLong) connection.free();
      if (this.#running > 0) return;
      for (const resolve of this.#idle) resolve();
      this.#idle = [];
    });
    const short = this.#short.begin(() => {
      exchange.isLong = true;
      connection.hold();
      if (exchange.call !== null) follow(request.signal, exchange.call);
    });
    return exchange;
  }

  /** The answer where there is none from the upstream. */
  #fail(thrown: unknown, exchange: Exchange, signal: AbortSignal): Response {
    const { core, server } = this.#parts;
    if (signal.aborted && !(thrown instanceof ProxyError)) {
      // Nobody reads this. 499 is what nginx writes into its log for it.
      exchange.finish(499, "aborted");
      return new Response(null, { status: 499 });
    }
    const error = asProxyError(thrown);
    if (error.code === "INTERNAL") {
      core.log.error("request failed", { request_id: exchange.id, error: error.message });
    }
    if (thrown instanceof UpstreamFailure && !thrown.mayHaveLeft) exchange.lease?.cancel();
    const reply = errorReply(error, exchange, server, core.clock.now());
    exchange.finish(error.status, error.code.toLowerCase());
    return reply;
  }
}

/** Path and query of a URL as they were received. */
function targetOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  return start === -1 ? "/" : url.slice(start);
}

/** A model's name as it may stand in logs, metrics and names of accounts: clients write what they like. */
function shortened(model: string): string {
  if (model.length <= longestModel) return model;
  return `${model.slice(0, longestModel - 17)} ${Bun.hash(model).toString(16).padStart(16, "0")}`;
}

/**
 * The runtime hands on no body of a GET or HEAD request. Sending it without would ask something else.
 * @throws ProxyError `INVALID_REQUEST`
 */
function refuseLostBody(method: string, fields: Fields): void {
  if (method !== "GET" && method !== "HEAD") return;
  if ((contentLength(fields) ?? 0) === 0 && fields["transfer-encoding"] === undefined) return;
  throw new ProxyError(
    "INVALID_REQUEST",
    `A body in a ${method} request cannot be forwarded. Use POST if the API takes it.`,
  );
}

/** Whether a quota needs to know what a call says: its model or its tokens. */
function needsCall(candidates: readonly QuotaCandidate<QuotaConfig>[]): boolean {
  return candidates.some(({ quota }) => {
    const { models, per, rps, rpm, rph, rpd, max_concurrency, ...rest } = quota;
    const { tpm, tph, tpd, input_tpm, output_tpm, total_tpm } = rest;
    const tokens = [tpm, tph, tpd, input_tpm, output_tpm, total_tpm].some(
      (limit) => limit !== null,
    );
    return tokens || per.includes("model") || !models.includes("*");
  });
}

/** The limits that a request meets; of several keys, all of which have the same, those of one. */
function limitsOf({ path }: Needs): readonly Limit[] {
  return (path.alternatives[0] ?? path).limits;
}

function countsTokens(needs: Needs): boolean {
  return limitsOf(needs).some(({ unit }) => unit !== "requests" && unit !== "slots");
}

/** The model that a JSON body names, empty if it names none or is none: that is for the upstream to say. */
function modelIn(body: Uint8Array): string {
  try {
    const { model } = parseBody(body);
    return typeof model === "string" ? model : "";
  } catch {
    return "";
  }
}

/** A class, since a literal with a getter costs several times as much. */
class Ask implements AdmissionRequest {
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

  constructor(
    request: Request,
    fields: Fields,
    exchange: Exchange,
    needs: Needs,
    body: Uint8Array | null,
  ) {
    this.#request = request;
    this.path = needs.path;
    this.cost = exchange.estimate?.cost ?? oneRequest;
    this.outlook = exchange.estimate?.outlook ?? null;
    const { id, tier } = exchange.client;
    this.priority = priorityWithin(tier, priorityOf(fields));
    this.client = id;
    this.weight = tier?.weight ?? 1;
    this.patienceMs = patienceOf(fields);
    this.bodyBytes = body?.byteLength ?? 0;
    this.uploading = body === null && request.body !== null;
  }

  /** Made only for a request that has to wait: the runtime makes it at the first look. */
  get signal(): AbortSignal {
    return this.#request.signal;
  }
}

/** The class that a request asks for, null where it asks for none. */
function priorityOf(fields: Fields): Priority | null {
  const value = fields["x-cooldown-priority"]?.trim().toLowerCase();
  if (value === undefined) return null;
  if (Object.hasOwn(priorities, value)) return value as Priority;
  throw new ProxyError("INVALID_REQUEST", "X-Cooldown-Priority must be high, normal or low.");
}

function asProxyError(error: unknown): ProxyError {
  if (error instanceof ProxyError) return error;
  return new ProxyError("INTERNAL", error instanceof Error ? error.message : String(error));
}
