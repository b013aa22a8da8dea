import type { ClientCost } from "../client/algorithm.ts";
import type { ClientTaken } from "../client/limiter.ts";
import type { ClientRefusal } from "../client/refusal.ts";
import { refusalError } from "../client/refusal.ts";
import { ProxyError } from "../errors.ts";
import { plainCost } from "../provider/meter.ts";
import { parseHost } from "../routing/host.ts";
import { routeRequest, routeToHost } from "../routing/target.ts";
import type { Runtime } from "../runtime.ts";
import type { Deadlines, Wait, Waiting } from "../upstream/deadlines.ts";
import { createDeadlines } from "../upstream/deadlines.ts";
import type { Fields } from "../upstream/headers.ts";
import { fieldsOf, requestHeaders } from "../upstream/headers.ts";
import { UpstreamFailure } from "../upstream/upstream.ts";
import { Ask } from "./ask.ts";
import { askOthers, lead, LeaderRefused, mayShare } from "./asking.ts";
import { dispatch } from "./dispatch.ts";
import type { DispatchParts } from "./dispatch.ts";
import type { Learning } from "./estimate.ts";
import { Exchange } from "./exchange.ts";
import type { Ended } from "./exchange.ts";
import { Incoming } from "./incoming.ts";
import { follow } from "./leaving.ts";
import type { Target } from "./plan.ts";
import {
  dependsOnBody,
  formatOf,
  limitsTokens,
  needsOf,
  placeOf,
  priceOf,
  readCall,
  routeOf,
} from "./plan.ts";
import { errorReply, reuse } from "./reply.ts";
import { asksForWebSocket } from "./upgrade.ts";
import type { Upgrade } from "./upgrade.ts";

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

/** What a request costs its client, as long as its tokens are not known. */
const oneRequestOf: ClientCost = { requests: 1, tokens: 0 };

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
export class Pipeline implements Ended {
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

  /**
   * Answers a request that was made as to a forward proxy: it goes to the host that it names, which is never Cooldown
   * itself, and by http unless a rule says otherwise.
   */
  handleAbsolute(
    request: Request,
    connection: Connection,
    runtime: Runtime,
  ): Response | Promise<Response> {
    const target = targetOf(request.url);
    const fields = fieldsOf(request.headers);
    const exchange = this.#begin(request, fields, target, connection);
    try {
      const host = parseHost(fields["host"] ?? "");
      if (host === null) throw new ProxyError("INVALID_REQUEST", "The URL has no usable host.");
      const route = routeToHost(runtime.routing, host, target, 80);
      const plain = { ...route, base: `http://${route.host}` };
      return this.#answer(request, fields, connection, runtime, plain, exchange);
    } catch (error) {
      return this.#fail(error, exchange, request.signal);
    }
  }

