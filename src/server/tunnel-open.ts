import type { Duplex } from "node:stream";
import { ProxyError } from "../errors.ts";
import { formatHost } from "../routing/host.ts";
import { dial, dialThrough } from "../upstream/dial.ts";
import type { DialTarget } from "../upstream/dial.ts";
import type { Backlog } from "./tunnel-backlog.ts";
import { parseConnectTarget } from "./tunnel-head.ts";
import type { Caller, ForwardOptions, ForwardPolicy, TunnelLease } from "./tunnel-options.ts";
import { endWith, ownHeaders, rawHead, refusal } from "./tunnel-refusal.ts";
import { relayTunnel } from "./tunnel-relay.ts";

/** A CONNECT request that has arrived. */
export interface Arrival {
  socket: Duplex;
  /** What came right after the request. */
  head: Buffer;
  caller: Caller;
  policy: ForwardPolicy;
  backlog: Backlog;
  /** Aborted when the program stops. */
  stopping: AbortSignal;
  /** @throws ProxyError where the request is not to be looked at */
  check(): void;
  /** The target as the client wrote it. */
  url: string;
}

/** How much a client may send before it has an answer, in bytes; there is no need to send anything. */
const mostEarly = 64 * 1024;

/** The way of one tunnel, from its request to its end. Never rejects for what a client or an upstream does. */
export async function openTunnel<C extends { id: string }>(
  arrival: Arrival,
  options: ForwardOptions<C>,
): Promise<void> {
  const { socket, caller, policy } = arrival;
  const { clock, server } = options;
  const id = crypto.randomUUID();
  const startedAt = clock.now();
  const early = watchEarly(socket, arrival.head);
  const report = {
    id,
    method: "CONNECT",
    client: caller.peer,
    target: null as string | null,
    status: 200,
    outcome: "closed",
    waitedMs: 0,
    connectMs: null as number | null,
    totalMs: 0,
    bytesUp: 0,
    bytesDown: 0,
  };
  let lease: TunnelLease | null = null;
  let isOpen = false;
  try {
    arrival.check();
    const target = parseConnectTarget(arrival.url);
    report.target = formatHost(target);
    const client = options.authorise(caller);
    report.client = client.id;
    refuseTarget(policy, target);
    const proxy = policy.proxyFor(target);
    await addressesOf(target, proxy !== null, options);
    const { gone } = early;
    gone.throwIfAborted();
    const outcome = await options.admitTunnel(target, client, caller, gone);
    if ("refused" in outcome)
      throw new ProxyError(outcome.refused, outcome.message, outcome.retryAfterMs);
    lease = outcome;
    report.waitedMs = lease.waitedMs;
    // Again: it may have waited for minutes, and what was an address of that name then need not be one now.
    const addresses = await addressesOf(target, proxy !== null, options);
    const dialledAt = clock.now();
    const dialling = { clock, connectMs: policy.connectMs, signal: gone };
    const upstream = await (proxy === null
      ? dial(target, addresses, dialling)
      : dialThrough(proxy, target, dialling));
    report.connectMs = clock.now() - dialledAt;
    isOpen = true;
    lease.connected();
    const first = early.stop();
    const own = ownHeaders(id, server, lease.waitedMs);
    socket.write(rawHead(200, own, "Connection Established"));
    if (first.length > 0) upstream.write(first);
    const { how, up, down } = await relayTunnel(socket, upstream, {
      clock,
      idleMs: policy.idleMs,
      backlog: arrival.backlog,
      stopping: arrival.stopping,
    });
    report.outcome = how;
    report.bytesUp = first.length + up;
    report.bytesDown = down;
  } catch (thrown) {
    early.stop();
    const error = asProxyError(thrown);
    if (early.gone.aborted) {
      report.status = 499;
      report.outcome = "aborted";
      socket.destroy();
    } else {
      const parts = { error, id, server, waitedMs: report.waitedMs, path: "/" };
      const answer = refusal({ ...parts, anthropicVersion: null });
      report.status = answer.status;
      report.outcome = error.code.toLowerCase();
      endWith(socket, answer, clock);
    }
  } finally {
    if (isOpen) lease?.commit();
    else lease?.cancel();
    report.totalMs = clock.now() - startedAt;
    options.report(report);
  }
}

/**
 * Holds on to what a client sends before its tunnel is there, and notices when it goes away: also by half, since
 * nothing that could come through a tunnel has come by then.
 */
function watchEarly(socket: Duplex, head: Buffer): { gone: AbortSignal; stop(): Buffer } {
  const controller = new AbortController();
  const pieces = head.length > 0 ? [head] : [];
  let bytes = head.length;
  const read = (piece: Buffer): void => {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes >= mostEarly) socket.pause();
  };
  const leave = (): void => controller.abort(new Error("The client has gone."));
  socket.on("data", read);
  socket.once("end", leave);
  socket.once("close", leave);
  if (socket.destroyed) leave();
  return {
    gone: controller.signal,
    stop() {
      socket.pause();
      socket.off("data", read);
      socket.off("end", leave);
      socket.off("close", leave);
      return Buffer.concat(pieces);
    },
  };
}

/** @throws ProxyError `DOMAIN_BLOCKED`, `PORT_NOT_ALLOWED` */
function refuseTarget({ blocklist, connectPorts }: ForwardPolicy, target: DialTarget): void {
  if (blocklist.blocksHost(target)) {
    throw new ProxyError(
      "DOMAIN_BLOCKED",
      `${target.name} is blocked here (forward_proxy.blocklist).`,
    );
  }
  if (connectPorts.includes(target.port)) return;
  throw new ProxyError(
    "PORT_NOT_ALLOWED",
    `Tunnels may lead to ports ${connectPorts.join(", ")} only, not to ${target.port} ` +
      `(forward_proxy.connect_ports).`,
  );
}

async function addressesOf<C>(
  target: DialTarget,
  throughProxy: boolean,
  options: ForwardOptions<C>,
): Promise<readonly string[]> {
  try {
    return await options.checkAddress(target);
  } catch (error) {
    // A name that does not resolve here is the outgoing proxy's to judge.
    if (throughProxy && error instanceof ProxyError && error.code === "UPSTREAM_UNREACHABLE")
      return [];
    throw error;
  }
}

function asProxyError(thrown: unknown): ProxyError {
  if (thrown instanceof ProxyError) return thrown;
  return new ProxyError("INTERNAL", thrown instanceof Error ? thrown.message : String(thrown));
}
