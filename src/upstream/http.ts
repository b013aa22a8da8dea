import type { Clock } from "../clock.ts";
import { ProxyError } from "../errors.ts";
import { BrokenConnection } from "./connection.ts";
import type { Connection, Sending } from "./connection.ts";
import { createDeadlines } from "./deadlines.ts";
import type { Deadlines, Wait, Waiting } from "./deadlines.ts";
import { dialThrough, secured } from "./dial.ts";
import { failureOf, isAbort, isUnconnected, refusalOfProxy, timeoutOf } from "./failure.ts";
import type { OutgoingProxy } from "./outgoing-proxy.ts";
import { Pins } from "./pinned.ts";
import { Places, targetAt } from "./places.ts";
import type { Place } from "./places.ts";
import { Pool } from "./pool.ts";
import type { RequestTarget } from "./request-head.ts";
import { UpstreamFailure } from "./upstream.ts";
import type { Answer, Upstream, UpstreamRequest } from "./upstream.ts";
import { connectionOn, connectSocket } from "./wire.ts";

/** How long an upstream may take, in ms. */
export interface UpstreamTimeouts {
  /** To accept a connection. */
  connectMs: number;
  /** From the request to the headers of the answer. */
  firstByteMs: number;
}

export interface HttpUpstreamOptions {
  clock: Clock;
  timeouts: UpstreamTimeouts;
  /** PEM certificates of all authorities to trust, in place of the built-in ones; null for those. */
  ca?: readonly string[] | null;
  /** A proxy that calls go through; null for none. */
  proxy?: OutgoingProxy | null;
}

/** Methods that mean the same twice (RFC 9110 §9.2.2). */
const idempotent: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "OPTIONS",
  "TRACE",
  "PUT",
  "DELETE",
]);

/**
 * What must not be sent twice goes on no connection that has been unused for longer, ms: its server may be closing it
 * at this moment. No common server does so earlier.
 */
const surelyOpenMs = 1_000;

/** How long the rest of a small answer is waited for, ms, if its head comes alone. */
const lingerMs = 20;

/**
 * Upstreams behind HTTP/1.1, on sockets of the runtime. Not on its `fetch`, for the reasons in
 * docs/decisions/http-client.md: it says neither when a request leaves nor when an answer ends, and costs more.
 */
export function createHttpUpstream(options: HttpUpstreamOptions): Upstream {
  const { clock, ca = null, proxy = null } = options;
  const { connectMs, firstByteMs } = options.timeouts;
  const connecting = createDeadlines(clock, connectMs);
  const answering = createDeadlines(clock, firstByteMs);
  const linger = createDeadlines(clock, lingerMs);
  const pool = new Pool(clock);
  const places = new Places({ pool, proxy, ca });
  const pins = new Pins(clock);

  const around: Around = {
    answering,
    firstByteMs,
    linger,
    // Other connections to the request's host that were kept as long are as closed.
    foundClosed({ place, request }, connection) {
      for (const way of waysTo(place, request)) way.free.foundClosed(connection);
    },
  };

  const send = (request: UpstreamRequest): Promise<Answer> => {
    try {
      request.controller.throwIfAborted();
      const place = placeOf(request);
      const attempt = new Attempt(request, place, around);
      const connection = take(place, request, attempt.mayRepeat ? Infinity : surelyOpenMs);
      return connection === null ? connectAndCarry(attempt) : carry(attempt, connection);
    } catch (error) {
      request.watcher?.cancel?.();
      return Promise.reject(error);
    }
  };

  const connectAndCarry = async (attempt: Attempt): Promise<Answer> => {
    const { place, request } = attempt;
    let connection: Connection;
    try {
      // One that became free for this request may have been closed on the way here.
      do connection = await connect(place, request);
      while (!connection.isOpen);
    } catch (error) {
      request.watcher?.cancel?.();
      throw attempt.failed(error);
    }
    return carry(attempt, connection);
  };

  /** Without `async`, as `send` is: each promise between a request and its answer costs as much as its whole head. */
  const carry = (attempt: Attempt, connection: Connection): Promise<Answer> => {
    const { place, request } = attempt;
    attempt.goes(connection);
    try {
      const answered = connection.send(request, attempt);
      const { via } = place;
      return via === null ? answered : answered.then((answer) => notRefusedBy(via.url, answer));
    } catch (error) {
      return Promise.reject(attempt.failed(error));
    }
  };

  /** @throws UpstreamFailure where the URL leads nowhere */
  const placeOf = ({ url }: UpstreamRequest): Place => {
    try {
      return places.of(url);
    } catch {
      throw failureOf({ code: "ERR_INVALID_URL" }, url);
    }
  };

  /** Where connections for a request may go: to its host, or to the addresses of it that were checked, in this order. */
  const waysTo = (place: Place, { addresses = null, url }: UpstreamRequest): readonly Place[] => {
    if (addresses === null || place.via !== null) return [place];
    // Without one that was checked there is none to connect to, least of all whatever the name means now.
    if (addresses.length === 0) throw failureOf({ code: "ENOTFOUND" }, url);
    if (place.isAddress) return [place];
    return pins.order(addresses).map((address) => places.at(place, address));
  };

  /** A connection that is there, null where there is none. */
  const take = (place: Place, request: UpstreamRequest, unusedMs: number): Connection | null => {
    if ((request.addresses ?? null) === null) return place.free.take(unusedMs);
    for (const way of waysTo(place, request)) {
      const connection = way.free.take(unusedMs);
      if (connection !== null) return connection;
    }
    return null;
  };

  /** A new connection, to the first of its addresses that takes one. */
  const connect = async (place: Place, request: UpstreamRequest): Promise<Connection> => {
    const { url, controller } = request;
    const ways = waysTo(place, request);
    for (const [i, way] of ways.entries()) {
      const isPinned = way !== place;
      try {
        return await open(way, request);
      } catch (error) {
        // One that could not be connected to, or not in time.
        if (isPinned && (isUnconnected(error) || error instanceof UpstreamFailure))
          pins.failed(way.endpoint.hostname);
        controller.throwIfAborted();
        if (!isUnconnected(error) || i === ways.length - 1)
          throw failureOf(error, url, { via: way.via?.url ?? null });
      }
    }
    throw failureOf(null, url);
  };

  /** A connection to one place: a new one, or one that becomes free before that is there. */
  const open = async (way: Place, request: UpstreamRequest): Promise<Connection> => {
    const { url, controller } = request;
    const via = way.via?.isTunnel === true ? way.via.url : null;
    const waiter = way.free.wait(() =>
      via === null ? connectSocket(way.endpoint, way.free, connecting) : tunnel(way, via, url),
    );
    const wait = connecting.begin({
      late: () => controller.abort(timeoutOf(way.via?.url.origin ?? url, "connection", connectMs)),
    });
    controller.tell({ cancelled: (reason) => waiter.leave(reason) });
    try {
      const connection = await waiter.promise;
      if (!controller.aborted) return connection;
      way.free.free(connection);
      throw controller.reason;
    } finally {
      wait.end();
      controller.tell(null);
    }
  };

  /**
   * TLS with the upstream, through a tunnel of the proxy's. It goes on when the request has left that asked for it:
   * another may be waiting.
   */
  const tunnel = async (way: Place, via: URL, url: string): Promise<Connection> => {
    const { signal } = new AbortController();
    const dialling = { clock, connectMs, signal };
    const target = { name: way.name, port: way.port };
    const stream = await dialThrough({ url: via, ca }, target, dialling);
    const secure = await secured(stream, way.name, url, ca, dialling);
    secure.once("close", () => stream.destroy());
    return connectionOn(secure, way.free);
  };

  const close = (): void => {
    connecting.close();
    answering.close();
    linger.close();
    pool.close();
  };
  return { send, close };
}

