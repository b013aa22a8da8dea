import type { Host } from "./host.ts";
import { formatHost } from "./host.ts";

/** A rule found for a host. */
export interface Match<T> {
  value: T;
  /** The domain as the rule has it: `api.example.com`, `api.example.com:8443` or `*.example.com`. */
  domain: string;
  /** Whether the rule names this very host, and not a wildcard above it. */
  exact: boolean;
}

/** Finds what is said about a host. A look-up takes one step a label, however many rules there are. */
export interface DomainTable<T> {
  find(host: Host): Match<T> | null;
}

/**
 * A table in which exact domains beat wildcards and longer ones beat shorter ones. A domain with a port is only that
 * port, and beats the one without. `*.example.com` is any depth below `example.com`, not `example.com` itself.
 *
 * @param rows domains lowercased, without a trailing dot; of two rows with the same domain the first counts.
 */
export function createDomainTable<T>(
  rows: Iterable<readonly [domain: string, value: T]>,
): DomainTable<T> {
  const exact = new Map<string, Match<T>>();
  const wildcard = new Map<string, Match<T>>();
  for (const [domain, value] of rows) {
    const isWildcard = domain.startsWith("*.");
    const table = isWildcard ? wildcard : exact;
    const key = isWildcard ? domain.slice(2) : domain;
    if (!table.has(key)) table.set(key, { value, domain, exact: !isWildcard });
  }
  const find = (host: Host): Match<T> | null => {
    const named =
      (host.port === null ? undefined : exact.get(formatHost(host))) ?? exact.get(host.name);
    if (named !== undefined || wildcard.size === 0) return named ?? null;
    return firstAbove(host.name, wildcard);
  };
  return { find };
}

/** What the longest domain above `name` has in `table`. */
function firstAbove<T>(name: string, table: ReadonlyMap<string, T>): T | null {
  for (let dot = name.indexOf("."); dot !== -1; dot = name.indexOf(".", dot + 1)) {
    const found = table.get(name.slice(dot + 1));
    if (found !== undefined) return found;
  }
  return null;
}

/** Which quotas may apply, as the configuration lists them: the first that matches domain and model does. */
export interface QuotaRow<Q> {
  /** Exact or wildcard domains, as in `createDomainTable`. */
  domains: readonly string[];
  /** Globs of model names. */
  models: readonly string[];
  quota: Q;
}

/** A quota whose domain matches a host: it applies if the model matches as well. */
export interface QuotaCandidate<Q> {
  quota: Q;
  /** Whether the quota names this very host. */
  exact: boolean;
  /** Whether `model` is one of the quota's. A request that names none ("") belongs only to quotas for all models. */
  allows: (model: string) => boolean;
}

/**
 * Finds the quotas that may apply to a host, in the configuration's order. For every domain that is mentioned the
 * list is made here once, wildcards above it included, so that a look-up never goes through all quotas.
 */
export function createQuotaTable<Q>(
  rows: readonly QuotaRow<Q>[],
): (host: Host) => readonly QuotaCandidate<Q>[] {
  const compiled = rows.map(({ models, domains, quota }) => {
    const globs = models.map(createGlob);
    return {
      domains,
      quota,
      allows: (model: string): boolean => globs.some((matches) => matches(model)),
    };
  });
  const mentioned = new Set(rows.flatMap(({ domains }) => domains));
  const lists = [...mentioned].map((domain): [string, QuotaCandidate<Q>[]] => {
    const covers = (pattern: string): boolean => pattern === domain || isUnder(pattern, domain);
    const candidates = compiled
      .filter(({ domains }) => domains.some(covers))
      .map(({ domains, quota, allows }) => ({
        quota,
        exact: domains.some((pattern) => !pattern.startsWith("*.") && covers(pattern)),
        allows,
      }));
    return [domain, candidates];
  });
  const table = createDomainTable(lists);
  return (host) => table.find(host)?.value ?? [];
}

/** Whether whatever `domain` stands for is also meant by `pattern`. */
function isUnder(pattern: string, domain: string): boolean {
  const host = domain.replace(/:\d+$/, "");
  if (pattern.startsWith("*.")) return host.endsWith(pattern.slice(1));
  return pattern === host;
}

/** The first candidate that has `model`, null where none has. */
export function pickQuota<Q>(
  candidates: readonly QuotaCandidate<Q>[],
  model: string,
): QuotaCandidate<Q> | null {
  return candidates.find(({ allows }) => allows(model)) ?? null;
}

/**
 * Whether a text matches `pattern`, in which `*` is any text. Each fixed part is searched once, after the one
 * before, so the time is bounded whatever a client sends; a regular expression would not promise that.
 */
export function createGlob(pattern: string): (text: string) => boolean {
  const [head = "", ...rest] = pattern.split("*");
  const tail = rest.pop();
  if (tail === undefined) return (text) => text === head;
  const middle = rest.filter((part) => part !== "");
  return (text) => {
    if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail))
      return false;
    let at = head.length;
    for (const part of middle) {
      const found = text.indexOf(part, at);
      if (found === -1) return false;
      at = found + part.length;
    }
    return at <= text.length - tail.length;
  };
}
