import { ProxyError } from "../errors.ts";
import { addressOf } from "./address.ts";
import { formatHost, parseHost } from "./host.ts";
import type { Host } from "./host.ts";
import type { DomainTable, Match, QuotaCandidate } from "./rules.ts";
import type { Self } from "./self.ts";

/** What a rule or quota says about where its requests go: a URL whose path is put before the request's, or null. */
export interface Upstreamed {
  upstream: string | null;
}

/** Everything that decides where a request goes. Built once for each configuration. */
export interface Routing<R extends Upstreamed, Q extends Upstreamed> {
  self: Self;
  rules: DomainTable<R>;
  /** The quotas that may apply to a host, in order: see `createQuotaTable`. */
  quotasOf(host: Host): readonly QuotaCandidate<Q>[];
  /** Whether domains that nothing is said about may be asked for from other machines. */
  openToUnknownDomains: boolean;
  /** Whether requests for a host are refused, whatever rules say. The port is the one that would be connected to. */
  blocks(host: Host & { port: number }): boolean;
  /** What was found for `Host` headers that name something with a rule or quota of its own. Bounded. */
  known: Map<string, KnownHost<R, Q>>;
}

/** A host and what is said about it. */
type KnownHost<R, Q> = Pick<UpstreamRoute<R, Q>, "host" | "hostname" | "base" | "rule" | "quotas">;

/** What a host without a port means where requests go to `https://<host>`. */
const httpsPort = 443;
/** Spellings of hosts that are remembered. */
const mostKnown = 1_000;

/** A request for a host that is not Cooldown itself. */
export interface UpstreamRoute<R, Q> {
  kind: "upstream";
  via: "host" | "proxy" | "v1";
  /** The host asked for, `name` or `name:port`; the name of its limits, whatever upstream stands in for it. */
  host: string;
  /** The same host without its port, as the address guard wants it. */
  hostname: string;
  /** `https://host`, or what the operator has written for `/v1/*`; without a trailing slash. */
  base: string;
  /** Path and query as the client encoded them, from the first slash. */
  target: string;
  /** The most specific `rate_limits` rule. */
  rule: Match<R> | null;
  /** Quotas whose domain matches, in order; which one applies depends on the model. */
  quotas: readonly QuotaCandidate<Q>[];
  /** Whether the operator has written this host as a destination, so that its address is not guarded. */
  trusted: boolean;
}

/** Where a request goes. `v1` depends on its model: see `routeToUpstream`. */
export type Route<R, Q> =
  | { kind: "control"; target: string }
  | { kind: "v1"; target: string }
  | UpstreamRoute<R, Q>;

/**
 * Decides where a request goes (contract, section 3, rules 2 and 3).
 *
 * @param hostHeader as received; null where there was none.
 * @param target path and query as received, starting with a slash.
 * @throws ProxyError `INVALID_REQUEST` for a host that is none and a target with a fragment, `DOMAIN_NOT_ALLOWED` where other machines may not
 *   ask for it.
 */
export function routeRequest<R extends Upstreamed, Q extends Upstreamed>(
  routing: Routing<R, Q>,
  hostHeader: string | null,
  target: string,
): Route<R, Q> {
  // RFC 9112 §3.2: a target has no fragment. One reader would drop it, and another take it for a part of the path.
  if (target.includes("#"))
    throw new ProxyError("INVALID_REQUEST", "The request's target has a fragment (#) in it.");
  const known = routing.known.get(hostHeader ?? "");
  if (known !== undefined) return routeTo(known, target, "host");
  const host = parseHost(hostHeader ?? "");
  if (host === null) throw invalidHost(hostHeader ?? "", "The Host header");
  if (!routing.self.is(host)) {
    const found = lookUp(routing, host, httpsPort);
    // Not an address: whether one is our own may change while we run.
    const isNamed = found.rule?.exact === true || found.quotas.some(({ exact }) => exact);
    if (isNamed && hostHeader !== null && addressOf(host.name) === null) {
      if (routing.known.size >= mostKnown) routing.known.clear();
      routing.known.set(hostHeader, found);
    }
    return routeTo(found, target, "host");
  }
  if (target.startsWith("/v1/")) return { kind: "v1", target };
  if (target.startsWith("/proxy/")) return routeToPrefix(routing, target);
  return { kind: "control", target };
}

/**
 * The route of a `/v1/*` request to `upstream`, one that the operator has written under `models` or
 * `default_upstream`. Its host's rule and quotas apply in full, their own `upstream` included.
 *
 * A base that ends in `/v1`, as SDKs want it, does not make it `/v1/v1/…`.
 * @param upstream an http(s) URL, checked when the configuration was read.
 */
