/** A request's header fields by their names in lower case; repeated ones joined by commas. */
export type Fields = Readonly<Partial<Record<string, string>>>;

/** What an answer may depend on. */
export interface Question {
  readonly method: string;
  /** The upstream that is asked, with its port. */
  readonly host: string;
  /** Path and query as the client encoded them. */
  readonly target: string;
  readonly fields: Fields;
  readonly body: Uint8Array | null;
}

/** Ends of the paths under which a POST only asks a model something, so that the same answer serves twice. */
const askingPaths = ["/completions", "/embeddings"] as const;

/**
 * Header fields on which no answer depends: about this hop or this one message, how a client calls itself, and
 * numbers under which a call is traced. Every other field is part of the key. The list names what does not count,
 * not what does, because APIs carry credentials and versions in headers that nobody can list: a field too many in
 * the key costs a miss, one too few gives a client the answer of another. What a proxy before us says of its client
 * (`X-Forwarded-*`, `Forwarded`, `X-Real-IP`) goes upstream and may decide there, so it counts.
 */
const ignored: ReadonlySet<string> = new Set(
  [
    "connection keep-alive te trailer transfer-encoding upgrade expect",
    "proxy-connection host content-length priority",
    "cache-control pragma date dnt",
    "user-agent idempotency-key x-idempotency-key",
    "traceparent tracestate baggage sentry-trace b3 uber-trace-id",
    "x-request-id x-client-request-id x-correlation-id x-trace-id",
    "x-amzn-trace-id x-cloud-trace-context",
  ].flatMap((line) => line.split(" ")),
);

/** The same by the beginning of the name; `x-stainless-*` is what official SDKs say about themselves. */
const ignoredPrefixes = ["x-stainless-", "x-b3-", "x-datadog-", "sec-"] as const;

/** The one field of ours that counts: it is a credential. */
const ownKey = "x-cooldown-key";

/** Fields that make an answer one about a part, or about what the client holds already: a cache would have to think. */
const partial = [
  "range",
  "if-range",
  "if-match",
  "if-none-match",
  "if-modified-since",
  "if-unmodified-since",
] as const;

const credentials = [
  "authorization",
  "x-api-key",
  "api-key",
  "x-goog-api-key",
  ownKey,
  "cookie",
  "x-forwarded-access-token",
  "x-forwarded-user",
  "x-forwarded-email",
] as const;

/**
 * Whether answers to `method path` may be kept and shared: GET, and POST to `…/chat/completions`, `…/completions`,
 * `…/embeddings` and `…/messages`.
 *
 * @param path without the query
 * @param body where it has been read. `…/messages` is also where messages are sent to people (SMS, chat rooms): only
 *   a body that names a model asks one. Without a body the answer goes by the path alone.
 */
export function cacheable(method: string, path: string, body?: Uint8Array | null): boolean {
  if (method === "GET") return true;
  if (method !== "POST") return false;
  if (askingPaths.some((end) => path.endsWith(end))) return true;
  return path.endsWith("/messages") && (body === undefined || namesModel(body));
}

/** Whether a request asks for a whole, finished answer, not for a part, a comparison or a subscription. */
export function asksForWhole(method: string, fields: Fields): boolean {
  if (fields["upgrade"] !== undefined) return false;
  // A GET of events is a subscription: what was sent before is not its answer.
  if (method === "GET" && fields["accept"]?.includes("text/event-stream") === true) return false;
  return partial.every((name) => fields[name] === undefined);
}

/** Whether a request says who asks. Without that, the same question may come from two people. */
export function hasCredential(fields: Fields): boolean {
  return credentials.some((name) => fields[name] !== undefined);
}

/** Whether the header field `name`, in lower case, is part of the key. */
export function isRelevant(name: string): boolean {
  if (ignored.has(name)) return false;
  if (name.startsWith("x-cooldown-")) return name === ownKey;
  return !ignoredPrefixes.some((prefix) => name.startsWith(prefix));
}

/**
 * Under what an answer is kept: SHA-256 over method, host, path and query, all header fields that an answer may
 * depend on (credentials always), and the body. Equal keys mean the same question of the same caller.
 */
export function cacheKey({ method, host, target, fields, body }: Question): string {
  // None of these can hold a line end, and the body comes last: different questions never give the same text.
  let head = `${method}\n${host}\n${target}\n`;
  for (const name of Object.keys(fields).sort()) {
    if (isRelevant(name)) head += `${name}:${fields[name]}\n`;
  }
  const hash = new Bun.CryptoHasher("sha256").update(`${head}\n`);
  if (body !== null) hash.update(body);
  return hash.digest("base64");
}

function namesModel(body: Uint8Array | null): boolean {
  if (body === null) return false;
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  // Inside a JSON string the quotes would be escaped.
  return bytes.includes('"model"') && bytes.includes('"messages"');
}
