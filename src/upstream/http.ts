import type { Clock } from "../clock.ts";
import { ProxyError } from "../errors.ts";
import { createDeadlines } from "./deadlines.ts";
import type { Wait } from "./deadlines.ts";
import { failureOf, timeoutOf } from "./failure.ts";
import { createReachability } from "./reachability.ts";
import type { Reachability } from "./reachability.ts";
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
  const { clock, ca = null } = options;
  const { connectMs, firstByteMs } = options.timeouts;
  const soonMs = Math.min(connectMs / 2, firstByteMs);
  const soon = createDeadlines(clock, soonMs);
  const later = createDeadlines(clock, firstByteMs - soonMs);
  const reachability = options.reachability ?? createReachability(clock, connectMs / 2);
  const tls = ca === null ? null : { tls: { ca: [...ca] } };

  /** For a call that has been without an answer for `soonMs`. */
  const watchOn = async (call: Call): Promise<void> => {
    const { url, controller } = call.request;
    const answer = later.begin(() => controller.abort(timeoutOf(url, "answer", firstByteMs)));
    call.wait = answer;
    const reachable = await reachability.check(url);
    // Still this wait, so still without an answer.
    if (!reachable && call.wait === answer)
      controller.abort(timeoutOf(url, "connection", connectMs));
  };

  const send = async (request: UpstreamRequest): Promise<Response> => {
    const { signal } = request.controller;
    signal.throwIfAborted();
    const call: Call = { request, wait: null };
    call.wait = soon.begin(() => void watchOn(call));
    try {
      return await start(request, signal, tls);
    } catch (error) {
      signal.throwIfAborted();
      // Not the upstream failed but the body on its way there, which knows why.
      if (error instanceof ProxyError) throw error;
      throw failureOf(error, request.url);
    } finally {
      call.wait.end();
      call.wait = null;
    }
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
  wait: Wait | null;
}

function start(
  request: UpstreamRequest,
  signal: AbortSignal,
  tls: object | null,
): Promise<Response> {
  const { url, method, headers, body, onSent } = request;
  const options: FetchOptions = {
    method,
    headers,
    signal,
    decompress: false,
    redirect: "manual",
    timeout: false,
    ...tls,
  };
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
