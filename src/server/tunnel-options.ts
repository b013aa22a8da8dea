import type { Refusal } from "../admission/request.ts";
import type { Clock } from "../clock.ts";
import type { Connection } from "../proxy/pipeline.ts";
import type { Blocklist } from "../routing/blocklist.ts";
import type { Fields } from "../upstream/headers.ts";
import type { DialTarget, ProxyHop } from "../upstream/dial.ts";

/** What the configuration says about tunnels. Times are milliseconds. */
export interface ForwardPolicy {
  /** Ports that tunnels may lead to. */
  connectPorts: readonly number[];
  blocklist: Blocklist;
  /** `server.idle_timeout`: connections without a request, tunnels without traffic. */
  idleMs: number;
  /** `upstream_timeouts.connect` */
  connectMs: number;
  /** `server.read_timeout` */
  readMs: number;
  /** `server.write_timeout` */
  writeMs: number;
  /** The proxy that a tunnel to `target` goes through, null for none. */
  proxyFor(target: DialTarget): ProxyHop | null;
}

/** The right to open one tunnel. Exactly one of `commit` and `cancel` is called, once. */
export interface TunnelLease {
  /** How long it was waited for, ms. */
  readonly waitedMs: number;
  /** The connection is there: the upstream may count it from here. */
  connected(): void;
  /** The tunnel, which was opened, is closed. */
  commit(): void;
  /** There was no connection: everything is given back. */
  cancel(): void;
}

/** One line of what the forward proxy has done. */
export interface ForwardReport {
  /** The request's id, as the client was told it. */
  id: string;
  method: string;
  /** The client's id, or its address where it is not known who it is; null if neither is. */
  client: string | null;
  /** `host:port` of a tunnel, the host of an absolute-form request; null where it could not be read. */
  target: string | null;
  /** 200 for a tunnel that was opened. 499: the client went away before. */
  status: number;
  /** `closed`, `idle`, `broken`, `shutdown`; or `aborted`, or the code of the refusal in lower case. */
  outcome: string;
  waitedMs: number;
  /** How long connecting took, ms; null where there was no connection. */
  connectMs: number | null;
  totalMs: number;
  /** Bytes from the client, and to it, in the tunnel. */
  bytesUp: number;
  bytesDown: number;
}

/** Who sends a request, as far as the connection and its head tell. */
export interface Caller {
  /** Address of the other end; an IPv4 one is never in the `::ffff:` form. Null if unknown. */
  peer: string | null;
  /** Header fields by their names in lower case. A key in `Proxy-Authorization` stands in `x-cooldown-key`. */
  fields: Fields;
}

export interface ForwardOptions<C> {
  /** Bind address; `localhost` is both 127.0.0.1 and ::1 where the machine has it. */
  host: string;
  /** 0 picks a free one. */
  port: number;
  /** What we call ourselves in `X-Proxy`. */
  server: string;
  clock: Clock;
  /** What holds now: asked for each request, so that a reload counts at once. */
  policy(): ForwardPolicy;
  /**
   * Who asks.
   * @throws ProxyError `UNAUTHORIZED` where a key is required and there is none that is known
   */
  authorise(caller: Caller): C;
  /**
   * The addresses that may be connected to for `target`: those that were checked, so that a name whose second look-up
   * gives another address leads nowhere else. Asked before the tunnel waits and again when it may go; through an
   * outgoing proxy only whether it throws counts, and `UPSTREAM_UNREACHABLE` does not.
   * @throws ProxyError `ADDRESS_NOT_ALLOWED`, `DOMAIN_NOT_ALLOWED`, `UPSTREAM_UNREACHABLE`
   */
  checkAddress(target: DialTarget): readonly string[] | Promise<readonly string[]>;
  /**
   * Waits for room: a tunnel is one request, and holds what is counted by concurrency until it is closed.
   * @param signal aborted when the client has gone: then this rejects
   * @throws ProxyError where nothing is to be waited for
   */
  admitTunnel(
    target: DialTarget,
    client: C,
    caller: Caller,
    signal: AbortSignal,
  ): Promise<TunnelLease | Refusal>;
  /**
   * Answers an absolute-form request: its URL is the one asked for and `Host` says the same. Never rejects.
   * @param connection what it came in on; nothing on it needs to be held
   */
  handle(request: Request, connection: Connection): Response | Promise<Response>;
  /** Told once of each tunnel, and of each request that did not get to `handle`. */
  report(entry: ForwardReport): void;
}
