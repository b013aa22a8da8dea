import type { Fields } from "./key.ts";
import { isRelevant } from "./key.ts";

/** What a request lets a cache do (RFC 9111 §5.2.1). */
export interface Wish {
  /** `use`: read and store; `refresh`: only store, the client wants a new answer; `bypass`: neither. */
  readonly mode: "use" | "refresh" | "bypass";
  /** How old an answer may be, ms. */
  readonly maxAgeMs: number;
}

const usual: Wish = { mode: "use", maxAgeMs: Infinity };
const refresh: Wish = { mode: "refresh", maxAgeMs: 0 };
const bypass: Wish = { mode: "bypass", maxAgeMs: 0 };

/** The statuses that are kept (issue: "Response cache"): what is asked wrongly is wrong again. */
const keptStatuses: ReadonlySet<number> = new Set([200, 201, 400, 401]);

/**
 * Cookies that machines in front of an API set for themselves on every answer: bot detection, rate limiting and load
 * balancing. They are about the connection, not the caller, and every answer of OpenAI has them. They are left out
 * of what is kept or shared, and do not forbid it. See https://developers.cloudflare.com/fundamentals/reference/policies-compliances/cloudflare-cookies/
 * and https://docs.aws.amazon.com/elasticloadbalancing/latest/application/sticky-sessions.html.
 */
const infrastructureCookies: ReadonlySet<string> = new Set([
  "__cf_bm",
  "_cfuvid",
  "__cflb",
  "AWSALB",
  "AWSALBCORS",
]);

/**
 * What a request's `Cache-Control` asks for: `no-store` is neither read nor stored, `no-cache` and `max-age=0` are
 * not read but stored, `max-age=N` takes no older answer. `Pragma: no-cache` counts where there is no
 * `Cache-Control` (RFC 9111 §5.4).
 */
export function wishOf(fields: Fields): Wish {
  const control = fields["cache-control"];
  if (control === undefined) {
    return fields["pragma"]?.toLowerCase().includes("no-cache") === true ? refresh : usual;
  }
  const directives = directivesIn(control);
  if (directives.has("no-store")) return bypass;
  if (directives.has("no-cache")) return refresh;
  const maxAgeMs = secondsOf(directives, "max-age");
  if (maxAgeMs === null) return usual;
  return maxAgeMs === 0 ? refresh : { mode: "use", maxAgeMs };
}

/** The head of an answer, as far as it decides on keeping it. */
export interface Head {
  readonly status: number;
  readonly headers: Headers;
}

/**
 * How long an answer may be kept, ms; 0: not at all.
 *
 * `private`, `no-store`, a cookie of the API's own, and a `Vary` on what the key does not hold forbid it. For a GET
 * `no-cache`, `max-age` and `Expires` shorten it as HTTP defines (RFC 9111 §4.2). For a POST they are passed over:
 * APIs send `no-cache` with streamed answers so that nothing in between buffers them, and that a model's answer is
 * kept at all is the operator's wish.
 *
 * @param ttlMs the longest
 * @param now ms since the epoch
 */
export function keepMs(method: string, head: Head, ttlMs: number, now: number): number {
  const { status, headers } = head;
  if (!keptStatuses.has(status)) return 0;
  const directives = directivesIn(headers.get("cache-control"));
  if (directives.has("private") || directives.has("no-store")) return 0;
  if (setsCookie(headers) || variesUnseen(headers)) return 0;
  if (method !== "GET") return ttlMs;
  if (directives.has("no-cache")) return 0;
  return Math.max(0, Math.min(ttlMs, freshMs(directives, headers, now)));
}

/**
 * Whether one answer may go to several who ask the same at the same time. What may not be stored may not be shared
 * either (RFC 9111 §4, collapsed requests), but an answer that is `private` to a caller who names himself may: the
 * others are the same caller.
 *
 * @param named whether the question has a credential
 */
export function isShareable({ headers }: Head, named: boolean): boolean {
  const directives = directivesIn(headers.get("cache-control"));
  if (directives.has("no-store") || (directives.has("private") && !named)) return false;
  return !setsCookie(headers) && !variesUnseen(headers);
}

/** How long an answer is fresh by its own account, ms; Infinity where it does not say. */
function freshMs(directives: Directives, headers: Headers, now: number): number {
  const maxAgeMs = secondsOf(directives, "s-maxage") ?? secondsOf(directives, "max-age");
  if (maxAgeMs !== null) {
    const age = Number(headers.get("age") ?? 0);
    return maxAgeMs - (age > 0 ? age * 1_000 : 0);
  }
  const expires = headers.get("expires");
  if (expires === null) return Infinity;
  const at = Date.parse(expires);
  // A date that cannot be read, `0` above all, means: in the past (§5.3).
  return Number.isNaN(at) || /^-?\d+$/.test(expires) ? 0 : at - now;
}

function setsCookie(headers: Headers): boolean {
  return headers
    .getSetCookie()
    .some((cookie) => !infrastructureCookies.has(cookie.slice(0, cookie.indexOf("=")).trim()));
}

/** Whether an answer depends on what the key does not hold. */
function variesUnseen(headers: Headers): boolean {
  const vary = headers.get("vary");
  if (vary === null) return false;
  return vary.split(",").some((part) => {
    const name = part.trim().toLowerCase();
    return name === "*" || (name !== "" && !isRelevant(name));
  });
}

type Directives = ReadonlyMap<string, string>;
const none: Directives = new Map();

/** The directives of a `Cache-Control`, names in lower case; commas inside quotes do not count. */
function directivesIn(control: string | null): Directives {
  if (control === null) return none;
  const found = new Map<string, string>();
  for (const [, name = "", quoted, plain] of control.matchAll(directive)) {
    found.set(name.toLowerCase(), quoted ?? plain ?? "");
  }
  return found;
}

const directive = /([^\s,=;"]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,]*)))?/g;

/** A directive's number of seconds in ms; null where there is none, 0 where it cannot be read (RFC 9111 §4.2.1). */
function secondsOf(directives: Directives, name: string): number | null {
  const value = directives.get(name);
  if (value === undefined) return null;
  return /^\d+$/.test(value) ? Number(value) * 1_000 : 0;
}