export function routeToUpstream<R extends Upstreamed, Q extends Upstreamed>(
  routing: Routing<R, Q>,
  upstream: string,
  target: string,
): UpstreamRoute<R, Q> {
  const url = new URL(upstream);
  const host: Host = {
    name: url.hostname.replace(/\.$/, ""),
    port: url.port === "" ? null : Number(url.port),
  };
  const path = url.pathname.replace(/\/+$/, "").replace(/\/v1$/, "");
  return {
    kind: "upstream",
    via: "v1",
    host: formatHost(host),
    hostname: host.name,
    base: url.origin,
    target: path + target,
    rule: routing.rules.find(host),
    quotas: routing.quotasOf(host),
    trusted: true,
  };
}

/**
 * The URL to send `route` to when `quota` applies, and whether its address has to pass the guard: not where the
 * operator has written the upstream or named the exact host.
 */
export function destination<R extends Upstreamed, Q extends Upstreamed>(
  route: UpstreamRoute<R, Q>,
  quota: QuotaCandidate<Q> | null,
): { url: string; guarded: boolean } {
  const written = route.rule?.value.upstream ?? quota?.quota.upstream ?? null;
  if (written !== null) return { url: withoutSlash(written) + route.target, guarded: false };
  const named = route.rule?.exact === true || quota?.exact === true;
  return { url: route.base + route.target, guarded: !route.trusted && !named };
}

/** An upstream as the front of a URL whose path follows. */
function withoutSlash(upstream: string): string {
  return upstream.endsWith("/") ? upstream.slice(0, -1) : upstream;
}

/** `/proxy/<host>[:port]/rest?query`, for SDKs that only take a base URL. */
function routeToPrefix<R extends Upstreamed, Q extends Upstreamed>(
  routing: Routing<R, Q>,
  target: string,
): UpstreamRoute<R, Q> {
  const rest = target.slice("/proxy/".length);
  const end = rest.search(/[/?]/);
  const text = end === -1 ? rest : rest.slice(0, end);
  const after = end === -1 ? "" : rest.slice(end);
  const host = parseHost(decoded(text));
  if (host === null) throw invalidHost(text, "The host after /proxy/");
  if (routing.self.is(host)) {
    throw new ProxyError(
      "INVALID_REQUEST",
      "The host after /proxy/ is Cooldown itself; name the API to be called.",
    );
  }
  return routeTo(
    lookUp(routing, host, httpsPort),
    after.startsWith("/") ? after : `/${after}`,
    "proxy",
  );
}

/**
 * The route of what the forward proxy is asked for.
 * @param defaultPort what a host without a port means: 443 for a tunnel, 80 for an absolute-form request
 * @throws ProxyError as `routeRequest` does, and for Cooldown itself
 */
export function routeToHost<R extends Upstreamed, Q extends Upstreamed>(
  routing: Routing<R, Q>,
  host: Host,
  target: string,
  defaultPort: 80 | 443,
): UpstreamRoute<R, Q> {
  if (routing.self.is(host)) {
    throw new ProxyError(
      "ADDRESS_NOT_ALLOWED",
      "This is Cooldown itself, which is not reached through its own forward proxy.",
    );
  }
  return routeTo(lookUp(routing, host, defaultPort), target, "host");
}

function routeTo<R, Q>(
  { host, hostname, base, rule, quotas }: KnownHost<R, Q>,
  target: string,
  via: "host" | "proxy",
): UpstreamRoute<R, Q> {
  return { kind: "upstream", via, host, hostname, base, target, rule, quotas, trusted: false };
}

/** @throws ProxyError `DOMAIN_BLOCKED`, and `DOMAIN_NOT_ALLOWED` where other machines may not ask for `host` */
function lookUp<R extends Upstreamed, Q extends Upstreamed>(
  routing: Routing<R, Q>,
  host: Host,
  defaultPort: number,
): KnownHost<R, Q> {
  if (routing.blocks({ name: host.name, port: host.port ?? defaultPort })) {
    throw new ProxyError(
      "DOMAIN_BLOCKED",
      `${host.name} is on the blocklist of this proxy (forward_proxy.blocklist).`,
    );
  }
  const rule = routing.rules.find(host);
  const quotas = routing.quotasOf(host);
  const name = formatHost(host);
  if (
    rule === null &&
    quotas.length === 0 &&
    !routing.openToUnknownDomains &&
    !routing.self.boundToLoopback
  ) {
    throw new ProxyError(
      "DOMAIN_NOT_ALLOWED",
      `No rule covers ${name}, and this proxy serves other machines. Add the domain to rate_limits, set ` +
        `default_rate_limit, or turn on clients.require_key. If ${name} is meant to be Cooldown itself, add it to ` +
        `server.hostnames.`,
    );
  }
  return { host: name, hostname: host.name, base: `https://${name}`, rule, quotas };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function invalidHost(text: string, where: string): ProxyError {
  const shown = text.length > 80 ? `${text.slice(0, 80)}…` : text;
  return new ProxyError(
    "INVALID_REQUEST",
    `${where} must be one name or address with at most a port, not "${shown}".`,
  );
}
