import { ProxyError } from "../errors.ts";
import { oneRequest } from "../limit/cost.ts";
import { priorityWithin } from "../client/tier.ts";
import type { ClientIdentity } from "../client/identity.ts";
import { priorityOf } from "../proxy/ask.ts";
import type { Pipeline } from "../proxy/pipeline.ts";
import { patienceOf } from "../proxy/waiting-time.ts";
import { systemLookup } from "../routing/guard.ts";
import { formatHost } from "../routing/host.ts";
import { routeToHost } from "../routing/target.ts";
import type { Core, Runtime } from "../runtime.ts";
import type { DialTarget } from "../upstream/dial.ts";
import type { ForwardReport, TunnelLease } from "./tunnel-options.ts";
import type { ForwardListener } from "./tunnel.ts";
import { listenForward } from "./tunnel.ts";

/** What the forward proxy takes from the running program. */
export interface ForwardParts {
  readonly core: Core;
  readonly pipeline: Pipeline;
  /** What we call ourselves: `cooldown/<version>`. */
  readonly server: string;
  /** The configuration in force. */
  readonly runtime: () => Runtime;
}

/**
 * Starts the forward proxy, if the configuration has one: tunnels wait for the limits of their host like requests,
 * absolute-form requests go through the pipeline.
 * @throws OperationError if the address cannot be bound
 */
export async function startForward(parts: ForwardParts): Promise<ForwardListener | null> {
  const { core, pipeline, server, runtime } = parts;
  const { forward_proxy: forward } = runtime().config;
  if (!forward.enabled) return null;
  return listenForward<ClientIdentity>({
    host: forward.host,
    port: forward.port,
    server,
    clock: core.clock,
    policy: () => policyOf(runtime()),
    authorise: ({ fields, peer }) => runtime().identifier.identify(fields, { peer: () => peer }),
    checkAddress: (target) => addressesOf(core, runtime(), target),
    async admitTunnel(target, client, { fields }, signal) {
      const { path } = needsOf(runtime(), target, client);
      const asked = core.clients.take(client, oneRequest);
      const taken = asked instanceof Promise ? await asked : asked;
      if (!taken.ok) {
        core.metrics.clientLimited();
        throw new ProxyError(
          "RATE_LIMIT_EXCEEDED",
          "Rate limit exceeded. Please try again later.",
          taken.retryAfterMs,
        );
      }
      const lease = await core.scheduler.admit({
        path,
        cost: oneRequest,
        outlook: null,
        priority: priorityWithin(client.tier, priorityOf(fields)),
        client: client.id,
        weight: client.tier?.weight ?? 1,
        patienceMs: patienceOf(fields),
        again: null,
        bodyBytes: 0,
        uploading: false,
        signal,
      });
      if ("refused" in lease) {
        core.clients.giveBack(client, oneRequest, taken.at);
        return lease;
      }
      if (lease.committed !== null) await lease.committed;
      return {
        waitedMs: lease.waitedMs,
        connected() {
          lease.sent();
          lease.arrived();
        },
        commit: () => lease.commit(oneRequest),
        cancel() {
          lease.cancel();
          core.clients.giveBack(client, oneRequest, taken.at);
        },
      } satisfies TunnelLease;
    },
    handle: (request, connection) => pipeline.handleAbsolute(request, connection, runtime()),
    report: (entry) => report(core, entry),
  });
}

function policyOf({
  config,
  blocklist,
  proxy,
  authorities,
}: Runtime): ReturnType<Parameters<typeof listenForward>[0]["policy"]> {
  const { forward_proxy: forward, server, upstream_timeouts: timeouts } = config;
  return {
    connectPorts: forward.connect_ports,
    blocklist,
    idleMs: server.idle_timeout,
    connectMs: timeouts.connect,
    readMs: server.read_timeout,
    writeMs: server.write_timeout,
    proxyFor: (target) =>
      proxy === null || !proxy.covers(target) ? null : { url: proxy.url, ca: authorities },
  };
}

/** The limits of a tunnel's host: those of the name without a port where it is that of https. */
function needsOf(
  runtime: Runtime,
  target: DialTarget,
  client: ClientIdentity,
): ReturnType<Runtime["needs"]> {
  const host = { name: target.name, port: target.port === 443 ? null : target.port };
  const route = routeToHost(runtime.routing, host, "/", 443);
  // A tunnel names no model, so only quotas for all of them count it.
  const quota = route.quotas.find(({ allows }) => allows(""))?.quota ?? null;
  return runtime.needs(route, quota, { model: "", credential: client.credential });
}

/** The addresses that a tunnel may connect to. A host that a rule names exactly may be anywhere. */
function addressesOf(
  { guard }: Core,
  { routing, proxy }: Runtime,
  target: DialTarget,
): readonly string[] | Promise<readonly string[]> {
  const host = { name: target.name, port: target.port === 443 ? null : target.port };
  const { rule, quotas } = routeToHost(routing, host, "/", 443);
  const isNamed = rule?.exact === true || quotas.some(({ exact }) => exact);
  const goesDirect = proxy === null || !proxy.covers(target);
  if (!isNamed) return guard.check(target.name, goesDirect ? "refuse" : "allow");
  const bare = target.name.replace(/^\[|\]$/g, "");
  return systemLookup(bare).catch(() => {
    throw new ProxyError(
      "UPSTREAM_UNREACHABLE",
      `${target.name} could not be resolved to an address.`,
    );
  });
}

function report({ log, metrics }: Core, entry: ForwardReport): void {
  const upstream = entry.target ?? "";
  metrics.request(upstream, entry.outcome);
  log.info("tunnel", {
    request_id: entry.id,
    client: entry.client,
    upstream,
    method: entry.method,
    status: entry.status,
    wait_ms: entry.waitedMs,
    connect_ms: entry.connectMs,
    total_ms: entry.totalMs,
    bytes_up: entry.bytesUp,
    bytes_down: entry.bytesDown,
    outcome: entry.outcome,
  });
}

/** Where the forward proxy listens, for people. */
export function forwardUrl(listener: ForwardListener, host: string): string {
  return `http://${formatHost({ name: host === "0.0.0.0" ? "127.0.0.1" : host, port: listener.port })}`;
}
