import { UpstreamFailure } from "./upstream.ts";

/** What went wrong before a byte of the request could leave, by the runtime's error code. */
const neverLeft: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ENOTFOUND: "its name does not resolve",
  EAI_AGAIN: "its name could not be looked up",
  EHOSTUNREACH: "there is no route to it",
  ENETUNREACH: "there is no network to reach it by",
  EADDRNOTAVAIL: "this machine has no free port to reach it from",
  EMFILE: "this process has too many open connections",
  ERR_INVALID_URL: "its URL is not valid",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
};

/** TLS failures have many codes; all come before the request is sent. */
const tlsCode = /CERT|SSL|TLS|ISSUER|SIGNATURE|CRL/;

/** Codes after which another address of the same host may be tried. */
const unconnected = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"]);

/** Whether an error of the runtime's `fetch` says that there was no connection. */
export function isUnconnected(error: unknown): boolean {
  return unconnected.has(codeOf(error));
}

/**
 * The failure that an error of the runtime's `fetch` stands for.
 * @param via the proxy that the call went through, null for none
 */
export function failureOf(error: unknown, url: string, via: URL | null = null): UpstreamFailure {
  const code = codeOf(error);
  if (code === "ERR_PROXY_TUNNEL" && via !== null) {
    const status: unknown = Reflect.get(Object(error), "status");
    return refusalOfProxy(via, typeof status === "number" ? status : null);
  }
  // Without a connection it is the proxy's host that the runtime speaks of.
  const isProxys = via !== null && (unconnected.has(code) || code === "ENOTFOUND");
  const host = isProxys ? `The outgoing proxy ${via.host}` : hostOf(url);
  const why = neverLeft[code];
  if (why !== undefined) return unreachable(`${host} could not be reached: ${why}.`, false);
  if (tlsCode.test(code)) {
    return unreachable(
      `${host} could not be reached: its TLS certificate was not accepted (${code}).`,
      false,
    );
  }
  if (code === "ECONNRESET" || code === "EPIPE") {
    return unreachable(`${host} closed the connection without an answer.`, true);
  }
  return unreachable(`${host} could not be reached${code === "" ? "" : ` (${code})`}.`, true);
}

/** What the outgoing proxy's refusal is to the client. The message has neither its user nor its password. */
export function refusalOfProxy(via: URL, status: number | null): UpstreamFailure {
  const said = status === null ? "gave no answer that can be read" : `answered ${status}`;
  const hint =
    status === 407 ? ": upstream_proxy needs the user and password that it asks for" : "";
  return unreachable(`The outgoing proxy ${via.host} ${said}${hint}.`, false);
}

/** An answer with a status that is none (RFC 9110 §15): nothing that could be passed on. */
export function noStatus(url: string, status: number): UpstreamFailure {
  const shown = String(status).padStart(3, "0");
  return unreachable(`${hostOf(url)} answered with ${shown}, which is no status.`, true);
}

/** No connection, or no answer, within `ms`. */
export function timeoutOf(url: string, what: "connection" | "answer", ms: number): UpstreamFailure {
  const message = `${hostOf(url)} gave no ${what} within ${ms / 1000} s.`;
  return new UpstreamFailure("UPSTREAM_TIMEOUT", message, what === "answer");
}

function unreachable(message: string, mayHaveLeft: boolean): UpstreamFailure {
  return new UpstreamFailure("UPSTREAM_UNREACHABLE", message, mayHaveLeft);
}

function codeOf(error: unknown): string {
  const code: unknown = Reflect.get(Object(error), "code");
  return typeof code === "string" ? code : "";
}

/** Host and port only: a URL's path and query may hold what is not for others to read. */
function hostOf(url: string): string {
  return URL.parse(url)?.host ?? "The upstream";
}
