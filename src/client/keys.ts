import { timingSafeEqual } from "node:crypto";

import type { ClientTier } from "./tier.ts";

/** How many names of keys are remembered: making one costs more than the hash that it is made of. */
const maxNames = 10_000;

/** A key that the operator has given out: what is known of it, never the key. */
export interface VirtualKey {
  readonly id: `key:${string}`;
  readonly name: string;
  readonly tier: ClientTier | null;
}

/** A key as the configuration gives it: itself, or its SHA-256 in lower-case hexadecimal. */
export interface KeyConfig {
  readonly name: string;
  readonly key: string | null;
  readonly key_sha256: string | null;
  readonly tier: string | null;
}

/** Tells virtual keys from others. */
export interface KeyRing {
  /** Whether there are virtual keys at all. */
  readonly hasKeys: boolean;
  /** The virtual key that `key` is; else a name for it, `anon:` and the first 12 hexadecimal digits of its SHA-256. */
  look(key: string): VirtualKey | string;
}

interface Entry {
  readonly sha256: Uint8Array;
  readonly key: VirtualKey;
}

/**
 * Keeps hashes alone. A presented key is found by the first 48 bits of its SHA-256 and then compared as a whole in
 * constant time: how long that takes tells nothing of a key that one does not have.
 *
 * @param tiers by their names; a key of a tier that is not there has none
 */
export function createKeyRing(
  keys: readonly KeyConfig[],
  tiers: ReadonlyMap<string, ClientTier>,
): KeyRing {
  const entries = new Map<number, Entry[]>();
  for (const { name, key, key_sha256: hash, tier } of keys) {
    const sha256 = new Uint8Array(32);
    if (key !== null) Bun.SHA256.hash(key, sha256);
    else if (hash !== null) sha256.set(Buffer.from(hash, "hex"));
    else continue;
    const virtual = {
      id: `key:${name}` as const,
      name,
      tier: tier === null ? null : (tiers.get(tier) ?? null),
    };
    const place = first48(sha256);
    const before = entries.get(place) ?? [];
    entries.set(place, [...before, { sha256, key: virtual }]);
  }
  const names = new Map<number, string>();
  // Overwritten by each look: nothing waits in between.
  const digest = new Uint8Array(32);
  return {
    hasKeys: entries.size > 0,
    look(key) {
      Bun.SHA256.hash(key, digest);
      const place = first48(digest);
      const found = entries.get(place)?.find(({ sha256 }) => timingSafeEqual(sha256, digest));
      if (found !== undefined) return found.key;
      const known = names.get(place);
      if (known !== undefined) return known;
      if (names.size >= maxNames) names.clear();
      const name = `anon:${place.toString(16).padStart(12, "0")}`;
      names.set(place, name);
      return name;
    },
  };
}

/** The first 48 bits of a hash as a number: the twelve digits that anonymous keys are named by. */
function first48(hash: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = hash;
  return (a * 256 + b) * 2 ** 32 + (((c << 24) | (d << 16) | (e << 8) | f) >>> 0);
}