  /** One function, though it is long: each `async` one is a dozen objects more for every request. */
  async #answer(
    request: Request,
    fields: Fields,
    connection: Connection,
    runtime: Runtime,
    target: Exclude<Target, { kind: "control" }>,
    exchange: Exchange,
  ): Promise<Response> {
    try {
      const { core, learning } = this.#parts;
      refuseBlocked(runtime, connection);
      exchange.client = runtime.identifier.identify(fields, connection);
      const incoming = new Incoming(request, fields, runtime);

      const routed = routeOf(runtime, target, incoming);
      const route = routed instanceof Promise ? await routed : routed;
      exchange.upstream = route.host;
      if (route.via === "proxy") exchange.apiPath = withoutQuery(route.target);
      exchange.provider = route.quotas[0]?.quota.provider ?? null;
      const admitted = this.#takeFromClient(exchange, oneRequestOf);
      if (admitted !== null) await admitted;

      if (mayShare(runtime, exchange, incoming)) {
        if (request.body !== null) await incoming.read();
        const found = await askOthers(runtime, exchange, incoming, route, core.clock);
        if (found !== null && "answer" in found)
          return reuse(found, exchange, this.#parts.server, core.clock.now());
        exchange.asking = found;
        if (found !== null) lead(incoming, exchange, found);
      }

      const dialect = formatOf(route, exchange);

      // What it costs there: the body is read only if that depends on it.
      const call = dependsOnBody(runtime, route, dialect, exchange)
        ? readCall(await incoming.read(), dialect, exchange)
        : null;
      const place = placeOf(route, call);
      const checked = runtime.addresses(place.guardedHost, place.url);
      if (checked instanceof Promise) await checked;
      const needs = needsOf(runtime, route, place, exchange);
      if (call === null) exchange.plainCost = plainCost(place.provider, exchange.method);
      else {
        const priced = priceOf(
          learning,
          { route, dialect, call, place, needs },
          exchange,
          incoming,
        );
        exchange.estimate = priced instanceof Promise ? await priced : priced;
        if (limitsTokens(exchange) && exchange.estimate !== null) {
          const { total_tokens: tokens } = exchange.estimate.cost;
          const charged = this.#takeFromClient(exchange, { requests: 0, tokens });
          if (charged !== null) await charged;
        }
      }
      if (incoming.isSmall) await incoming.read();

      const upgrade = asksForWebSocket(exchange.method, fields)
        ? (connection.upgrade?.(runtime) ?? null)
        : null;
      const headers = requestHeaders(fields);
      for (const name of exchange.client.keyHeaders) headers.delete(name);
      // Where the body has changed, its length is for the sender to say.
      if (exchange.estimate !== null) headers.delete("content-length");
      return await dispatch(this.#parts, {
        runtime,
        exchange,
        dialect,
        provider: place.provider,
        url: place.url,
        guardedHost: place.guardedHost,
        headers,
        body: incoming.outgoing(),
        admission: new Ask(incoming, exchange, needs, { runtime, route, model: call?.model ?? "" }),
        request,
        upgrade,
      });
    } catch (error) {
      return this.#fail(error, exchange, request.signal);
    }
  }

  /**
   * Charges the client; null where that is done at once.
   * @throws ProxyError, or rejects with it, where its own limit has no room: that costs the upstream's quota nothing
   */
  #takeFromClient(exchange: Exchange, cost: ClientCost): Promise<void> | null {
    const taken = this.#parts.core.clients.take(exchange.client, cost);
    if (taken instanceof Promise)
      return taken.then((answer) => this.#tookFromClient(exchange, cost, answer));
    this.#tookFromClient(exchange, cost, taken);
    return null;
  }

  #tookFromClient(exchange: Exchange, cost: ClientCost, taken: ClientTaken | ClientRefusal): void {
    if (taken.ok) {
      if (cost.requests > 0) exchange.taken = { ...cost, at: taken.at };
      else exchange.takenTokens = { ...cost, at: taken.at };
      return;
    }
    exchange.clientRefusal = taken;
    this.#parts.core.metrics.clientLimited();
    throw refusalError(taken);
  }

  #begin(request: Request, fields: Fields, target: string, connection: Connection): Exchange {
    const path = withoutQuery(target);
    const version = fields["anthropic-version"] ?? null;
    this.#running++;
    const stay = new Stay(request, connection, this);
    const exchange = new Exchange(this.#parts.core, request.method, path, version, stay);
    stay.begin(exchange, this.#short);
    return exchange;
  }

  /** A request has ended. */
  ended(): void {
    if (--this.#running > 0) return;
    for (const resolve of this.#idle) resolve();
    this.#idle = [];
  }

  /** The answer where there is none from the upstream. */
  #fail(thrown: unknown, exchange: Exchange, signal: AbortSignal): Response {
    const { core, server } = this.#parts;
    exchange.asking?.flight?.fail(refusalForOthers(thrown, exchange));
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

/** A request's time here: a class, not two closures that see all of what they are made in. */
class Stay implements Waiting, Ended {
  readonly #request: Request;
  readonly #connection: Connection;
  readonly #pipeline: Ended;
  #exchange: Exchange | null = null;
  #short: Wait | null = null;

  constructor(request: Request, connection: Connection, pipeline: Ended) {
    this.#request = request;
    this.#connection = connection;
    this.#pipeline = pipeline;
  }

  begin(exchange: Exchange, short: Deadlines): void {
    this.#exchange = exchange;
    this.#short = short.begin(this);
  }

  /** It is not short. */
  late(): void {
    const exchange = this.#exchange;
    if (exchange === null) return;
    this.#connection.hold();
    exchange.becomeLong();
    if (exchange.call !== null) follow(exchange.signalOf(this.#request), exchange.call);
  }

  ended(): void {
    this.#short?.end();
    if (this.#exchange?.isLong === true) this.#connection.free();
    this.#pipeline.ended();
  }
}

/** @throws ProxyError `IP_BLOCKED` */
function refuseBlocked({ blocklist }: Runtime, connection: Connection): void {
  if (!blocklist.hasClients || !blocklist.blocksClient(connection.peer())) return;
  throw new ProxyError(
    "IP_BLOCKED",
    "Your address is not served here (forward_proxy.blocked_ips).",
  );
}

function withoutQuery(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

/** Path and query of a URL as they were received. */
function targetOf(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  return start === -1 ? "/" : url.slice(start);
}

/** What those are told who wait for the call that a refused request leads. */
function refusalForOthers(thrown: unknown, { client, clientRefusal }: Exchange): unknown {
  const code = thrown instanceof ProxyError ? thrown.code : null;
  // How full a queue is depends on who asks: whose client holds most of it gives way to others.
  if (code === "QUEUE_FULL") return new LeaderRefused(thrown, client.id);
  const isItsOwn = clientRefusal !== null || code === "QUEUE_TIMEOUT";
  return isItsOwn ? new LeaderRefused(thrown, null) : thrown;
}

function asProxyError(error: unknown): ProxyError {
  if (error instanceof ProxyError) return error;
  return new ProxyError("INTERNAL", error instanceof Error ? error.message : String(error));
}
