import { ProxyError } from "../errors.ts";
import type { HeaderFields } from "../header-fields.ts";
import type { Cancellation } from "./cancellation.ts";

/** One call to an upstream. */
export interface UpstreamRequest {
  /** Absolute http(s) URL; its host becomes the `Host` header. */
  url: string;
  /**
   * Addresses that may be connected to: one of these it is, under the name in `url`, and no name is looked up. Null
   * where the operator wrote the host; ignored where another proxy makes the connection.
   */
  addresses?: readonly string[] | null | undefined;
  method: string;
  /** End-to-end headers only, as `requestHeaders` makes them. `Content-Length` may be set. */
  headers: HeaderFields;
  /** Bytes can be sent again in a retry, a stream only once. */
  body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null;
  /**
   * Aborts the call, the streaming of its answer included. The upstream itself uses it to end a call that takes too
   * long, with an `UpstreamFailure` as the reason.
   */
  controller: Cancellation;
  /**
   * Its `sent` is called once when the request has been handed over in full: from then on the upstream may count it.
   * Never called for a request that fails before. Its `cancel` is called where the request has ended before there was a
   * connection that it could have left on, whatever ended it.
   */
  watcher?: { sent(): void; cancel?(): void } | undefined;
  /**
   * Whether it may be sent a second time where the first may have been taken: methods that mean the same twice always
   * may (RFC 9110 §9.2.2). Where a kept connection turns out to be closed, nobody can tell.
   */
  repeatable?: boolean | undefined;
}

/** An upstream's answer: its head, and its body as it comes. */
export interface Answer {
  readonly status: number;
  readonly statusText: string;
  readonly headers: HeaderFields;
  /** All of it; or what is still arriving; or null where there is none. */
  readonly body: Uint8Array<ArrayBuffer> | AnswerBody | null;
  /** Whether it is over when its connection is: a server that dies in the middle looks like one that is done. */
  readonly endsUnsaid?: boolean;
}

/** A body that is still arriving, for one reader, which takes it in one way or the other. */
export interface AnswerBody {
  /** The next piece, null at the end; rejects where it breaks off. */
  read(): Promise<Uint8Array<ArrayBuffer> | null>;
  /**
   * Gives all pieces there are to `take`, and waits where that gives a promise. Resolves at the end; rejects where the
   * body breaks off or `take` fails. The same as to `read` them one by one, at a fraction of the cost.
   */
  each(take: (piece: Uint8Array<ArrayBuffer>) => Promise<void> | undefined): Promise<void>;
  /** The reader wants no more. */
  cancel(): void;
}

/** Something that answers requests: a server behind HTTP, or a pool of workers. */
export interface Upstream {
  /**
   * Resolves when the answer's headers are there; its body streams on. Redirects and content codings are passed as
   * they are.
   * @throws UpstreamFailure where there is no answer; the signal's reason where it was aborted.
   */
  send(request: UpstreamRequest): Promise<Answer>;
  /** Gives back timers and connections. Calls under way go on, without time limits. */
  close(): void;
}

/** No answer from an upstream: `UPSTREAM_UNREACHABLE` or `UPSTREAM_TIMEOUT`. */
export class UpstreamFailure extends ProxyError {
  /**
   * Whether the upstream may have counted the request. False only where it certainly never left this machine: then
   * what was reserved for it can be given back in full.
   */
  readonly mayHaveLeft: boolean;
  /**
   * Whether the request may be sent again: a connection that was kept turned out to be closed, most likely before any
   * of it was read.
   */
  readonly mayRepeat: boolean;

  constructor(
    code: "UPSTREAM_UNREACHABLE" | "UPSTREAM_TIMEOUT",
    message: string,
    mayHaveLeft: boolean,
    mayRepeat = false,
  ) {
    super(code, message);
    this.mayHaveLeft = mayHaveLeft;
    this.mayRepeat = mayRepeat;
  }
}
