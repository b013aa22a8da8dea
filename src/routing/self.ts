import { addressOf, classify } from "./address.ts";
import { formatHost, parseHost } from "./host.ts";
import type { Host } from "./host.ts";

/** Where Cooldown listens and under which names it is known. */
export interface Listening {
  /** The bind address: a name, an address, or a wildcard (`0.0.0.0`, `::`). */
  host: string;
  /** The port in use, not 0. */
  port: number;
  /** Further names that mean Cooldown, each with or without a port. */
  hostnames: readonly string[];
  /** A `Host` without a port means this one: 80, or 443 for https. */
  defaultPort: number;
  /** The machine's own addresses, asked for when a wildcard address is bound; they may change while running. */
  machineAddresses(): readonly string[];
}

/** Tells Cooldown's own name from those of upstreams. */
export interface Self {
  /** Whether `host` means Cooldown itself. */
  is(host: Host): boolean;
  /** Whether only this machine can connect. */
  boundToLoopback: boolean;
}

/** Compiles who Cooldown itself is (contract, section 3). */
export function createSelf(listening: Listening): Self {
  const bound = canonical(listening.host);
  const isWildcard = bound === "0.0.0.0" || bound === "::";
  const names = new Set(listening.hostnames.map((name) => name.toLowerCase().replace(/\.$/, "")));
  const here = new Set(["localhost", "127.0.0.1", "::1", bound]);

  const is = (host: Host): boolean => {
    if (names.has(host.name) || (host.port !== null && names.has(formatHost(host)))) return true;
    if ((host.port ?? listening.defaultPort) !== listening.port) return false;
    if (here.has(host.name)) return true;
    const address = addressOf(host.name);
    if (address === null) return false;
    if (here.has(address)) return true;
    return (
      isWildcard &&
      (classify(address) === "loopback" ||
        listening.machineAddresses().some((own) => canonical(own) === address))
    );
  };
  return { is, boundToLoopback: bound === "localhost" || classifyBound(bound) };
}

/** One spelling for each address; names lowercased. */
function canonical(host: string): string {
  const bare = host.includes(":") && !host.startsWith("[") ? `[${host.replace(/%.*$/, "")}]` : host;
  const name = parseHost(bare)?.name ?? bare.toLowerCase();
  return addressOf(name) ?? name;
}

function classifyBound(bound: string): boolean {
  return addressOf(bound) !== null && classify(bound) === "loopback";
}
