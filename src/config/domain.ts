import { isIP } from "node:net";
import { domainToASCII } from "node:url";

/** What reading a value gave: the value, or what is wrong with it as a phrase for a message. */
export type Reading<T> = { value: T } | { problem: string };

interface DomainForm {
  /** Whether `*.example.com` is allowed. */
  wildcard: boolean;
}

/**
 * Reads the name of a host that rules are written for: lowercased, without a trailing dot, international names
 * in their ASCII form. An exact name may have a port (`host:port`); addresses are allowed, IPv6 in brackets.
 * A wildcard is only ever the whole first label, `*.example.com`.
 */
export function readDomain(text: string, form: DomainForm): Reading<string> {
  const trimmed = text.trim();
  const url = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)/i.exec(trimmed);
  if (url !== null) return { problem: `must be a domain, not a URL${meant(url[1] ?? "")}` };
  if (/[/?#]/.test(trimmed))
    return { problem: `must be a domain without a path${meant(trimmed.split(/[/?#]/)[0] ?? "")}` };
  if (trimmed.includes("@")) return { problem: "must be a domain without a user or password" };

  if (isIP(trimmed) === 6)
    return { problem: `is an IPv6 address, which stands in brackets: "[${trimmed}]"` };
  const split = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(trimmed);
  if (split === null) return { problem: "is not a domain" };
  const [, host = "", port] = split;
  if (port !== undefined && !isPort(port))
    return { problem: `has port "${port}"; a port is a number from 1 to 65535` };
  const name = readHost(host, form);
  if ("problem" in name || port === undefined) return name;
  if (name.value.startsWith("*"))
    return { problem: "is a wildcard with a port; only an exact domain can have one" };
  return { value: `${name.value}:${Number(port)}` };
}

function meant(host: string): string {
  const domain = host.slice(host.lastIndexOf("@") + 1);
  return domain === "" ? "" : `; did you mean "${domain}"?`;
}

/** Whether `text` is the number of a port that can be connected to. */
function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65_535;
}

function readHost(host: string, form: DomainForm): Reading<string> {
  if (host.startsWith("[")) {
    const address = host.slice(1, -1);
    return isIP(address) === 6
      ? { value: `[${address.toLowerCase()}]` }
      : { problem: "has no IPv6 address in its brackets" };
  }
  if (host.includes("*")) {
    if (!form.wildcard) return { problem: "must be an exact name, without *" };
    if (host === "*") {
      return {
        problem:
          'cannot be "*" alone; default_rate_limit is for the domains without a rule of their own',
      };
    }
    if (!host.startsWith("*.") || host.indexOf("*", 1) !== -1) {
      return { problem: 'can have * only as its whole first label, as in "*.example.com"' };
    }
    const rest = readName(host.slice(2));
    return "problem" in rest ? rest : { value: `*.${rest.value}` };
  }
  return readName(host);
}

function readName(host: string): Reading<string> {
  const bare = host.endsWith(".") ? host.slice(0, -1) : host;
  if (bare === "") return { problem: "is empty where a domain should be" };
  // domainToASCII refuses underscores nowhere and turns 127.1 into 127.0.0.1, as URLs do.
  const ascii = domainToASCII(bare).toLowerCase();
  const labels = ascii.split(".");
  const valid =
    ascii.length <= 253 &&
    labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
  return valid ? { value: ascii } : { problem: "is not a domain" };
}

/** Reads one address or a range of them: `10.0.0.0/8`, `::1`, `2001:db8::/32`. */
export function readCidr(text: string): Reading<string> {
  const [address = "", bits, ...more] = text.trim().split("/");
  const family = isIP(address);
  if (family === 0 || address.includes("%"))
    return { problem: "is not an address or a range such as 10.0.0.0/8 or ::1/128" };
  if (bits === undefined) return { value: address.toLowerCase() };
  const most = family === 4 ? 32 : 128;
  if (more.length > 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > most) {
    return {
      problem: `has /${[bits, ...more].join("/")} where a number from 0 to ${most} should be`,
    };
  }
  return { value: `${address.toLowerCase()}/${Number(bits)}` };
}

interface UrlForm {
  /** Allowed schemes without the colon, the first the one to suggest. */
  schemes: readonly string[];
  /** Whether the URL may have a path. */
  path: boolean;
}

/** Reads a URL of one of the schemes, without query and fragment; trailing slashes are cut off. */
export function readUrl(text: string, form: UrlForm): Reading<string> {
  const trimmed = text.trim();
  const schemes = form.schemes.map((scheme) => `${scheme}://`).join(" or ");
  if (!form.schemes.some((scheme) => trimmed.toLowerCase().startsWith(`${scheme}://`))) {
    // No hint where it would repeat a password.
    const bare =
      trimmed !== "" &&
      !trimmed.includes("@") &&
      !trimmed.includes("://") &&
      URL.canParse(`${form.schemes[0]}://${trimmed}`);
    const local = /^(localhost|127\.|\[)/.test(trimmed) ? "http" : (form.schemes.at(-1) ?? "http");
    const scheme = form.schemes.includes("http") ? local : form.schemes[0];
    return {
      problem: `must start with ${schemes}${bare ? `; did you mean "${scheme}://${trimmed}"?` : ""}`,
    };
  }
  const url = URL.canParse(trimmed) ? new URL(trimmed) : null;
  if (url === null || url.hostname === "" || /\s/.test(trimmed))
    return { problem: `is not a URL such as ${form.schemes[0]}://host:port` };
  if (url.port === "0") return { problem: "has port 0" };
  if (url.search !== "" || url.hash !== "")
    return { problem: "must have no query and no fragment" };
  if (!form.path && url.pathname !== "" && url.pathname !== "/")
    return { problem: "must have no path" };
  return { value: trimmed.replace(/[?#/]+$/, "") };
}
