/** How many keys' names are remembered, so that each is hashed once. */
const maxNames = 10_000;

/** Headers in which APIs take their key, in the order in which they are looked at. */
const keyHeaders = ["authorization", "x-api-key", "api-key", "x-goog-api-key"] as const;

/** Who sends a request, as far as fairness and limits are concerned. */
export interface ClientIdentity {
  /** `anon:<12 hex>` for a key, `ip:<address>`, or `header:<value>`: never a key itself. */
  id: string;
  /** The same for the credential alone, `none` without one. */
  credential: string;
}

/** A request's header fields by their names in lower case. */
type Fields = Readonly<Partial<Record<string, string>>>;

/** Tells clients apart. */
export interface Identifier {
  /** @param connection tells the address that it comes from, null if unknown; asked only where it counts */
  identify(fields: Fields, connection: { peer(): string | null }): ClientIdentity;
}

/** @param identifyBy `api_key`, `ip`, `header:NAME`: the first that a request has counts */
export function createIdentifier(identifyBy: readonly string[]): Identifier {
  const names = new Map<string, string>();
  const nameOf = (key: string): string => {
    const known = names.get(key);
    if (known !== undefined) return known;
    if (names.size >= maxNames) names.clear();
    const name = `anon:${new Bun.CryptoHasher("sha256").update(key).digest("hex").slice(0, 12)}`;
    names.set(key, name);
    return name;
  };
  return {
    identify(fields, connection) {
      const key = keyOf(fields);
      const credential = key === null ? "none" : nameOf(key);
      for (const way of identifyBy) {
        if (way === "api_key" && key !== null) return { id: credential, credential };
        const address = way === "ip" ? connection.peer() : null;
        if (address !== null) return { id: `ip:${address}`, credential };
        const name = way.startsWith("header:") ? way.slice("header:".length).toLowerCase() : null;
        const value = name !== null && Object.hasOwn(fields, name) ? fields[name] : undefined;
        if (value !== undefined) return { id: `header:${value.slice(0, 128)}`, credential };
      }
      return { id: "unknown", credential };
    },
  };
}

function keyOf(fields: Fields): string | null {
  for (const name of keyHeaders) {
    const value = fields[name];
    if (value === undefined || value === "") continue;
    return name === "authorization" ? value.replace(/^bearer +/i, "") : value;
  }
  return null;
}
