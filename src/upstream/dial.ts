import { connect, isIP } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import type { Clock } from "../clock.ts";
import { formatHost } from "../routing/host.ts";
import type { Host } from "../routing/host.ts";
import { asError, failureOf, refusalOfProxy, timeoutOf } from "./failure.ts";

/** Where a connection leads. */
export interface DialTarget extends Host {
  port: number;
}

/** How a connection comes about. */
export interface DialOptions {
  clock: Clock;
  /** The longest it may take in all, ms. */
  connectMs: number;
  /** Aborted when nobody wants it any more. */
  signal: AbortSignal;
}

/** A proxy that connections go through. */
export interface ProxyHop {
  /** `http:` or `https:`, with user and password where it wants them. */
  url: URL;
  /** PEM of the authorities trusted for its certificate; null: the default ones. */
  ca: readonly string[] | null;
}

/** A further address is tried after this, if those before have not answered (RFC 8305 §5). */
const staggerMs = 250;
/** A connection that is not read is to hold nothing: a piece may be half a megabyte. */
const noReadAhead = { readableHighWaterMark: 0 };
/** The longest head of an answer that an outgoing proxy may give, in bytes. */
const longestHead = 16 * 1024;

/**
 * Connects to the first of `addresses` that answers. These are addresses, not names: what was checked is what is
 * connected to.
 * @throws UpstreamFailure `UPSTREAM_UNREACHABLE`, `UPSTREAM_TIMEOUT`; the signal's reason where it is aborted
 */
export function dial(
  target: DialTarget,
  addresses: readonly string[],
  options: DialOptions,
): Promise<Duplex> {
  const { clock, connectMs } = options;
  return new Promise((resolve, reject) => {
    const tries = new Set<Duplex>();
    const left = addresses.toReversed();
    let stopStagger = (): void => {};
    const finish = (chosen: Duplex | null): void => {
      stopDeadline();
      stopStagger();
      options.signal.removeEventListener("abort", abandon);
      for (const socket of tries) if (socket !== chosen) socket.destroy();
      tries.clear();
    };
    const fail = (error: unknown): void => {
      finish(null);
      reject(asError(error));
    };
    const abandon = (): void => fail(options.signal.reason);
    const url = `https://${formatHost(target)}`;
    const next = (): void => {
      stopStagger();
      const host = left.pop();
      if (host === undefined) return;
      const socket = connect({
        host,
        port: target.port,
        allowHalfOpen: true,
        noDelay: true,
        ...noReadAhead,
      });
      tries.add(socket);
      socket.once("connect", () => {
        finish(socket);
        resolve(socket);
      });
      // Stays for as long as the socket: an error that nobody listens for would end the process.
      socket.on("error", (error) => {
        if (!tries.delete(socket)) return;
        if (left.length > 0) next();
        else if (tries.size === 0) fail(failureOf(error, url));
      });
      if (left.length > 0) stopStagger = clock.at(clock.now() + staggerMs, next);
    };
    const stopDeadline = clock.at(clock.now() + connectMs, () =>
      fail(timeoutOf(url, "connection", connectMs)),
    );
    if (options.signal.aborted) return abandon();
    options.signal.addEventListener("abort", abandon, { once: true });
    if (left.length === 0)
      return fail(failureOf(Object.assign(new Error(), { code: "ENOTFOUND" }), url));
    next();
  });
}

/**
 * A tunnel to `target` through another proxy (RFC 9110 §9.3.6), which looks the name up itself.
 * @throws UpstreamFailure `UPSTREAM_UNREACHABLE`, also where that proxy refuses; `UPSTREAM_TIMEOUT`; the signal's
 *   reason where it is aborted
 */
