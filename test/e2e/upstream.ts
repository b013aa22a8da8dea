/** One request as an upstream got it. */
export interface Seen {
  /** `performance.now()` on arrival. */
  at: number;
  method: string;
  /** Path and query. */
  target: string;
  headers: Headers;
  /** Set when its client has gone before the answer was complete. */
  aborted: boolean;
}

export interface Upstream extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** In the order of their arrival. */
  readonly seen: Seen[];
}

type Answering = (request: Request, seen: Seen) => Response | Promise<Response>;

/** An HTTP server in this process that answers as a test says and remembers what it was asked. */
export function startUpstream(answer: Answering = () => new Response("ok")): Upstream {
  const seen: Seen[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 255,
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    fetch(request) {
      const { pathname, search } = new URL(request.url);
      const { method, headers } = request;
      const one: Seen = {
        at: performance.now(),
        method,
        target: pathname + search,
        headers,
        aborted: false,
      };
      seen.push(one);
      request.signal.addEventListener("abort", () => void (one.aborted = true));
      return answer(request, one);
    },
  });
  return {
    port: server.port ?? 0,
    url: `http://127.0.0.1:${server.port}`,
    seen,
    // Not awaited: an answer that is still being made would be waited for.
    [Symbol.asyncDispose]: async () => void server.stop(true),
  };
}

/** An upstream whose requests wait until the test lets them go, each by itself or all together. */
export interface Gate {
  readonly answer: Answering;
  /** Those that wait, in the order of their arrival. */
  readonly held: { seen: Seen; release(response?: Response): void }[];
  /** Lets those go that wait, and all that come. */
  open(): void;
}

export function gate(): Gate {
  const held: Gate["held"] = [];
  let isOpen = false;
  return {
    held,
    answer(_, seen) {
      if (isOpen) return new Response("ok");
      const { promise, resolve } = Promise.withResolvers<Response>();
      held.push({ seen, release: (response = new Response("ok")) => resolve(response) });
      return promise;
    },
    open() {
      isOpen = true;
      for (const { release } of held) release();
    },
  };
}
