import type { Path } from "./document.ts";
import { quotaLimits } from "./schema.ts";
import type { Config } from "./schema.ts";
import { didYouMean } from "./suggest.ts";

type Report = (path: Path, message: string) => void;

/**
 * What a key's own schema cannot see: keys that must fit each other. Runs over a configuration whose keys may
 * be bad in themselves, so that one run finds everything; what has not the right type is passed over.
 */
export function checkTogether(config: unknown, report: Report): void {
  const rules = items(config, "rate_limits").map((rule) => text(at(rule, "domain")));
  reportRepeats(rules, (index) => ["rate_limits", index, "domain"], "duplicate domain", report);
  checkQuotas(config, rules, report);
  checkServer(config, report);
  checkClients(config, report);
  if (at(config, "limiter") === "redis" && at(config, "redis", "url") === null) {
    report(["limiter"], "redis needs redis.url, or --redis-addr");
  }
}

function checkQuotas(config: unknown, rules: readonly (string | null)[], report: Report): void {
  const quotas = items(config, "quotas");
  const limits = [...Object.keys(quotaLimits), "max_concurrency"];
  // A quota that failed its own checks has not got its default name yet: its first domain.
  const names = quotas.map((quota) => text(at(quota, "name")) ?? text(at(quota, "domain", 0)));
  reportRepeats(names, (index) => ["quotas", index, "name"], "duplicate name", report);
  for (const [index, quota] of quotas.entries()) {
    const name = names[index] ?? null;
    if (name !== null && rules.includes(name)) {
      report(
        ["quotas", index, "name"],
        `"${name}" is the name of a rate_limits rule already; give the quota another`,
      );
    }
    if (isMap(quota) && limits.every((limit) => at(quota, limit) === null)) {
      report(["quotas", index], `has no limit; give at least one of ${limits.join(", ")}`);
    }
    const keys = items(quota, "api_keys").map(text);
    reportRepeats(
      keys,
      (position) => ["quotas", index, "api_keys", position],
      "the same key again",
      report,
      "secret",
    );
  }
}

function checkServer(config: unknown, report: Report): void {
  const [cert, key] = [at(config, "server", "tls", "cert"), at(config, "server", "tls", "key")];
  if (text(cert) !== null && key === null)
    report(["server", "tls"], "has cert but no key; TLS needs both");
  if (text(key) !== null && cert === null)
    report(["server", "tls"], "has key but no cert; TLS needs both");
  if (at(config, "server", "proto") === "https" && cert === null && key === null) {
    report(["server", "proto"], "https needs server.tls.cert and server.tls.key");
  }
  const port = at(config, "server", "port");
  const samePort = port !== 0 && port === at(config, "forward_proxy", "port");
  if (samePort && at(config, "forward_proxy", "enabled") === true) {
    report(
      ["forward_proxy", "port"],
      `${String(port)} is server.port already; the forward proxy needs a port of its own`,
    );
  }
}

function checkClients(config: unknown, report: Report): void {
  const keys = items(config, "clients", "keys");
  const tiers = at(config, "clients", "tiers");
  const path = (index: number, key: string): Path => ["clients", "keys", index, key];
  reportRepeats(
    keys.map((key) => text(at(key, "name"))),
    (index) => path(index, "name"),
    "duplicate name",
    report,
  );
  for (const secret of ["key", "key_sha256"]) {
    reportRepeats(
      keys.map((key) => text(at(key, secret))),
      (index) => path(index, secret),
      "the same key again",
      report,
      "secret",
    );
  }
  for (const [index, key] of keys.entries()) {
    const given = ["key", "key_sha256"].filter(
      (name) => isMap(key) && at(key, name) !== null,
    ).length;
    if (isMap(key) && given !== 1) {
      report(
        ["clients", "keys", index],
        `must have ${given === 0 ? "a key: key or" : "only one of key and"} key_sha256`,
      );
    }
    const tier = text(at(key, "tier"));
    if (tier !== null && isMap(tiers) && !Object.hasOwn(tiers, tier)) {
      const names = Object.keys(tiers);
      const known = names.length === 0 ? "clients.tiers has none" : `known: ${names.join(", ")}`;
      report(
        path(index, "tier"),
        `there is no tier "${tier}"${didYouMean(tier, names) || `; ${known}`}`,
      );
    }
  }
}

function reportRepeats(
  values: readonly (string | null)[],
  path: (index: number) => Path,
  message: string,
  report: Report,
  kind: "secret" | "open" = "open",
): void {
  for (const [index, value] of values.entries()) {
    const first = values.indexOf(value);
    if (value === null || first === index) continue;
    report(
      path(index),
      `${message}${kind === "open" ? ` "${value}"` : ""}; first in ${firstPlace(path(first))}`,
    );
  }
}

function firstPlace(path: Path): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : part))
    .join(".")
    .replaceAll(".[", "[");
}

/** What is allowed but hardly meant: a sentence each. */
export function warningsFor(
  config: Pick<Config, "quotas" | "default_upstream" | "clients">,
): string[] {
  const warnings: string[] = [];
  for (const [index, quota] of config.quotas.entries()) {
    const covering = config.quotas
      .slice(0, index)
      .find(
        ({ domain, models }) =>
          models.includes("*") && quota.domain.every((name) => domain.includes(name)),
      );
    if (covering !== undefined) {
      warnings.push(
        `quotas: "${quota.name}" never applies: "${covering.name}" stands before it and takes every model there`,
      );
    }
  }
  if (config.default_upstream.endsWith("/v1")) {
    warnings.push("default_upstream ends in /v1, which is put before the request's own /v1");
  }
  if (config.clients.require_key && config.clients.keys.length === 0) {
    warnings.push(
      "clients.require_key is set but clients.keys is empty: every request will be refused",
    );
  }
  return warnings;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function at(value: unknown, ...path: Path): unknown {
  return path.reduce<unknown>((inner, part) => {
    if (Array.isArray(inner) && typeof part === "number") return inner[part];
    return isMap(inner) && Object.hasOwn(inner, part) ? inner[part] : undefined;
  }, value);
}

function items(value: unknown, ...path: Path): unknown[] {
  const inner = at(value, ...path);
  return Array.isArray(inner) ? inner : [];
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
