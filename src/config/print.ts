import { stringify } from "yaml";
import { formatDuration } from "./duration.ts";
import { hidden, redactUrl } from "./redact.ts";
import type { Config } from "./schema.ts";
import { formatSize } from "./size.ts";

const secret = (): string => hidden;
const ofText = (show: (text: string) => string) => (value: unknown) =>
  typeof value === "string" ? show(value) : value;
const ofNumber = (show: (n: number) => string) => (value: unknown) =>
  typeof value === "number" ? show(value) : value;
const url = ofText(redactUrl);
const duration = ofNumber(formatDuration);
const size = ofNumber(formatSize);

/** How keys are shown whose value is not shown as it is, by path; `*` is any one key or place in a list. */
const shown: Readonly<Record<string, (value: unknown) => unknown>> = {
  "server.admin_token": secret,
  "server.read_timeout": duration,
  "server.write_timeout": duration,
  "server.idle_timeout": duration,
  "server.shutdown_timeout": duration,
  "server.max_body_size": size,
  "upstream_timeouts.*": duration,
  "rate_limits.*.request_timeout": duration,
  "rate_limits.*.upstream": url,
  "default_rate_limit.request_timeout": duration,
  "cerebras_limits.request_timeout": duration,
  "cerebras_limits.upstream": url,
  "quotas.*.arrival_margin": duration,
  "quotas.*.request_timeout": duration,
  "quotas.*.upstream": url,
  "quotas.*.api_keys.*": secret,
  default_upstream: url,
  "models.*.upstream": url,
  upstream_proxy: url,
  "clients.idle_ttl": duration,
  "clients.keys.*.key": secret,
  "clients.keys.*.key_sha256": secret,
  "cache.ttl": duration,
  "redis.url": url,
  "inference.workers.*": url,
  "inference.timeout": duration,
};

/**
 * The configuration as a YAML file that could be loaded again but for its secrets, which read `***`: tokens,
 * keys, and the passwords inside URLs. Durations and sizes are written as people do.
 */
export function printConfig(config: Config): string {
  const { explicit: _, ...defaultRateLimit } = config.default_rate_limit;
  return stringify(show({ ...config, default_rate_limit: defaultRateLimit }, []), {
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
}

function show(value: unknown, path: readonly string[]): unknown {
  const format = value === null ? undefined : formatFor(path);
  if (format !== undefined) return format(value);
  if (Array.isArray(value)) return value.map((item, index) => show(item, [...path, String(index)]));
  if (typeof value !== "object" || value === null) return literal(value);
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, show(inner, [...path, key])]),
  );
}

/** Text that would be taken for a variable when loaded again. */
function literal(value: unknown): unknown {
  return typeof value === "string" ? value.replaceAll("${", () => "$${") : value;
}

function formatFor(path: readonly string[]): ((value: unknown) => unknown) | undefined {
  const row = Object.entries(shown).find(([pattern]) => {
    const parts = pattern.split(".");
    return (
      parts.length === path.length &&
      parts.every((part, index) => part === "*" || part === path[index])
    );
  });
  return row?.[1];
}
