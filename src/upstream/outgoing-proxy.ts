import { rootCertificates } from "node:tls";
import { UsageError } from "../errors.ts";
import { createNoProxy } from "../routing/blocklist.ts";
import { parseHost } from "../routing/host.ts";
import type { Host } from "../routing/host.ts";
import { certificateIn, readPem } from "./certificate.ts";

/** A proxy that outgoing connections go through. */
export interface OutgoingProxy {
  /** `http:` or `https:`, with user and password where it wants them: not to be shown. */
  readonly url: URL;
  /** Whether connections to `host` go through it. */
  covers(host: Host): boolean;
}

/**
 * The outgoing proxy that the configuration names, null for none.
 * @param url `upstream_proxy`, as it was checked when the configuration was read
 * @param noProxy hosts that are reached without it; see `createNoProxy` for their forms
 */
export function createOutgoingProxy(
  url: string | null,
  noProxy: readonly string[],
): OutgoingProxy | null {
  if (url === null) return null;
  const goesDirect = createNoProxy(noProxy);
  return { url: new URL(url), covers: (host) => !goesDirect(host) };
}

/** The proxy that a request for `url` goes through, null for none. An entry `host:443` also means `https://host`. */
export function proxyFor(proxy: OutgoingProxy | null, url: string): URL | null {
  if (proxy === null) return null;
  const { hostname, port, protocol } = new URL(url);
  const host = parseHost(hostname);
  if (host === null) return proxy.url;
  const implied = protocol === "https:" || protocol === "wss:" ? 443 : 80;
  return proxy.covers({ ...host, port: port === "" ? implied : Number(port) }) ? proxy.url : null;
}

/**
 * The authorities trusted by default and those of a PEM file.
 * @throws UsageError if the file cannot be read, or has no certificate in it
 */
export function authoritiesWith(file: string): string[] {
  const pem = readPem("extra_ca", file);
  if (certificateIn(pem) === null) {
    throw new UsageError(`extra_ca: ${file} has no certificate in PEM form`);
  }
  return [...rootCertificates, pem];
}
