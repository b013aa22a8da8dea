import { HeaderFields, token } from "../header-fields.ts";

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
 * A request's headers without those that must not be forwarded: hop-by-hop ones, those that `Connection` names, and our
 * own `X-Cooldown-*`.
 */
export function requestHeaders(fields: Fields): HeaderFields {
  const headers = new HeaderFields();
  for (const name in fields) {
    const value = fields[name];
    if (value !== undefined && !isDropped(name)) headers.set(name, value);
  }
  stripNamed(headers, fields["connection"]);
  return headers;
}

/**
 * Takes the same out of an answer's headers, in place. `Set-Cookie` stays as many headers as the upstream sent. A
 * length beside a transfer coding goes too: it is the coding that says where the body ends (RFC 9112 §6.3), and who
 * goes by the length would take the rest for another answer.
 */
export function stripResponseHeaders(headers: HeaderFields): void {
  const { fields } = headers;
  const options = fields["connection"];
  if (fields["transfer-encoding"] !== undefined) headers.delete("content-length");
  for (const name in fields) if (isDropped(name)) headers.delete(name);
  stripNamed(headers, options);
}

function isDropped(name: string): boolean {
  return dropped.has(name) || name.startsWith("x-cooldown-");
}

/** Connection options are header names in a list, in any case; what is no name at all is passed over. */
function stripNamed(headers: HeaderFields, options: string | undefined): void {
  if (options === undefined || plainOptions.has(options)) return;
  for (const option of options.split(",")) {
    const name = option.trim().toLowerCase();
    if (token.test(name)) headers.delete(name);
  }
}
