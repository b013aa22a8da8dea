/** Headers that are for the next machine only (RFC 9110 §7.6.1), and `Host`, which the URL sets. */
const dropped = new Set([
  "connection",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Connection options that name no header of their own. */
const plainOptions = new Set(["keep-alive", "close"]);

/** Header fields by their names in lower case; repeated ones are joined by commas. */
export type Fields = Readonly<Partial<Record<string, string>>>;

/** All of a request's header fields in one go: each look into `Headers` is a call into the runtime. */
export function fieldsOf(headers: Headers): Fields {
  return headers.toJSON();
}

/**
 * Takes out of a request's `headers`, in place, what must not be forwarded: hop-by-hop headers, those that
 * `Connection` names, and our own `X-Cooldown-*`. Read the latter before. Repeated headers stay as they are.
 *
 * @param fields the same headers, as read before.
 *
 * In place, because copying a request's headers costs more than everything else that is done to them.
 */
export function stripRequestHeaders(headers: Headers, fields: Fields): void {
  strip(headers, fields);
  // The fetch below adds its own name where there is none. An empty one is what servers take for none.
  if (fields["user-agent"] === undefined) headers.set("user-agent", "");
}

/**
 * The same for an answer's headers. `Set-Cookie` stays as many headers as the upstream sent. A length beside a transfer
 * coding goes too: it is the coding that says where the body ends (RFC 9112 §6.3), and who goes by the length would
 * take the rest for another answer.
 */
export function stripResponseHeaders(headers: Headers, fields: Fields): void {
  strip(headers, fields);
  if (fields["transfer-encoding"] !== undefined) headers.delete("content-length");
}

function strip(headers: Headers, fields: Fields): void {
  const options = fields["connection"];
  if (options !== undefined && !plainOptions.has(options)) stripNamed(headers, options);
  for (const name in fields) {
    if (dropped.has(name) || name.startsWith("x-cooldown-")) headers.delete(name);
  }
}

/** Connection options are header names in a list, in any case; what is no name at all is passed over. */
function stripNamed(headers: Headers, options: string): void {
  for (const option of options.split(",")) {
    const name = option.trim();
    if (token.test(name)) headers.delete(name);
  }
}

const token = /^[!#$%&'*+.^_`|~0-9a-z-]+$/i;
