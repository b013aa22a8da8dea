import { UnreadableAnswer } from "./answer-head.ts";
import { UpstreamFailure } from "./upstream.ts";

/** What went wrong before a byte of the request could leave, by the error's code. */
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
  EPROTO:
    "it does not speak TLS; if it speaks plain HTTP, give it an upstream that begins with http://",
};

/** TLS failures have many codes; all come before the request is sent. */
const tlsCode = /CERT|SSL|TLS|ISSUER|SIGNATURE|CRL/;

/** Codes after which another address of the same host may be tried. */
const unconnected = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EADDRNOTAVAIL"]);

/** Whether an error says that there was no connection. */
export function isUnconnected(error: unknown): boolean {
  return unconnected.has(codeOf(error));
}

/** What was going on when a call failed. */
export interface FailedAt {
  /** The proxy that the call goes through, null for none. */
  readonly via: URL | null;
  /** False where there was no connection yet that could have carried the request. */
  readonly isConnected: boolean;
  /** Whether the request may be sent again. */
  readonly mayRepeat: boolean;
}

/** The failure that an error of a connection stands for. */
export function failureOf(
  error: unknown,
  url: string,
  { via = null, isConnected = false, mayRepeat = false }: Partial<FailedAt> = {},
): UpstreamFailure {
  if (error instanceof UpstreamFailure) return error;
  const code = codeOf(error);
  if (error instanceof UnreadableAnswer)
    return unreachable(
      `${hostOf(url)} gave an answer that cannot be read: ${error.message}.`,
      true,
    );
  if (isConnected) {
    const why =
      code === "ECONNRESET" || code === "EPIPE" || code === ""
        ? "closed the connection without an answer"
        : `gave no answer: the connection failed (${code})`;
    return unreachable(`${hostOf(url)} ${why}.`, true, mayRepeat);
  }
  // Without a connection it is the proxy's host that this is about.
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
  return unreachable(`${host} could not be reached${code === "" ? "" : ` (${code})`}.`, false);
}

/** What the outgoing proxy's refusal is to the client. The message has neither its user nor its password. */
export function refusalOfProxy(via: URL, status: number | null): UpstreamFailure {
  const said = status === null ? "gave no answer that can be read" : `answered ${status}`;
  const hint =
    status === 407 ? ": upstream_proxy needs the user and password that it asks for" : "";
  return unreachable(`The outgoing proxy ${via.host} ${said}${hint}.`, false);
}

/** No connection, or no answer, within `ms`. */
export function timeoutOf(url: string, what: "connection" | "answer", ms: number): UpstreamFailure {
  const message = `${hostOf(url)} gave no ${what} within ${ms / 1000} s.`;
  return new UpstreamFailure("UPSTREAM_TIMEOUT", message, what === "answer");
}

function unreachable(message: string, mayHaveLeft: boolean, mayRepeat = false): UpstreamFailure {
  return new UpstreamFailure("UPSTREAM_UNREACHABLE", message, mayHaveLeft, mayRepeat);
}

/** The code of an error as those of Node.js have it; empty where it has none. */
export function codeOf(error: unknown): string {
  const code: unknown = Reflect.get(Object(error), "code");
  return typeof code === "string" ? code : "";
}

/** Whether an error says that a call was ended, by whoever waited for it. */
export function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

/** What was thrown, as an error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** Host and port only: a URL's path and query may hold what is not for others to read. */
function hostOf(url: string): string {
  return URL.parse(url)?.host ?? "The upstream";
}
