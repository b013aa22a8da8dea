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
   * Returns at once where `host` (a name or an address, IPv6 with or without brackets) is known to be allowed, else
   * a promise of the same.
   * @throws ProxyError `ADDRESS_NOT_ALLOWED` where it is, or any of its addresses is, not public;
   *   `UPSTREAM_UNREACHABLE` (by the promise) where it does not resolve.
   */
  check(host: string): void | Promise<void>;
}

/** How long an answer of the resolver is believed, in ms. */
const rememberMs = 30_000;
/** How many names are remembered; the oldest goes first. */
const maxNames = 10_000;

/** The system's own resolver, with `/etc/hosts`: the one that connecting uses. */
export const systemLookup: Lookup = async (name) =>
  (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address);

/** Creates a guard that resolves names with `lookup` and remembers each for 30 s. */
export function createGuard({ lookup, clock }: { lookup: Lookup; clock: Clock }): Guard {
  /** Names that resolved to public addresses only, and until when that is believed, oldest first. */
  const allowed = new Map<string, number>();
  /** Names being looked up, so that a burst of requests asks once. */
  const pending = new Map<string, Promise<void>>();

  const remember = (name: string): void => {
    allowed.delete(name);
    const [oldest] = allowed.size < maxNames ? [] : allowed.keys();
    if (oldest !== undefined) allowed.delete(oldest);
    allowed.set(name, clock.now() + rememberMs);
  };

  const resolve = async (name: string): Promise<void> => {
    try {
      const addresses = await lookup(name).catch((): never => {
        throw unresolved(name);
      });
      if (addresses.length === 0) throw unresolved(name);
      for (const address of addresses) checkAddress(name, addressOf(address) ?? "invalid");
      remember(name);
    } finally {
      pending.delete(name);
    }
  };

  const check = (host: string): void | Promise<void> => {
    const until = allowed.get(host);
    if (until !== undefined && clock.now() < until) return;
    if (host === "localhost" || host.endsWith(".localhost")) throw notAllowed(host, "loopback");
    const address = addressOf(host);
    if (address !== null) return checkAddress(host, address);
    let answer = pending.get(host);
    if (answer === undefined) {
      answer = resolve(host);
      pending.set(host, answer);
    }
    return answer;
  };
  return { check };
}

function checkAddress(host: string, address: string): void {
  const kind = classify(address);
  if (kind !== "public") throw notAllowed(host, kind);
}

function notAllowed(host: string, kind: string): ProxyError {
  return new ProxyError(
    "ADDRESS_NOT_ALLOWED",
    `${host} is, or resolves to, a ${kind} address, which Cooldown does not forward to unless a rule names exactly this host. ` +
      `If you run it, add it under rate_limits, or as an upstream.`,
  );
}

function unresolved(name: string): ProxyError {
  return new ProxyError("UPSTREAM_UNREACHABLE", `${name} could not be resolved to an address.`);
}
