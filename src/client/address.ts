import { isIP } from "node:net";

/** An address as 16-bit groups: two for IPv4, eight for IPv6. IPv4 inside IPv6 (`::ffff:1.2.3.4`) is IPv4. */
export type Address = readonly number[];

const v4Groups = 2;
const v6Groups = 8;

/**
 * Reads an IPv4 or IPv6 address without brackets and port; a zone (`%eth0`) is left out.
 * @returns null for what is none
 */
export function parseAddress(text: string): Address | null {
  const family = isIP(text);
  if (family === 0) return null;
  if (family === v4Groups * 2) return parseV4(text);
  const groups = parseV6(text.replace(/%.*$/, ""));
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  return mapped ? groups.slice(v6Groups - v4Groups) : groups;
}

function parseV4(text: string): number[] {
  const [a = 0, b = 0, c = 0, d = 0] = text.split(".").map(Number);
  return [a * 256 + b, c * 256 + d];
}

function parseV6(text: string): number[] {
  const colon = text.lastIndexOf(":") + 1;
  const tail = text.includes(".") ? parseV4(text.slice(colon)) : null;
  const hex = tail === null ? text : text.slice(0, colon) + tail.map(toHex).join(":");
  const [head = "", rest] = hex.split("::");
  const before = parseGroups(head);
  const after = parseGroups(rest ?? "");
  const zeros = v6Groups - before.length - after.length;
  return [...before, ...Array.from({ length: zeros }, () => 0), ...after];
}

function parseGroups(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}

function toHex(group: number): string {
  return group.toString(16);
}

/** An address in the one spelling that RFC 5952 recommends, so that one client has one name. */
export function formatAddress(address: Address): string {
  if (address.length === v4Groups)
    return address.map((group) => `${group >> 8}.${group & 255}`).join(".");
  const run = longestZeros(address);
  if (run.length < 2) return address.map(toHex).join(":");
  const before = address.slice(0, run.start).map(toHex).join(":");
  const after = address
    .slice(run.start + run.length)
    .map(toHex)
    .join(":");
  return `${before}::${after}`;
}

/** The first of the longest runs of zero groups. */
function longestZeros(address: Address): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < address.length; start++) {
    let end = start;
    while (address[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  return best;
}

/** A range of addresses of one family. */
interface Range {
  readonly base: Address;
  readonly bits: number;
}

/** Whether an address is in one of some ranges. */
export type AddressSet = (address: Address) => boolean;

/**
 * @param ranges CIDRs such as `10.0.0.0/8` and `fd00::/8`, or single addresses, as the configuration has checked them
 * @throws Error for what is none
 */
export function addressSet(ranges: readonly string[]): AddressSet {
  const parsed = ranges.map(parseRange);
  return (address) => parsed.some((range) => contains(range, address));
}

function parseRange(text: string): Range {
  const [address = "", bits] = text.split("/");
  const base = parseAddress(address);
  if (base === null) throw new Error(`${text} is no range of addresses.`);
  const most = base.length * 16;
  // A range written with mapped addresses counts its bits in IPv6.
  const mapped = base.length === v4Groups && address.includes(":") ? 96 : 0;
  return { base, bits: bits === undefined ? most : Math.max(0, Number(bits) - mapped) };
}

function contains({ base, bits }: Range, address: Address): boolean {
  if (base.length !== address.length) return false;
  for (let i = 0, left = bits; left > 0; i++, left -= 16) {
    const drop = Math.max(0, 16 - left);
    if ((base[i] ?? 0) >> drop !== (address[i] ?? 0) >> drop) return false;
  }
  return true;
}
