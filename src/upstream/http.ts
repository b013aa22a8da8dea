import type { Clock } from "../clock.ts";
import { ProxyError } from "../errors.ts";
import { createDeadlines } from "./deadlines.ts";
import type { Wait } from "./deadlines.ts";
import { failureOf, isUnconnected, noStatus, refusalOfProxy, timeoutOf } from "./failure.ts";
import { createReachability } from "./reachability.ts";
import type { Reachability } from "./reachability.ts";
import type { OutgoingProxy } from "./outgoing-proxy.ts";
import { proxyFor } from "./outgoing-proxy.ts";
import type { Pinned } from "./pinned.ts";
import { Pins } from "./pinned.ts";
import type { Upstream, UpstreamRequest } from "./upstream.ts";
import { inPieces, largeBodyBytes, whenTaken } from "./upload.ts";

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
  /** How to tell a host that cannot be connected to from a slow one; by default, by connecting. */
  reachability?: Reachability;
}

/** The way the runtime's `fetch` has to be called to stay out of the way of what passes. */
interface FetchOptions extends BunFetchRequestInit {
  timeout?: boolean;
}

/**
 * An upstream behind HTTP/1.1, on the runtime's own `fetch` and its pool of connections.
 *
 * Time limits have no timers of their own for each call. `fetch` does not say whether a call that has no answer yet
 * has a connection; for the few that have waited for half of `connectMs`, a look at the host does (see
 * `reachability.ts`). Only those are then watched for `firstByteMs`.
 */
export function createHttpUpstream(options: HttpUpstreamOptions): Upstream {
  const { clock, ca = null, proxy = null } = options;
  const { connectMs, firstByteMs } = options.timeouts;
  const soonMs = Math.min(connectMs / 2, firstByteMs);
  const soon = createDeadlines(clock, soonMs);
  const later = createDeadlines(clock, firstByteMs - soonMs);
  const reachability = options.reachability ?? createReachability(clock, connectMs / 2);
  const authorities = ca === null ? null : { ca: [...ca] };
  const pins = new Pins(clock);

  /** For a call that has been without an answer for `soonMs`. */
  const watchOn = async (call: Call): Promise<void> => {
    const { url, controller } = call.request;
    const answer = later.begin(() => controller.abort(timeoutOf(url, "answer", firstByteMs)));
    call.wait = answer;
    const reachable = await reachability.check(call.via?.href ?? call.pinned?.url ?? url);
    // Still this wait, so still without an answer.
    if (reachable || call.wait !== answer) return;
    if (call.pinned !== null) pins.failed(call.pinned.address);
    controller.abort(timeoutOf(call.via?.host ?? url, "connection", connectMs));
  };

  const send = async (request: UpstreamRequest): Promise<Response> => {
    const { signal } = request.controller;
    signal.throwIfAborted();
    const via = proxyFor(proxy, request.url);
    const addresses = via === null ? (request.addresses ?? null) : null;
    // Without one that was checked there is none to connect to, least of all whatever the name means now.
    if (addresses?.length === 0) throw failureOf({ code: "ENOTFOUND" }, request.url);
    const checked = addresses === null ? [] : pins.of(request.url, addresses);
    const call: Call = { request, via, pinned: null, wait: null };
    call.wait = soon.begin(() => void watchOn(call));
    try {
      const answer = await (checked.length > 0
        ? sendPinned(call, checked)
        : start(request, request.url, { signal, tls: authorities, via }));
      if (answer.status < 200 || answer.status > 599) {
        await answer.body?.cancel();
        throw noStatus(request.url, answer.status);
      }
      // Only the next hop asks for this; what it asks of us is nothing that the client could give.
      if (via !== null && answer.status === 407) throw refusalOfProxy(via, answer.status);
      return answer;
    } catch (error) {
      signal.throwIfAborted();
      // Not the upstream failed but the body on its way there, which knows why.
      if (error instanceof ProxyError) throw error;
      throw failureOf(error, request.url, via);
    } finally {
      call.wait.end();
      call.wait = null;
    }
  };

  /** Tries addresses until one takes the connection. A body that is a stream goes once. */
  const sendPinned = async (call: Call, checked: readonly Pinned[]): Promise<Response> => {
    const { request } = call;
    const { signal } = request.controller;
    for (const [i, pinned] of checked.entries()) {
      call.pinned = pinned;
      request.headers.set("host", pinned.host);
      try {
        const tls = { ...authorities, serverName: pinned.name };
        return await start(request, pinned.url, { signal, tls, via: null });
      } catch (error) {
        if (!isUnconnected(error)) throw error;
        pins.failed(pinned.address);
        const isLast = i === checked.length - 1;
        if (isLast || request.body instanceof ReadableStream || signal.aborted) throw error;
      }
    }
    throw failureOf(null, request.url);
  };

  const close = (): void => {
    soon.close();
    later.close();
  };
  return { send, close };
}

/** A call, and the wait for its answer; null when there is one. */
interface Call {
  readonly request: UpstreamRequest;
  /** The proxy it goes through. */
  readonly via: URL | null;
  /** The address it goes to, where that was chosen here. */
  pinned: Pinned | null;
  wait: Wait | null;
}

interface Way {
  signal: AbortSignal;
  tls: { ca?: string[]; serverName?: string } | null;
  via: URL | null;
}

/** @param url where the connection goes: that of the request, or the same on one address */
function start(
  request: UpstreamRequest,
  url: string,
  { signal, tls, via }: Way,
): Promise<Response> {
  const { method, headers, body, onSent } = request;
  const options: FetchOptions = {
    method,
    headers,
    signal,
    decompress: false,
    redirect: "manual",
    timeout: false,
  };
  if (tls !== null) options.tls = tls;
  if (via !== null) options.proxy = via.href;
  if (body instanceof Uint8Array) {
    if (body.length > largeBodyBytes) {
      // A length lets the stream go without chunked coding, which some servers do not take.
      headers.set("content-length", String(body.length));
      options.body = inPieces(body, onSent);
      return fetch(url, options);
    }
    options.body = body;
  } else if (body !== null) {
    options.body = onSent === undefined ? body : whenTaken(body, onSent);
    return fetch(url, options);
  }
  const answer = fetch(url, options);
  onSent?.();
  return answer;
}