/** Only the next hop asks for this; what it asks of us is nothing that the client could give. */
function notRefusedBy(proxy: URL, answer: Answer): Answer {
  if (answer.status !== 407) return answer;
  if (!(answer.body instanceof Uint8Array)) answer.body?.cancel();
  throw refusalOfProxy(proxy, answer.status);
}

/** What all requests of an upstream share. */
interface Around {
  readonly answering: Deadlines;
  readonly firstByteMs: number;
  readonly linger: Deadlines;
  /** The connection of a request was closed before it. */
  foundClosed(attempt: Attempt, connection: Connection): void;
}

/** A request on its way. */
class Attempt implements Sending, RequestTarget, Waiting {
  readonly request: UpstreamRequest;
  readonly place: Place;
  readonly mayRepeat: boolean;
  readonly target: string;
  readonly host: string;
  readonly #around: Around;
  #connection: Connection | null = null;
  /** The wait for its answer, once it has a connection. */
  #wait: Wait | null = null;

  constructor(request: UpstreamRequest, place: Place, around: Around) {
    this.request = request;
    this.place = place;
    this.mayRepeat = isRepeatable(request);
    this.target = targetAt(place, request.url);
    this.host = place.host;
    this.#around = around;
  }

  get more(): string {
    return this.place.via?.more ?? "";
  }

  get linger(): Deadlines {
    return this.#around.linger;
  }

  /** It goes on this connection. */
  goes(connection: Connection): void {
    this.#connection = connection;
    this.#wait = this.#around.answering.begin(this);
  }

  late(): void {
    const { controller, url } = this.request;
    controller.abort(timeoutOf(url, "answer", this.#around.firstByteMs));
  }

  progressed(): void {
    this.#wait?.restart();
  }

  sent(): void {
    this.#wait?.restart();
    this.request.watcher?.sent();
  }

  /** There is nothing more to wait for, even where more of the request is still to go. */
  answered(): void {
    this.#wait?.end();
    this.#wait = null;
  }

  failed(error: unknown): unknown {
    this.answered();
    const { controller, url } = this.request;
    if (controller.aborted) return controller.reason;
    // Not the upstream failed but the body on its way there, which knows why: the client may have gone in its middle.
    if (error instanceof ProxyError || isAbort(error)) return error;
    const wasStale = error instanceof BrokenConnection && error.wasStale;
    if (wasStale && this.#connection !== null) this.#around.foundClosed(this, this.#connection);
    return failureOf(error, url, { isConnected: true, mayRepeat: wasStale && this.mayRepeat });
  }
}

function isRepeatable({ method, headers, body, repeatable }: UpstreamRequest): boolean {
  if (body instanceof ReadableStream) return false;
  return repeatable === true || idempotent.has(method) || headers.has("idempotency-key");
}
