import { isIP } from "node:net";
import type { Clock } from "../clock.ts";
import { addressOf } from "../routing/address.ts";

/** How long an address that could not be connected to is tried last, ms. */
const avoidMs = 60_000;
/** How many such addresses are remembered; the oldest goes first. */
const maxAvoided = 1_000;

/** A URL whose host is an address that was checked, and the host that was asked for. */
export interface Pinned {
  url: string;
  /** For `Host`: name and port. */
  host: string;
  /** For TLS: what the certificate must be for. */
  name: string;
  address: string;
}

/**
 * Connects to addresses that were checked instead of names, which could mean another address by the time of the
 * connection (DNS rebinding). Tries those that failed a while ago last.
 */
export class Pins {
  readonly #clock: Clock;
  readonly #avoided = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `url` on each of `addresses`, in the order to try them. None where the host is an address already. */
  of(url: string, addresses: readonly string[]): Pinned[] {
    const { hostname, host } = new URL(url);
    const name = hostname.endsWith(".") ? hostname.slice(0, -1) : hostname;
    if (addressOf(name) !== null) return [];
    const order = this.#avoided.size === 0 ? addresses : this.#sorted(addresses);
    return order.map((address) => ({ url: withHost(url, address), host, name, address }));
  }

  /** `address` could not be connected to. */
  failed(address: string): void {
    this.#avoided.delete(address);
    const [oldest] = this.#avoided.size < maxAvoided ? [] : this.#avoided.keys();
    if (oldest !== undefined) this.#avoided.delete(oldest);
    this.#avoided.set(address, this.#clock.now() + avoidMs);
  }

  #sorted(addresses: readonly string[]): string[] {
    const now = this.#clock.now();
    const isAvoided = (address: string): boolean => (this.#avoided.get(address) ?? 0) > now;
    return [...addresses.filter((one) => !isAvoided(one)), ...addresses.filter(isAvoided)];
  }
}

/** `url` with another host; port, path and query stay to the letter. */
function withHost(url: string, address: string): string {
  const start = url.indexOf("://") + 3;
  const end = /[:/?#]/.exec(url.slice(start));
  const rest = end === null ? "" : url.slice(start + end.index);
  return `${url.slice(0, start)}${isIP(address) === 6 ? `[${address}]` : address}${rest}`;
}
