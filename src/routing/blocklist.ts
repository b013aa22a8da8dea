import { BlockList, isIP } from "node:net";
import { domainToASCII } from "node:url";
import { UsageError } from "../errors.ts";
import { addressOf } from "./address.ts";
import type { Host } from "./host.ts";
import { parseHost } from "./host.ts";
import { createDomainTable } from "./rules.ts";

/** Whom Cooldown does not serve, and what it does not forward to. */
export interface Blocklist {
  /** Whether requests for `host` are refused. */
  blocksHost(host: Host): boolean;
  /** Whether any clients are refused at all. */
  readonly hasClients: boolean;
  /** Whether the client at `address` is refused; null, an unknown one, is not. */
  blocksClient(address: string | null): boolean;
}

/**
 * Compiles what the configuration blocks (contract, `forward_proxy.blocklist` and `blocked_ips`).
 *
 * `x.com` is that name alone, on all ports or with `x.com:8443` on one; `*.x.com` is every depth below it and not
 * `x.com` itself. International names, capitals, trailing dots and the odd spellings of an address make no
 * difference. A name that only resolves to a blocked address is not blocked.
 *
 * @param domains names and addresses, as above
 * @param networks addresses of clients or ranges of them: `10.0.0.0/8`, `2001:db8::/32`, `::1`; an IPv4 client on
 *   an IPv6 socket (`::ffff:10.0.0.1`) is an IPv4 client
 * @throws UsageError naming the entry that is none
 */
export function createBlocklist(
  domains: readonly string[],
  networks: readonly string[],
): Blocklist {
  const table = createDomainTable(domains.map((text) => [blockedDomain(text), true] as const));
  const clients = createNetworks(networks, "forward_proxy.blocked_ips");
  return {
    blocksHost: ({ name, port }) =>
      domains.length > 0 && table.find({ name: canonical(name), port }) !== null,
    hasClients: networks.length > 0,
    blocksClient: (address) => address !== null && clients(address),
  };
}

/**
 * Which hosts are reached without the outgoing proxy, as curl and Go read `NO_PROXY`: a name means itself and all
 * below it, with or without a dot or `*.` in front; `host:port` is that port only; addresses and ranges (`10.0.0.0/8`)
 * mean hosts that are written as such; `*` is everything.
 *
 * @returns whether a host goes direct. An entry that is nothing of the kind matches nothing, as everywhere else.
 */
export function createNoProxy(entries: readonly string[]): (host: Host) => boolean {
  const trimmed = entries.map((entry) => entry.trim()).filter((entry) => entry !== "");
  if (trimmed.includes("*")) return () => true;
  const isNetwork = (entry: string): boolean => isIP(unbracketed(entry).split("/")[0] ?? "") !== 0;
  const networks = createNetworks(
    trimmed.filter((entry) => isNetwork(entry) && isValidNetwork(entry)),
    "no_proxy",
  );
  const domains = trimmed.flatMap((entry) => {
    const host = isNetwork(entry) ? null : readDomain(entry.replace(/^\*?\./, ""));
    return host === null ? [] : [host];
  });
  const matches = (host: Host, { name, port }: Host): boolean =>
    (port === null || port === host.port) && (host.name === name || host.name.endsWith(`.${name}`));
  return (host) => {
    const address = addressOf(host.name);
    if (address !== null && networks(address)) return true;
    return domains.some((domain) => matches({ ...host, name: canonical(host.name) }, domain));
  };
}

/** An entry as `createDomainTable` has it. */
function blockedDomain(text: string): string {
  const trimmed = text.trim();
  const isWildcard = trimmed.startsWith("*.");
  const host = readDomain(isWildcard ? trimmed.slice(2) : trimmed);
  if (host === null || (isWildcard && (host.port !== null || addressOf(host.name) !== null))) {
    throw new UsageError(
      `forward_proxy.blocklist: ${JSON.stringify(text)} is not a domain. Write a name (example.com), ` +
        `a name with a port (example.com:8443), an address, or *.example.com for all below a name.`,
    );
  }
  if (isWildcard) return `*.${host.name}`;
  return host.port === null ? host.name : `${host.name}:${host.port}`;
}

function readDomain(text: string): Host | null {
  if (isIP(text) === 6) return { name: canonical(`[${text}]`), port: null };
  // An international name has another form on the wire. `domainToASCII` would cut a path off, so there must be none.
  const [, name = "", port = ""] =
    /^([^:[\]/?#@\\\s]*[^\0-\x7f][^:[\]/?#@\\\s]*)(:\d+)?$/.exec(text) ?? [];
  const host = parseHost(name === "" ? text : domainToASCII(name.replace(/\.$/, "")) + port);
  return host === null ? null : { ...host, name: canonical(host.name) };
}

/** One spelling for each host: `[::1]`, `127.0.0.1` and not `127.1`, names without a trailing dot. */
function canonical(name: string): string {
  const lowered = name.toLowerCase().replace(/\.$/, "");
  const address = addressOf(lowered);
  if (address === null) return lowered;
  const mapped = unmapped(address);
  return mapped.includes(":") ? `[${mapped}]` : mapped;
}

/** The IPv4 address in `::ffff:a.b.c.d`, however it is written; any other address as it is. */
function unmapped(address: string): string {
  const groups = /^::ffff:(?:([0-9a-f]{1,4}):([0-9a-f]{1,4})|(\d+\.\d+\.\d+\.\d+))$/i.exec(address);
  if (groups === null) return address;
  const [, high, low, dotted] = groups;
  if (dotted !== undefined) return dotted;
  const [a, b] = [Number.parseInt(high ?? "", 16), Number.parseInt(low ?? "", 16)];
  return `${a >> 8}.${a & 255}.${b >> 8}.${b & 255}`;
}

function unbracketed(text: string): string {
  return text.replace(/^\[|\]$/g, "");
}

function isValidNetwork(text: string): boolean {
  return networkOf(text) !== null;
}

interface Network {
  address: string;
  bits: number;
  family: "ipv4" | "ipv6";
}

/** Reads an address with or without the length of a prefix; null if it is none. */
function networkOf(text: string): Network | null {
  const [, written = "", digits] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(text.trim()) ?? [];
  const given = unbracketed(written);
  const version = isIP(given);
  if (version === 0) return null;
  const most = version === 4 ? 32 : 128;
  const bits = digits === undefined ? most : Number(digits);
  if (bits > most) return null;
  // `::ffff:10.0.0.0/104` is 10.0.0.0/8: a client is never seen in the mapped form here.
  const address = unmapped(addressOf(given) ?? given);
  if (version === 6 && address.includes(".") && bits >= 96)
    return { address, bits: bits - 96, family: "ipv4" };
  return { address: given, bits, family: version === 4 ? "ipv4" : "ipv6" };
}

/** @throws UsageError if one of them is none; `key` is where it stands */
function createNetworks(networks: readonly string[], key: string): (address: string) => boolean {
  if (networks.length === 0) return () => false;
  const list = new BlockList();
  for (const text of networks) {
    const network = networkOf(text);
    if (network === null) {
      throw new UsageError(
        `${key}: ${JSON.stringify(text)} is not an address or a range such as 10.0.0.0/8 or ::1/128.`,
      );
    }
    list.addSubnet(network.address, network.bits, network.family);
  }
  return (address) => {
    const bare = unmapped(address.replace(/%.*$/, ""));
    const version = isIP(bare);
    return version !== 0 && list.check(bare, version === 4 ? "ipv4" : "ipv6");
  };
}
