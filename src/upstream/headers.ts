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

/**
 * Takes out of a request's `headers`, in place, what must not be forwarded: hop-by-hop headers, those that
 * `Connection` names, and our own `X-Cooldown-*`. Read the latter before. Repeated headers stay as they are.
 *
 * In place, because copying a request's headers costs more than everything else that is done to them.
 */
export function stripRequestHeaders(headers: Headers): void {
  strip(headers);
  // The fetch below adds its own name where there is none. An empty one is what servers take for none.
  if (!headers.has("user-agent")) headers.set("user-agent", "");
}

/** The same for an answer's headers. `Set-Cookie` stays as many headers as the upstream sent. */
export function stripResponseHeaders(headers: Headers): void {
  strip(headers);
}

function strip(headers: Headers): void {
  const options = headers.get("connection");
  if (options !== null && !plainOptions.has(options)) stripNamed(headers, options);
  // One native call for all names is the cheapest way to see them, and is not upset by deleting.
  for (const name in headers.toJSON()) {
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
