/** What kind of network an address is in. Only `public` is reached without the operator naming it. */
export type AddressKind =
  | "public"
  | "unspecified"
  | "loopback"
  | "private"
  | "shared"
  | "link-local"
  | "unique-local"
  | "multicast"
  | "reserved";

type Range<N> = readonly [start: N, prefixBits: number, kind: AddressKind];

/**
 * IANA's IPv4 special-purpose registry (RFC 6890), https://www.iana.org/assignments/iana-ipv4-special-registry, and one
 * address that looks public and is not: 168.63.129.16 is the host below a virtual machine of Azure's, which hands out
 * what it is set up with (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
 */
const v4Ranges: readonly Range<number>[] = [
  [v4(0, 0, 0, 0), 8, "unspecified"],
  [v4(10, 0, 0, 0), 8, "private"],
  [v4(100, 64, 0, 0), 10, "shared"],
  [v4(127, 0, 0, 0), 8, "loopback"],
  [v4(168, 63, 129, 16), 32, "reserved"],
  [v4(169, 254, 0, 0), 16, "link-local"],
  [v4(172, 16, 0, 0), 12, "private"],
  [v4(192, 0, 0, 0), 24, "reserved"],
  [v4(192, 0, 2, 0), 24, "reserved"],
  [v4(192, 88, 99, 0), 24, "reserved"],
  [v4(192, 168, 0, 0), 16, "private"],
  [v4(198, 18, 0, 0), 15, "private"],
  [v4(198, 51, 100, 0), 24, "reserved"],
  [v4(203, 0, 113, 0), 24, "reserved"],
  [v4(224, 0, 0, 0), 4, "multicast"],
  [v4(240, 0, 0, 0), 4, "reserved"],
];

/** The IPv6 one (RFC 6890), https://www.iana.org/assignments/iana-ipv6-special-registry; by the first 64 bits. */
const v6Ranges: readonly Range<bigint>[] = [
  [0x0064_ff9b_0001_0000n, 48, "private"],
  [0x0100_0000_0000_0000n, 64, "reserved"],
  [0x2001_0000_0000_0000n, 23, "reserved"],
  [0x2001_0db8_0000_0000n, 32, "reserved"],
  [0x2002_0000_0000_0000n, 16, "reserved"],
  [0x3fff_0000_0000_0000n, 20, "reserved"],
  [0x5f00_0000_0000_0000n, 16, "reserved"],
  [0xfc00_0000_0000_0000n, 7, "unique-local"],
  [0xfe80_0000_0000_0000n, 10, "link-local"],
  [0xfec0_0000_0000_0000n, 10, "private"],
  [0xff00_0000_0000_0000n, 8, "multicast"],
];

function v4(a: number, b: number, c: number, d: number): number {
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

/**
 * The address that `name` is, as a URL with it would be understood, or null if it is a name to look up: `127.1`,
 * `0x7f.1`, `0177.0.0.1` and `2130706433` are all 127.0.0.1. IPv6 addresses may stand in brackets and have a zone.
 *
 * The URL parser does the reading, since it is what decides where a request really goes.
 *
 * @returns dotted IPv4, IPv6 without brackets, or `invalid` for what looks like an address and is none.
 */
export function addressOf(name: string): string | null {
  const host = name.replace(/^\[|\]$/g, "");
  if (host.includes(":"))
    return urlHost(`[${host.replace(/%.*$/, "")}]`)?.slice(1, -1) ?? "invalid";
  // A name whose last label is a number in any base is an address or nothing (WHATWG URL, "ends in a number").
  if (!/(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?$/i.test(host)) return null;
  return urlHost(host) ?? "invalid";
}

function urlHost(host: string): string | null {
  return URL.parse(`http://${host}/`)?.hostname ?? null;
}

/** What kind of network `address` (as `addressOf` gives it) is in. */
export function classify(address: string): AddressKind {
  if (address.includes(":")) return classifyV6(parseV6(address));
  const parts = address.split(".").map(Number);
  const [a = NaN, b = NaN, c = NaN, d = NaN] = parts;
  if (parts.length !== 4 || !parts.every((part) => part >= 0 && part <= 255)) return "reserved";
  return classifyV4(v4(a, b, c, d));
}

function classifyV4(address: number): AddressKind {
  for (const [start, prefixBits, kind] of v4Ranges) {
    const drop = 32 - prefixBits;
    if (address >>> drop === start >>> drop) return kind;
  }
  return "public";
}

function classifyV6(address: bigint): AddressKind {
  const high = address >> 64n;
  const low = address & 0xffff_ffff_ffff_ffffn;
  const embedded = Number(low & 0xffff_ffffn);
  if (high === 0n) {
    if (low === 0n) return "unspecified";
    if (low === 1n) return "loopback";
    const prefix = low >> 32n;
    // IPv4 mapped (::ffff:a.b.c.d) and, long out of use, compatible (::a.b.c.d) and translated (::ffff:0:a.b.c.d).
    if (prefix === 0xffffn || prefix === 0n || prefix === 0xffff_0000n) return classifyV4(embedded);
    return "reserved";
  }
  // NAT64 (RFC 6052) leads to the IPv4 address inside; on networks with DNS64 every old host is reached so.
  if (address >> 32n === 0x0064_ff9b_0000_0000_0000_0000n) return classifyV4(embedded);
  for (const [start, prefixBits, kind] of v6Ranges) {
    const drop = BigInt(64 - prefixBits);
    if (high >> drop === start >> drop) return kind;
  }
  return "public";
}

/** The 128 bits of an IPv6 address as the URL parser writes it: hexadecimal groups, at most one `::`. */
function parseV6(address: string): bigint {
  const [head = "", tail] = address.split("::");
  const groups = (text: string): string[] => (text === "" ? [] : text.split(":"));
  const before = groups(head);
  const after = groups(tail ?? "");
  const zeros = Array.from(
    { length: tail === undefined ? 0 : 8 - before.length - after.length },
    () => "0",
  );
  return [...before, ...zeros, ...after].reduce(
    (sum, group) => (sum << 16n) | BigInt(`0x${group}`),
    0n,
  );
}
