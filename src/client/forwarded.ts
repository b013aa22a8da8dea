import type { Address } from "./address.ts";
import { addressSet, formatAddress, parseAddress } from "./address.ts";

/** Of longer headers only the end is read, characters; and at most so many hops. */
const longestHeader = 2_048;
const mostHops = 32;
/** How many peers are remembered as trusted or not: a proxy in front of us is one of a few. */
const maxPeers = 1_000;

/**
 * The address of the client that a request comes from.
 *
 * @param peer the connection's other end; null if unknown
 * @param forwarded the request's `X-Forwarded-For`
 */
export type ClientAddress = (peer: string | null, forwarded: string | undefined) => string | null;

/**
 * Whose `X-Forwarded-For` is believed. Each proxy appends the address that it was asked from, so only the right end
 * of the list was written by someone we know: it is walked from there, past the proxies that are trusted, to the
 * first that is not. What is left of it is what that one claims, and so is the whole header if the peer itself is not
 * trusted. A hop that is no address ends the walk, at the last that was one.
 *
 * @param trustedProxies CIDRs (`server.trusted_proxies`)
 */
export function createClientAddress(trustedProxies: readonly string[]): ClientAddress {
  if (trustedProxies.length === 0) return (peer) => (peer === null ? null : unmapped(peer));
  const isTrusted = addressSet(trustedProxies);
  const trustedPeers = new Map<string, boolean>();
  const trustsPeer = (peer: string): boolean => {
    const known = trustedPeers.get(peer);
    if (known !== undefined) return known;
    if (trustedPeers.size >= maxPeers) trustedPeers.clear();
    const address = parseAddress(peer);
    const trusted = address !== null && isTrusted(address);
    trustedPeers.set(peer, trusted);
    return trusted;
  };
  return (peer, forwarded) => {
    if (peer === null) return null;
    if (forwarded === undefined || !trustsPeer(peer)) return unmapped(peer);
    let client: Address | null = null;
    for (const hop of hopsFromRight(forwarded)) {
      const address = parseHop(hop);
      if (address === null) break;
      client = address;
      if (!isTrusted(address)) break;
    }
    return client === null ? unmapped(peer) : formatAddress(client);
  };
}

function* hopsFromRight(header: string): Generator<string> {
  const text = header.length > longestHeader ? header.slice(-longestHeader) : header;
  let end = text.length;
  for (let hops = 0; hops < mostHops && end >= 0; hops++) {
    const comma = end === 0 ? -1 : text.lastIndexOf(",", end - 1);
    // The hop at which a header that is too long was cut may be the rest of another.
    if (comma === -1 && text.length < header.length) return;
    yield text.slice(comma + 1, end).trim();
    end = comma;
  }
}

/** A hop as proxies write it: an address, with or without a port, IPv6 perhaps in brackets. */
function parseHop(text: string): Address | null {
  const bracketed = /^\[([^\]]{2,64})\](?::\d{1,5})?$/.exec(text)?.[1];
  if (bracketed !== undefined) return bracketed.includes(":") ? parseAddress(bracketed) : null;
  const v4 = /^([\d.]{7,15}):\d{1,5}$/.exec(text)?.[1];
  return parseAddress(v4 ?? text);
}

/** An IPv4 peer of a socket that listens on IPv6 too is told as `::ffff:1.2.3.4`. */
function unmapped(peer: string): string {
  return peer.startsWith("::ffff:") && peer.includes(".") ? peer.slice("::ffff:".length) : peer;
}
