import { ProxyError } from "../errors.ts";
import type { Host } from "../routing/host.ts";
import { formatHost, parseHost } from "../routing/host.ts";
import type { DialTarget } from "../upstream/dial.ts";
import type { Fields } from "../upstream/headers.ts";

/** What an absolute-form request asks for (RFC 9112 §3.2.2). */
export interface AbsoluteTarget {
  /** A port of 80 is left out: it is the same host as without. */
  host: Host;
  /** Path and query as the client wrote them, from the first slash. */
  target: string;
}

/**
 * What the parser of the runtime lets through and a proxy must not (RFC 9112 §3.2, §6.1, §6.3): where the next
 * machine could read such a message in another way, it could be made to see a second request in it.
 *
 * @param rawHeaders names and values in turn, as received
 * @throws ProxyError `INVALID_REQUEST`
 */
export function checkHead(method: string, version: string, rawHeaders: readonly string[]): void {
  const hosts = valuesOf(rawHeaders, "host");
  const lengths = valuesOf(rawHeaders, "content-length");
  const codings = valuesOf(rawHeaders, "transfer-encoding");
  if (hosts.length > 1) throw invalid("The request has more than one Host header.");
  if (hosts.length === 0 && version === "1.1") throw invalid("The request has no Host header.");
  if (hosts.some((host) => host !== "" && parseHost(host) === null))
    throw invalid("The Host header must be one name or address with at most a port.");
  if (lengths.length > 1) throw invalid("The request has more than one Content-Length header.");
  if (lengths.some((length) => !/^\d{1,15}$/.test(length)))
    throw invalid("The Content-Length header is not a length.");
  if (codings.length > 0) {
    if (version !== "1.1") throw invalid("Transfer-Encoding needs HTTP/1.1.");
    if (lengths.length > 0)
      throw invalid("Content-Length and Transfer-Encoding exclude each other.");
    if (codings.length > 1 || codings[0]?.toLowerCase() !== "chunked")
      throw invalid("The only Transfer-Encoding that requests may have is chunked.");
  }
  if (method === "CONNECT" && (codings.length > 0 || lengths.some((length) => Number(length) > 0)))
    throw invalid("A CONNECT request has no body.");
  for (let i = 1; i < rawHeaders.length; i += 2) {
    if (control.test(rawHeaders[i] ?? "")) throw invalid("A header has control characters in it.");
  }
}

// oxlint-disable-next-line no-control-regex -- finding them is what it is for
const control = /[\0-\x08\x0a-\x1f\x7f]/;

function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === name);
}

/** Headers by their names in lower case, repeated ones joined: what the pipeline calls fields. */
export function fieldsOfRaw(rawHeaders: readonly string[]): Fields {
  const fields: Record<string, string> = Object.create(null) as Record<string, string>;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? "").toLowerCase();
    const value = rawHeaders[i + 1] ?? "";
    const before = fields[name];
    fields[name] = before === undefined ? value : `${before}, ${value}`;
  }
  return fields;
}

/**
 * The target of a CONNECT request: a host and a port, nothing else (RFC 9110 §9.3.6).
 * @throws ProxyError `INVALID_REQUEST`
 */
export function parseConnectTarget(text: string): DialTarget {
  const host = parseHost(text);
  const port = host?.port ?? null;
  if (host === null || port === null) {
    throw invalid(
      `CONNECT needs a host and a port, as in CONNECT api.example.com:443, not "${shortened(text)}".`,
    );
  }
  return { name: host.name, port };
}

/**
 * The target of any other request on this port: an absolute http URL.
 * @throws ProxyError `INVALID_REQUEST`, with what to do for the forms that belong elsewhere
 */
export function parseAbsoluteTarget(text: string): AbsoluteTarget {
  if (text.startsWith("/") || text === "*") {
    throw invalid(
      "This port is a forward proxy: requests name the whole URL (GET http://host/path) or use CONNECT. Set it as " +
        "http_proxy and https_proxy. SDKs that take a base URL want the main port instead.",
    );
  }
  const [, scheme = "", authority = "", rest = ""] =
    /^([a-z][a-z0-9+.-]{0,20}):\/\/([^/?#]*)(.*)$/i.exec(text) ?? [];
  if (scheme.toLowerCase() === "https") {
    throw invalid(
      "An https URL goes through a tunnel: CONNECT to its host and port. Most clients do so by themselves when " +
        "https_proxy is set.",
    );
  }
  if (scheme.toLowerCase() !== "http")
    throw invalid(`The target must be an http URL, not "${shortened(text)}".`);
  const host = parseHost(authority);
  if (host === null) {
    throw invalid("The URL must name one host with at most a port, and no user.");
  }
  if (!/^[!-~]*$/.test(rest) || rest.includes("#"))
    throw invalid("The URL has characters in it that must be percent-encoded, or a fragment.");
  return {
    host: host.port === 80 ? { name: host.name, port: null } : host,
    target: rest.startsWith("/") ? rest : `/${rest}`,
  };
}

/** The URL of an absolute-form target. */
export function urlOf({ host, target }: AbsoluteTarget): string {
  return `http://${formatHost(host)}${target}`;
}

/**
 * The key in `Proxy-Authorization`, null where there is none: that of `Bearer KEY`, else of Basic credentials
 * (RFC 7617) the password, or the user where there is no password, so that `http://KEY@host:3128` and
 * `http://anything:KEY@host:3128` both work as the URL of a proxy.
 */
export function proxyKey(proxyAuthorization: string | null): string | null {
  const [, scheme = "", credentials = ""] =
    /^([a-z]+) +([!-~]+)$/i.exec(proxyAuthorization ?? "") ?? [];
  if (scheme.toLowerCase() === "bearer") return credentials;
  if (scheme.toLowerCase() !== "basic") return null;
  const decoded = Buffer.from(credentials, "base64").toString("utf8");
  const colon = decoded.indexOf(":");
  const [user, password] =
    colon === -1 ? [decoded, ""] : [decoded.slice(0, colon), decoded.slice(colon + 1)];
  const key = password === "" ? user : password;
  // A key that could not stand in a header is none.
  return /^[!-~]+$/.test(key) ? key : null;
}

function invalid(message: string): ProxyError {
  return new ProxyError("INVALID_REQUEST", message);
}

function shortened(text: string): string {
  const shown = text.replace(/[^ -~]/g, "?");
  return shown.length > 80 ? `${shown.slice(0, 80)}…` : shown;
}
