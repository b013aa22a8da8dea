import { OperationError } from "../errors.ts";
import { control } from "./control.ts";
import { createExchange } from "./exchange.ts";
import type { Exchange } from "./exchange.ts";
import { readFaultRule } from "./faults.ts";
import type { LimitValues } from "./limit.ts";
import { resolveOptions } from "./options.ts";
import type { MockOptions } from "./options.ts";
import type { RequestEntry } from "./request-log.ts";
import type { MockStats } from "./tally.ts";
import type { LogEntry } from "./usage-log.ts";

/** A running provider simulator. */
export interface Mock {
  /** Without a slash at the end. */
  readonly url: string;
  readonly port: number;
  stats(): MockStats;
  /** The newest `count` counted requests (default all that are kept), oldest first. */
  log(count?: number): LogEntry[];
  /** The last 10,000 requests that arrived, oldest first. */
  requests(): RequestEntry[];
  /** Changes limits while it runs; what was counted stays. Throws UsageError where a value is no limit. */
  setLimits(values: LimitValues): void;
  /** Scripts what happens to coming requests, in the words of `POST /__mock/faults`. Throws UsageError. */
  fault(rule: Readonly<Record<string, unknown>>): void;
  reset(): void;
  /** Stops listening and cuts what is in flight. */
  stop(): Promise<void>;
}

/** Uploads are counted, not kept, so their size does no harm. */
const maxBodyBytes = 4 * 1024 ** 3;
const longestIdleSeconds = 255;

/**
 * Starts a provider simulator on a socket of its own.
 *
 * @throws UsageError when an option makes no sense, OperationError when the address cannot be listened on.
 */
export function startMock(options: MockOptions = {}): Mock {
  const settings = resolveOptions(options);
  const exchange = createExchange(settings);
  const server = listen(settings.host, settings.port, exchange);
  // Bun gives no port only for Unix sockets, of which this is none.
  const port = server.port ?? settings.port;
  const host = settings.host.includes(":") ? `[${settings.host}]` : settings.host;
  return {
    url: `http://${host}:${port}`,
    port,
    stats: exchange.stats,
    log: (count = Infinity) => exchange.log(count),
    requests: exchange.requests,
    setLimits: exchange.setLimits,
    fault: (rule) => exchange.addFault(readFaultRule(rule)),
    reset: exchange.reset,
    stop() {
      exchange.stop();
      return server.stop(true);
    },
  };
}

function listen(hostname: string, port: number, exchange: Exchange): Bun.Server<undefined> {
  try {
    return Bun.serve({
      hostname,
      port,
      maxRequestBodySize: maxBodyBytes,
      idleTimeout: longestIdleSeconds,
      fetch(request, server) {
        server.timeout(request, 0);
        return control(request, exchange) ?? exchange.answer(request);
      },
    });
  } catch (error) {
    throw new OperationError(listenProblem(error, hostname, port), { cause: error });
  }
}

function listenProblem(error: unknown, hostname: string, port: number): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const where = `${hostname}:${port}`;
  if (code === "EADDRINUSE")
    return `${where} is in use already: choose another port, or 0 for a free one.`;
  return `Cannot listen on ${where}: ${error instanceof Error ? error.message : String(error)}`;
}