export function dialThrough(
  proxy: ProxyHop,
  target: DialTarget,
  options: DialOptions,
): Promise<Duplex> {
  const { clock, connectMs, signal } = options;
  return new Promise((resolve, reject) => {
    const socket = connectToProxy(proxy);
    const { origin } = proxy.url;
    let head = Buffer.alloc(0);
    const finish = (): void => {
      stopDeadline();
      signal.removeEventListener("abort", abandon);
      socket.off("data", read);
      socket.off("end", ended);
    };
    const fail = (error: unknown): void => {
      finish();
      socket.destroy();
      reject(asError(error));
    };
    const abandon = (): void => fail(signal.reason);
    const ended = (): void => fail(refusalOfProxy(proxy.url, null));
    const read = (piece: Buffer): void => {
      head = Buffer.concat([head, piece]);
      const end = head.indexOf("\r\n\r\n");
      if (end === -1) {
        if (head.length > longestHead) fail(refusalOfProxy(proxy.url, null));
        return;
      }
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(head.toString("latin1", 0, 16))?.[1];
      if (status?.startsWith("2") !== true)
        return fail(refusalOfProxy(proxy.url, status === undefined ? null : Number(status)));
      socket.pause();
      finish();
      const rest = head.subarray(end + 4);
      if (rest.length > 0) socket.unshift(rest);
      resolve(socket);
    };
    const stopDeadline = clock.at(clock.now() + connectMs, () =>
      fail(timeoutOf(origin, "connection", connectMs)),
    );
    // Stays for as long as the socket: an error that nobody listens for would end the process.
    socket.on("error", (error) => fail(failureOf(error, origin, { via: proxy.url })));
    if (signal.aborted) return abandon();
    signal.addEventListener("abort", abandon, { once: true });
    socket.once(proxy.url.protocol === "https:" ? "secureConnect" : "connect", () =>
      socket.write(connectHead(proxy.url, target)),
    );
    socket.on("end", ended);
    socket.on("data", read);
  });
}

function connectToProxy({ url, ca }: ProxyHop): Duplex {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isTls = url.protocol === "https:";
  const port = Number(url.port || (isTls ? 443 : 80));
  const options = { host, port, allowHalfOpen: true, noDelay: true, ...noReadAhead };
  if (!isTls) return connect(options);
  return connectTls({
    ...options,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === null ? {} : { ca: [...ca] }),
  });
}

function connectHead(proxy: URL, target: DialTarget): string {
  const host = formatHost(target);
  return `CONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n${proxyAuthorization(proxy)}\r\n`;
}

/** The line of a request's head that says who asks an outgoing proxy; empty where it does not want to know. */
export function proxyAuthorization({ username, password }: URL): string {
  if (username === "" && password === "") return "";
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Proxy-Authorization: Basic ${Buffer.from(credentials).toString("base64")}\r\n`;
}

/**
 * TLS on a connection that is there, with a certificate for `name` (a name or an address).
 * @param url what it is for, in what goes wrong
 * @param ca PEM of the authorities trusted; null: the built-in ones
 * @throws UpstreamFailure; the signal's reason where it is aborted
 */
export function secured(
  socket: Duplex,
  name: string,
  url: string,
  ca: readonly string[] | null,
  { clock, connectMs, signal }: DialOptions,
): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const secure = connectTls({
      socket,
      ...(isIP(name) === 0 ? { servername: name } : { host: name }),
      ...(ca === null ? {} : { ca: [...ca] }),
    });
    const finish = (error: Error | null): void => {
      stop();
      signal.removeEventListener("abort", abandon);
      if (error === null) return resolve(secure);
      secure.destroy();
      socket.destroy();
      reject(error);
    };
    const abandon = (): void => finish(signal.reason as Error);
    const stop = clock.at(clock.now() + connectMs, () =>
      finish(timeoutOf(url, "connection", connectMs)),
    );
    signal.addEventListener("abort", abandon, { once: true });
    secure.once("secureConnect", () => finish(null));
    secure.on("error", (error) => finish(failureOf(error, url)));
    secure.once("close", () => finish(failureOf({ code: "ECONNRESET" }, url)));
  });
}
