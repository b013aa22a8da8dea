import { OperationError, ProxyError } from "../errors.ts";
import type { Connection } from "../proxy/pipeline.ts";
import type { Upgrade } from "../proxy/upgrade.ts";
import { generic } from "../provider/generic.ts";
import type { Runtime } from "../runtime.ts";
import type { Certificate } from "./tls.ts";
import { createUpgrade, OpenWebSockets, webSocketHandler } from "./websocket-upgrade.ts";
import type { WebSocketRelay } from "./websocket.ts";

/** The longest idle timeout that the runtime takes, in seconds. */
const longestIdle = 255;

export interface HttpOptions {
  /** Bind address; `localhost` is both 127.0.0.1 and ::1 where the machine has it. */
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** PEM, or null for plain HTTP. */
  tls: Certificate | null;
  /** How long a connection may have no request, ms. */
  idleTimeoutMs: number;
  handle(request: Request, connection: Connection): Response | Promise<Response>;
}

export interface Listener {
  readonly port: number;
  /** Stops accepting connections; requests under way go on, WebSockets are told to go. */
  stopAccepting(): void;
  /**
   * Shows another certificate to connections made from now on; requests and WebSockets under way go on.
   * @throws where it cannot be used; then nothing has changed
   */
  renew(certificate: Certificate): void;
  /** Closes every connection, once the last answers are out or `graceMs` have passed. */
  close(graceMs: number): Promise<void>;
}

/** @throws OperationError if the address cannot be bound, with what to do */
export function listen(given: HttpOptions): Listener {
  const options = { ...given, webSockets: new OpenWebSockets() };
  const [first = "", ...further] =
    options.host === "localhost" ? ["127.0.0.1", "::1"] : [options.host];
  const listening = serve(options, first, freePort(options, first));
  const port = listening.port ?? options.port;
  let addresses = [first];
  let servers = [listening];
  for (const also of further) {
    try {
      servers.push(serve(options, also, freePort({ ...options, port }, also)));
      addresses = [...addresses, also];
    } catch {
      // A machine without IPv6: its localhost is 127.0.0.1 alone.
    }
  }
  /** Those that show an older certificate, until the last of their connections is closed. */
  const retired = new Set<Server>();

  const renew = (tls: Certificate): void => {
    const renewed: Server[] = [];
    try {
      for (const address of addresses) renewed.push(serve({ ...options, tls }, address, port));
    } catch (error) {
      for (const server of renewed) void server.stop(true);
      throw error;
    }
    for (const server of servers) {
      retired.add(server);
      void server.stop(false).then(() => retired.delete(server));
    }
    servers = renewed;
  };

  return {
    port,
    renew,
    stopAccepting() {
      for (const server of servers) void server.stop(false);
      options.webSockets.goAway();
    },
    async close(graceMs) {
      const all = [...servers, ...retired];
      // The last answers have ended for us and may still be on their way out.
      const end = performance.now() + graceMs;
      while (all.some((server) => server.pendingRequests > 0) && performance.now() < end) {
        await new Promise((resolve) => void setTimeout(resolve, 1));
      }
      await Promise.all(all.map((server) => server.stop(true)));
    },
  };
}

type Server = Bun.Server<WebSocketRelay>;

interface ServeOptions extends HttpOptions {
  webSockets: OpenWebSockets;
}

/**
 * The port to listen on. With TLS it is shared for a moment when the certificate is renewed, and what may be shared
 * does not fail where another process has it: so that is tried first.
 */
function freePort(options: ServeOptions, host: string): number {
  if (options.tls === null) return options.port;
  const probe = serve(options, host, options.port, false);
  const port = probe.port ?? options.port;
  void probe.stop(true);
  return port;
}

/** A class, not three closures: there is one for each request. */
class BunConnection implements Connection {
  readonly #request: Request;
  readonly #server: Server;
  readonly #idleSeconds: number;
  readonly #webSockets: OpenWebSockets;

  constructor(request: Request, server: Server, idleSeconds: number, webSockets: OpenWebSockets) {
    this.#request = request;
    this.#server = server;
    this.#idleSeconds = idleSeconds;
    this.#webSockets = webSockets;
  }

  peer(): string | null {
    return this.#server.requestIP(this.#request)?.address ?? null;
  }

  hold(): void {
    this.#server.timeout(this.#request, 0);
  }

  /** The setting belongs to the connection: it must be back before the next request is awaited. */
  free(): void {
    this.#server.timeout(this.#request, this.#idleSeconds);
  }

  upgrade(runtime: Runtime): Upgrade {
    return createUpgrade(this.#request, this.#server, runtime, this.#webSockets);
  }
}

/** In place of an answer whose body broke off before any of it was sent. */
function brokenOff(): Response {
  const message = "The upstream broke off its answer.";
  const error = new ProxyError("UPSTREAM_UNREACHABLE", message);
  const id = crypto.randomUUID();
  const headers = {
    "content-type": "application/json",
    "x-cooldown-error": error.code,
    "x-cooldown-request-id": id,
    "x-request-id": id,
  };
  return new Response(generic.errorBody(error, id), { status: error.status, headers });
}

function serve(
  options: ServeOptions,
  hostname: string,
  port: number,
  reusePort = options.tls !== null,
): Server {
  const idleSeconds = Math.min(longestIdle, Math.max(1, Math.ceil(options.idleTimeoutMs / 1_000)));
  try {
    return Bun.serve({
      hostname,
      port,
      // Without this `development: false` would let a second process share the port, each with all of the quota.
      reusePort,
      idleTimeout: idleSeconds,
      // Bodies are measured by the pipeline, which answers in the dialect of the API.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      development: false,
      websocket: webSocketHandler,
      ...(options.tls === null ? {} : { tls: options.tls }),
      error: brokenOff,
      fetch(request, server) {
        const connection = new BunConnection(request, server, idleSeconds, options.webSockets);
        return options.handle(request, connection);
      },
    });
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const where = `${hostname}:${port}`;
    if (code === "EADDRINUSE") {
      throw new OperationError(
        `Port ${port} on ${hostname} is in use. Stop what uses it, or choose another: --port N.`,
      );
    }
    if (code === "EACCES") {
      throw new OperationError(
        `Not allowed to listen on ${where}. Ports below 1024 need privileges: --port 8080.`,
      );
    }
    throw new OperationError(
      `Cannot listen on ${where}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}
