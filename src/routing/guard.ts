import { lookup } from "node:dns/promises";
import type { Clock } from "../clock.ts";
import { ProxyError } from "../errors.ts";
import { addressOf, classify } from "./address.ts";

/** Gives the addresses of a name. Rejects where it has none. */
export type Lookup = (name: string) => Promise<readonly string[]>;

/**
 * Keeps clients from using the proxy to reach what only its machine can: loopback, private networks, cloud metadata.
 * Not asked about hosts that the operator has written into the configuration.
 */
export interface Guard {
  /**
   * The public addresses of `host` (a name or an address, IPv6 with or without brackets): at once where they are
   * known, else by a promise. It is these that must be connected to: asked again, a resolver may say others.
   * @param unresolved what to do with a name that does not resolve: `refuse`, or `allow` it without an address, where
   *   another proxy will look it up
   * @throws ProxyError `ADDRESS_NOT_ALLOWED` where it is, or all of its addresses are, not public;
   *   `UPSTREAM_UNREACHABLE` (by the promise) where it does not resolve.
   */
  check(
    host: string,
    unresolved?: "refuse" | "allow",
  ): readonly string[] | Promise<readonly string[]>;
}

/** How long an answer of the resolver is believed, in ms. */
const rememberMs = 30_000;
/** How many names are remembered; the oldest goes first. */
const maxNames = 10_000;

/** The system's own resolver, with `/etc/hosts`: the one that connecting uses. */
export const systemLookup: Lookup = async (name) =>
  (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address);

/** What a name resolved to, and until when that is believed. */
interface Known {
  readonly addresses: readonly string[];
  readonly until: number;
}

/** Creates a guard that resolves names with `lookup` and remembers each for 30 s. */
export function createGuard({ lookup, clock }: { lookup: Lookup; clock: Clock }): Guard {
  /** Names that have public addresses, oldest first. */
  const allowed = new Map<string, Known>();
  /** Names being looked up, so that a burst of requests asks once. */
  const pending = new Map<string, Promise<readonly string[]>>();

  const remember = (name: string, addresses: readonly string[]): void => {
    allowed.delete(name);
    const [oldest] = allowed.size < maxNames ? [] : allowed.keys();
    if (oldest !== undefined) allowed.delete(oldest);
    allowed.set(name, { addresses, until: clock.now() + rememberMs });
  };

  const resolve = async (name: string): Promise<readonly string[]> => {
    try {
      const found = await lookup(name).catch((): never[] => []);
      if (found.length === 0) throw unresolvedName(name);
      const addresses = publicOnes(name, found);
      remember(name, addresses);
      return addresses;
    } finally {
      pending.delete(name);
    }
  };

  const lookUp = (host: string): Promise<readonly string[]> => {
    let answer = pending.get(host);
    if (answer === undefined) {
      answer = resolve(host);
      pending.set(host, answer);
    }
    return answer;
  };

  const check: Guard["check"] = (host, unresolved = "refuse") => {
    const known = allowed.get(host);
    if (known !== undefined && clock.now() < known.until) return known.addresses;
    if (host === "localhost" || host.endsWith(".localhost")) throw notAllowed(host, "loopback");
    const address = addressOf(host);
    if (address !== null) return publicOnes(host, [address]);
    const answer = lookUp(host);
    return unresolved === "refuse" ? answer : answer.catch(noneIfUnresolved);
  };
  return { check };
}

function noneIfUnresolved(error: unknown): readonly string[] {
  if (error instanceof ProxyError && error.code === "UPSTREAM_UNREACHABLE") return [];
  throw error;
}

/** Those of `found` that may be connected to. @throws ProxyError `ADDRESS_NOT_ALLOWED` where there are none */
function publicOnes(host: string, found: readonly string[]): readonly string[] {
  const addresses = found.map((text) => addressOf(text) ?? "invalid");
  const open = addresses.filter((address) => classify(address) === "public");
  if (open.length === 0) throw notAllowed(host, classify(addresses[0] ?? "invalid"));
  return open;
}

function notAllowed(host: string, kind: string): ProxyError {
  return new ProxyError(
    "ADDRESS_NOT_ALLOWED",
    `${host} has no public address (${kind}), and Cooldown does not forward there unless a rule names exactly this host. ` +
      `If you run it, add it under rate_limits, or as an upstream. If it is meant to be Cooldown itself, add it as the ` +
      `client writes it, with the port, to server.hostnames.`,
  );
}

function unresolvedName(name: string): ProxyError {
  return new ProxyError("UPSTREAM_UNREACHABLE", `${name} could not be resolved to an address.`);
}
