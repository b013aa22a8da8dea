import { ProxyError } from "../errors.ts";
import { createClientAddress } from "./forwarded.ts";
import type { KeyConfig, KeyRing, VirtualKey } from "./keys.ts";
import { createKeyRing } from "./keys.ts";
import type { ClientTier } from "./tier.ts";

/** Headers in which APIs take their key, in the order in which they are looked at. */
const apiHeaders = ["authorization", "x-api-key", "api-key", "x-goog-api-key"] as const;
/** Ours alone: it never goes upstream, whatever is in it. */
const ownHeader = "x-cooldown-key";
/** Longer values of a named header are told apart by their hash, characters. */
const longestValue = 64;
/** A header that came more often than that is taken as one. */
const mostParts = 16;

const noHeaders: readonly string[] = [];

/** Who sends a request, as far as fairness and limits are concerned. Never holds a key itself. */
export interface ClientIdentity {
  /** `key:<name>`, `anon:<12 hex>` for any other key, `ip:<address>`, `header:<value>`, or `unknown`. */
  readonly id: string;
  /** The credential that goes upstream, by the same names; `none` where none does. */
  readonly credential: string;
  /** The virtual key's name; null where the request has none. */
  readonly name: string | null;
  readonly tier: ClientTier | null;
  /** The API's own headers in which a virtual key came: they must not go upstream. */
  readonly keyHeaders: readonly string[];
}

/** A request's header fields by their names in lower case. */
type Fields = Readonly<Partial<Record<string, string>>>;

/** Tells clients apart. */
export interface Identifier {
  /**
   * @param connection tells the address that it comes from, null if unknown; asked only where it counts
   * @throws ProxyError `UNAUTHORIZED` where a virtual key is required and the request has none
   */
  identify(fields: Fields, connection: { peer(): string | null }): ClientIdentity;
}

/** What `createIdentifier` needs of the configuration, under the names of the file. */
export interface IdentityConfig {
  /** `api_key`, `ip`, `header:NAME`: the first that a request has counts. */
  readonly identify_by: readonly string[];
  readonly require_key: boolean;
  readonly keys: readonly KeyConfig[];
  readonly tiers: Readonly<Record<string, Omit<ClientTier, "name">>>;
  /** CIDRs whose `X-Forwarded-For` is believed. */
  readonly trusted_proxies: readonly string[];
}

/**
 * A virtual key names its client whatever `identify_by` says: it is proof, all else is a claim, and a holder must not
 * get a second allowance by sending another header. Only hashes of keys are kept.
 */
export function createIdentifier(config: IdentityConfig): Identifier {
  const tiers = new Map(
    Object.entries(config.tiers).map(([name, tier]) => [name, { ...tier, name }] as const),
  );
  const ring = createKeyRing(config.keys, tiers);
  const addressOf = createClientAddress(config.trusted_proxies);
  const ways = config.identify_by.map(readWay);

  const idOf = (
    fields: Fields,
    connection: { peer(): string | null },
    key: string | null,
  ): string => {
    for (const way of ways) {
      if (way.kind === "api_key") {
        if (key !== null) return key;
      } else if (way.kind === "ip") {
        const address = addressOf(connection.peer(), fields["x-forwarded-for"]);
        if (address !== null) return `ip:${address}`;
      } else {
        const value = Object.hasOwn(fields, way.name) ? fields[way.name] : undefined;
        if (value !== undefined && value !== "") return `header:${bounded(value)}`;
      }
    }
    return "unknown";
  };

  return {
    identify(fields, connection) {
      let virtual: VirtualKey | null = null;
      let named: string | null = null;
      let credential: string | null = null;
      let keyHeaders = noHeaders;
      const own = fields[ownHeader];
      if (own !== undefined && own !== "") {
        const found = ring.look(own);
        if (typeof found === "string") named = found;
        else virtual = found;
      }
      for (const header of apiHeaders) {
        const key = keyIn(fields, header);
        // Without virtual keys the first key there is says all.
        if (key === null || (credential !== null && !ring.hasKeys)) continue;
        const found = lookAt(ring, key);
        if (typeof found === "string") {
          credential ??= found;
        } else {
          virtual ??= found;
          keyHeaders = [...keyHeaders, header];
        }
      }
      if (virtual !== null) {
        const { id, name, tier } = virtual;
        return { id, credential: credential ?? "none", name, tier, keyHeaders };
      }
      if (config.require_key) throw unauthorized(named ?? credential);
      // A key that is nobody's must not give its sender a name of its choice beside the one that goes upstream.
      const id = idOf(fields, connection, credential ?? named);
      return { id, credential: credential ?? "none", name: null, tier: null, keyHeaders };
    },
  };
}

type Way = { kind: "api_key" } | { kind: "ip" } | { kind: "header"; name: string };

function readWay(text: string): Way {
  if (text === "api_key" || text === "ip") return { kind: text };
  return { kind: "header", name: text.slice("header:".length).toLowerCase() };
}

/** The key in a header that an API takes it in; of other schemes than `Bearer` all that is there. */
function keyIn(fields: Fields, header: (typeof apiHeaders)[number]): string | null {
  const value = fields[header];
  if (value === undefined || value === "") return null;
  if (header !== "authorization") return value;
  const key = withoutScheme(value);
  return key === "" ? null : key;
}

const bearer = /^bearer(?: +|$)/i;

function withoutScheme(value: string): string {
  return bearer.test(value) ? value.slice("bearer".length).trim() : value;
}

/** A header that came twice is one with a comma in it: a virtual key does not go upstream in half of it either. */
function lookAt(ring: KeyRing, key: string): VirtualKey | string {
  const whole = ring.look(key);
  if (typeof whole !== "string" || !ring.hasKeys || !key.includes(",")) return whole;
  for (const part of key.split(",", mostParts)) {
    const found = ring.look(withoutScheme(part.trim()));
    if (typeof found !== "string") return found;
  }
  return whole;
}

/** A header's value as part of a name that is kept for a while. */
function bounded(value: string): string {
  if (value.length <= longestValue) return value;
  const hash = Bun.SHA256.hash(value, "hex").slice(0, 12);
  return `${value.slice(0, longestValue - hash.length - 1)}~${hash}`;
}

function unauthorized(presented: string | null): ProxyError {
  const problem =
    presented === null
      ? "This proxy needs one of its own keys, and the request has none"
      : "The request's key is none of this proxy's own";
  return new ProxyError(
    "UNAUTHORIZED",
    `${problem}. Send it as X-Cooldown-Key, or where the API takes its key.`,
  );
}
