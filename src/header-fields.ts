/** What reads headers needs of them, wherever they come from. */
export type HeaderReader = Pick<Headers, "get" | "has" | "keys">;

/** What changes headers needs of them besides. */
export type HeaderWriter = HeaderReader & Pick<Headers, "set" | "delete">;

/** What a header's name or a method is written with (RFC 9110 §5.6.2). */
export const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

type Values = Record<string, string>;

/**
 * The headers of a message that passes, by name in lower case: repeated ones joined by commas (RFC 9110 §5.3), but
 * `Set-Cookie`, which may hold commas itself. The same as the runtime's `Headers`, whose every call leaves JavaScript
 * and leaves memory for the collector to free: a message has a dozen of them.
 *
 * Names and values are taken as they are: they come from a parser.
 */
export class HeaderFields implements HeaderWriter {
  #values: Values = { __proto__: null } as unknown as Values;
  #cookies: string[] = [];

  /** Fields by name in lower case. */
  static from(fields: Readonly<Partial<Values>>): HeaderFields {
    const headers = new HeaderFields();
    for (const name in fields) {
      const value = fields[name];
      if (value !== undefined) headers.append(name, value);
    }
    return headers;
  }

  get(name: string): string | null {
    if (name === "set-cookie" && this.#cookies.length > 0) return this.#cookies.join(", ");
    return this.#values[name] ?? null;
  }

  has(name: string): boolean {
    return this.get(name) !== null;
  }

  set(name: string, value: string): void {
    if (name === "set-cookie") this.#cookies = [value];
    else this.#values[name] = value;
  }

  append(name: string, value: string): void {
    if (name === "set-cookie") return void this.#cookies.push(value);
    const before = this.#values[name];
    this.#values[name] = before === undefined ? value : `${before}, ${value}`;
  }

  delete(name: string): void {
    if (name === "set-cookie") this.#cookies = [];
    // Taking a key from an object makes it slow: only where there is one.
    else if (this.#values[name] !== undefined) Reflect.deleteProperty(this.#values, name);
  }

  /** Each value of `Set-Cookie`. */
  getSetCookie(): readonly string[] {
    return this.#cookies;
  }

  *keys(): Generator<string, undefined> {
    for (const name in this.#values) yield name;
    if (this.#cookies.length > 0) yield "set-cookie";
  }

  /** All but `Set-Cookie`, to be looked at only: a view that costs nothing. */
  get fields(): Readonly<Values> {
    return this.#values;
  }

  /** What a `Response` or `Headers` of the same fields is made of. */
  toInit(): Values | [string, string][] {
    const [only, ...more] = this.#cookies;
    if (only === undefined) return this.#values;
    if (more.length === 0) return { ...this.#values, "set-cookie": only };
    return [
      ...Object.entries(this.#values),
      ...this.#cookies.map((cookie): [string, string] => ["set-cookie", cookie]),
    ];
  }
}
