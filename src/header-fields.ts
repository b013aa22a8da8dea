/** What reads headers needs of them, wherever they come from. */
export type HeaderReader = Pick<Headers, "get" | "has" | "keys">;

/** What changes headers needs of them besides. */
export type HeaderWriter = HeaderReader & Pick<Headers, "set" | "delete">;

/** What a header's name or a method is written with (RFC 9110 §5.6.2). */
export const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Fields, and nothing of a prototype's: the quickest to make of such objects, and each message has one. */
class Values {
  [name: string]: string;
}
Reflect.setPrototypeOf(Values.prototype, null);
Reflect.deleteProperty(Values.prototype, "constructor");

/**
 * The headers of a message that passes, by name in lower case: repeated ones joined by commas (RFC 9110 §5.3), but
 * `Set-Cookie`, which may hold commas itself. The same as the runtime's `Headers`, whose every call leaves JavaScript
 * and leaves memory for the collector to free: a message has a dozen of them.
 *
 * Names and values are taken as they are: they come from a parser.
 */
export class HeaderFields implements HeaderWriter {
  readonly #values: Record<string, string> = new Values();
  #cookies: string[] | null = null;

  /** Fields by name in lower case. */
  static from(fields: Readonly<Partial<Record<string, string>>>): HeaderFields {
    const headers = new HeaderFields();
    for (const name in fields) {
      const value = fields[name];
      if (value !== undefined) headers.append(name, value);
    }
    return headers;
  }

  get(name: string): string | null {
    if (name === "set-cookie") return this.#cookies?.join(", ") ?? null;
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
    if (name === "set-cookie") return void (this.#cookies ??= []).push(value);
    const before = this.#values[name];
    this.#values[name] = before === undefined ? value : `${before}, ${value}`;
  }

  delete(name: string): void {
    if (name === "set-cookie") this.#cookies = null;
    // Taking a key from an object makes it slow: only where there is one.
    else if (this.#values[name] !== undefined) Reflect.deleteProperty(this.#values, name);
  }

  /** Each value of `Set-Cookie`. */
  getSetCookie(): readonly string[] {
    return this.#cookies ?? [];
  }

  *keys(): Generator<string, undefined> {
    for (const name in this.#values) yield name;
    if (this.#cookies !== null) yield "set-cookie";
  }

  /** All but `Set-Cookie`, to be looked at only: a view that costs nothing. */
  get fields(): Readonly<Record<string, string>> {
    return this.#values;
  }

  /** What a `Response` or `Headers` of the same fields is made of. */
  toInit(): Record<string, string> | [string, string][] {
    const cookies = this.#cookies;
    if (cookies === null) return this.#values;
    const [only = ""] = cookies;
    if (cookies.length === 1) return { ...this.#values, "set-cookie": only };
    return [
      ...Object.entries(this.#values),
      ...cookies.map((cookie): [string, string] => ["set-cookie", cookie]),
    ];
  }
}
