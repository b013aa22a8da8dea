import type { Clock } from "../clock.ts";

/** How long an address that could not be connected to is tried last, ms. */
const avoidMs = 60_000;
/** How many such addresses are remembered; the oldest goes first. */
const maxAvoided = 1_000;

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

  /** `addresses` in the order to try them. */
  order(addresses: readonly string[]): readonly string[] {
    return this.#avoided.size === 0 ? addresses : this.#sorted(addresses);
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
