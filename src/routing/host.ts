import { addressOf } from "./address.ts";

/** Who a `Host` header, or a host in a path, names. */
export interface Host {
  /** Lowercased, without a trailing dot; an IPv6 address in brackets. */
  name: string;
  /** Null where none is given. */
  port: number | null;
}

const label = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?";
const form = new RegExp(
  `^(${label}(?:\\.${label})*\\.?|\\[[0-9a-f.]*:[0-9a-f:.]{1,45}\\])(?::(\\d{0,5}))?$`,
  "i",
);

/**
 * Reads `name`, `name:port`, `1.2.3.4:port` or `[v6]:port` (RFC 9110 §7.2, RFC 3986 §3.2). Underscores are allowed,
 * since container networks use them.
 *
 * Null for anything else: user info, a scheme, a list (two `Host` headers arrive joined by a comma), zone ids,
 * percent-encoding, names over 253 characters, and what no URL may have as its host: addresses that are none
 * (`1.2.3.256`), international names whose coding is broken (`xn--a`).
 */
export function parseHost(value: string): Host | null {
  if (value.length > 262) return null;
  const match = form.exec(value);
  if (match === null) return null;
  const lowered = (match[1] ?? "").toLowerCase();
  const name = lowered.endsWith(".") ? lowered.slice(0, -1) : lowered;
  const digits = match[2] ?? "";
  const port = digits === "" ? null : Number(digits);
  if (name.length > 253 || (port !== null && (port === 0 || port > 65_535))) return null;
  if (addressOf(name) === "invalid") return null;
  if (name.includes("xn--") && !URL.canParse(`http://${name}/`)) return null;
  return { name, port };
}

/** `host` as it stands in a URL and in a `Host` header. */
export function formatHost(host: Host): string {
  return host.port === null ? host.name : `${host.name}:${host.port}`;
}
