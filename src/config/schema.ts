import * as v from "valibot";
import {
  cidr,
  decimal,
  domain,
  duration,
  flag,
  list,
  named,
  oneOf,
  oneOrMore,
  port,
  secret,
  section,
  size,
  text,
  upstreamUrl,
  whole,
} from "./fields.ts";
import { providers } from "../provider/provider.ts";
import { providerOf } from "./providers.ts";
import {
  readBindAddress,
  readIdentity,
  readKeyHash,
  readName,
  readProxyUrl,
  readRedisUrl,
  readWorker,
} from "./readers.ts";
import { readDomain } from "./domain.ts";

/**
 * Every key of the configuration file with its default (contract, section 2). An absent key and an empty one
 * (`key:`, which YAML reads as null) both mean the default; defaults stand here as they would in the file.
 */
const { nullish } = v;

/** What waits, how long, and how much of it runs at once: the same for every kind of limit. */
const queueing = {
  max_queue_depth: nullish(whole(0), 100),
  request_timeout: nullish(duration(), "10m"),
} as const;

const concurrency = { max_concurrency: nullish(whole(1), null) } as const;

const server = v.pipe(
  section({
    host: nullish(text(readBindAddress), "localhost"),
    port: nullish(port(0), 8080),
    proto: nullish(oneOf(["http", "https"]), null),
    hostnames: nullish(list(domain("exact")), []),
    log_level: nullish(oneOf(["debug", "info", "warn", "error"]), "info"),
    log_format: nullish(oneOf(["auto", "pretty", "json"]), "auto"),
    admin_token: nullish(secret(), null),
    tls: nullish(section({ cert: nullish(text(), null), key: nullish(text(), null) }), {}),
    read_timeout: nullish(duration(), "30s"),
    write_timeout: nullish(duration(), "60s"),
    idle_timeout: nullish(duration(), "120s"),
    shutdown_timeout: nullish(duration("zero"), "30s"),
    max_body_size: nullish(size(), "100MB"),
    trusted_proxies: nullish(list(cidr()), []),
  }),
  v.transform((given) => ({
    ...given,
    proto: given.proto ?? (given.tls.cert === null ? "http" : "https"),
  })),
);

export const rateLimitKeys = section({
  domain: domain("wildcard"),
  requests_per_second: nullish(decimal({ min: 0, exclusive: true }), 1),
  burst: nullish(whole(1), 1),
  upstream: nullish(upstreamUrl(), null),
  ...queueing,
  ...concurrency,
});

export const defaultRateLimitKeys = section({
  requests_per_second: nullish(decimal({ min: 0, exclusive: true }), 1),
  burst: nullish(whole(1), 1),
  ...queueing,
  ...concurrency,
});

/** `explicit` tells whether the file set it itself: only then does it open unlisted domains to other machines. */
const defaultRateLimit = v.pipe(
  v.nullish(defaultRateLimitKeys, null),
  v.transform((given) => ({
    ...(given ?? v.parse(defaultRateLimitKeys, {})),
    explicit: given !== null,
  })),
);

export const cerebrasLimitKeys = section({
  rpm_limit: nullish(whole(1), 1_000),
  tpm_limit: nullish(whole(1), 1_000_000),
  ...queueing,
  priority_threshold: nullish(decimal({ min: 0, max: 1 }), 0.7),
  upstream: nullish(upstreamUrl(), null),
});

/** The limits of a quota, requests or tokens in a window; null is no such limit. */
export const quotaLimits = {
  rps: nullish(whole(1), null),
  rpm: nullish(whole(1), null),
  rph: nullish(whole(1), null),
  rpd: nullish(whole(1), null),
  tpm: nullish(whole(1), null),
  tph: nullish(whole(1), null),
  tpd: nullish(whole(1), null),
  input_tpm: nullish(whole(1), null),
  output_tpm: nullish(whole(1), null),
  total_tpm: nullish(whole(1), null),
} as const;

export const quotaKeys = section({
  name: nullish(text(readName), null),
  domain: oneOrMore((name) => readDomain(name, { wildcard: true }), "domain"),
  models: nullish(
    oneOrMore((glob) => ({ value: glob }), "pattern of model names"),
    ["*"],
  ),
  per: nullish(list(oneOf(["model", "credential"])), []),
  provider: nullish(oneOf(providers), null),
  algorithm: nullish(oneOf(["sliding_window", "token_bucket"]), "sliding_window"),
  arrival_margin: nullish(duration("zero"), null),
  ...quotaLimits,
  ...concurrency,
  ...queueing,
  priority_threshold: nullish(decimal({ min: 0, max: 1 }), 0.7),
  upstream: nullish(upstreamUrl(), null),
  api_keys: nullish(list(secret()), []),
  right_size_max_tokens: nullish(flag(), false),
});

const quota = v.pipe(
  quotaKeys,
  v.transform((given) => ({
    ...given,
    name: given.name ?? given.domain[0] ?? "",
    provider: given.provider ?? providerOf(given.domain[0] ?? ""),
  })),
);

const tier = section({
  rpm: nullish(whole(1), null),
  tpm: nullish(whole(1), null),
  priority: nullish(oneOf(["high", "normal", "low"]), "normal"),
  weight: nullish(decimal({ min: 0, exclusive: true, max: 1_000 }), 1),
});

const clients = section({
  identify_by: nullish(oneOrMore(readIdentity, "way to tell clients apart"), ["api_key", "ip"]),
  rate_limit: nullish(whole(0), 0),
  burst: nullish(whole(1), null),
  algorithm: nullish(oneOf(["token_bucket", "sliding_window", "leaky_bucket"]), "token_bucket"),
  idle_ttl: nullish(duration(), "1h"),
  require_key: nullish(flag(), false),
  tiers: nullish(named(readName, nullish(tier, {})), {}),
  keys: nullish(
    list(
      section({
        name: text(readName),
        key: nullish(secret(), null),
        key_sha256: nullish(secret(readKeyHash), null),
        tier: nullish(text(), null),
      }),
    ),
    [],
  ),
});

export const configSchema = section({
  server: nullish(server, {}),
  limiter: nullish(oneOf(["memory", "sqlite", "redis"]), "sqlite"),
  storage: nullish(
    section({
      path: nullish(text(), null),
      durability: nullish(oneOf(["process", "power"]), "process"),
    }),
    {},
  ),
  upstream_timeouts: nullish(
    section({
      connect: nullish(duration(), "10s"),
      first_byte: nullish(duration(), "10m"),
      idle: nullish(duration(), "5m"),
    }),
    {},
  ),
  extra_ca: nullish(text(), null),
  rate_limits: nullish(list(rateLimitKeys), []),
  default_rate_limit: defaultRateLimit,
  cerebras_limits: nullish(cerebrasLimitKeys, {}),
  quotas: nullish(list(quota), []),
  default_upstream: nullish(upstreamUrl(), "https://api.openai.com"),
  models: nullish(list(section({ match: text(), upstream: upstreamUrl() })), []),
  tokenizers: nullish(list(section({ match: text(), file: text() })), []),
  upstream_proxy: nullish(text(readProxyUrl), null),
  no_proxy: nullish(list(text((input) => ({ value: input.trim().toLowerCase() }))), []),
  clients: nullish(clients, {}),
  cache: nullish(
    section({
      enabled: nullish(flag(), false),
      ttl: nullish(duration(), "5m"),
      max_size_mb: nullish(decimal({ min: 0, exclusive: true, max: 1_000_000 }), 100),
    }),
    {},
  ),
  coalesce: nullish(flag(), false),
  forward_proxy: nullish(
    section({
      enabled: nullish(flag(), false),
      host: nullish(text(readBindAddress), "localhost"),
      port: nullish(port(0), 3128),
      blocklist: nullish(list(domain("wildcard")), []),
      blocked_ips: nullish(list(cidr()), []),
      connect_ports: nullish(list(port(1)), [443]),
    }),
    {},
  ),
  redis: nullish(
    section({
      url: nullish(secret(readRedisUrl), null),
      prefix: nullish(text(), "cooldown:"),
      on_failure: nullish(oneOf(["closed", "open", "local"]), "closed"),
    }),
    {},
  ),
  inference: nullish(
    section({
      workers: nullish(list(text(readWorker)), []),
      timeout: nullish(duration(), "5m"),
    }),
    {},
  ),
});

/** The configuration as the file gives it, checked and with defaults: durations in ms, sizes in bytes. */
type Checked = v.InferOutput<typeof configSchema>;

/**
 * The effective configuration. Names are those of the file; durations are milliseconds, sizes bytes, domains
 * lowercased. File names are absolute; `storage.path` may also be `:memory:`, usage kept in memory alone.
 */
export interface Config extends Omit<Checked, "storage"> {
  storage: { path: string; durability: "process" | "power" };
}

export type ServerConfig = Config["server"];
export type RateLimitConfig = Config["rate_limits"][number];
export type DefaultRateLimitConfig = Config["default_rate_limit"];
export type CerebrasLimitsConfig = Config["cerebras_limits"];
export type QuotaConfig = Config["quotas"][number];
export type ModelRouteConfig = Config["models"][number];
export type ClientsConfig = Config["clients"];
export type TierConfig = ClientsConfig["tiers"][string];
/** The wire format and accounting of a quota. */
export type ProviderName = QuotaConfig["provider"];

/** Paths of all keys: `server.tls.cert`, `rate_limits[].domain`, `clients.tiers.*.rpm`. */
export function schemaKeys(): string[] {
  return keysUnder(configSchema as Node, "");
}

/** The parts of a valibot schema that hold further schemas. */
interface Node {
  entries?: Readonly<Record<string, Node>>;
  wrapped?: Node;
  item?: Node;
  value?: Node;
}

function keysUnder(node: Node, path: string): string[] {
  if (node.wrapped !== undefined) return keysUnder(node.wrapped, path);
  if (node.item !== undefined) return keysUnder(node.item, `${path}[]`);
  if (node.value !== undefined) return keysUnder(node.value, `${path}.*`);
  return Object.entries(node.entries ?? {}).flatMap(([key, child]) => {
    const own = path === "" ? key : `${path}.${key}`;
    return [own, ...keysUnder(child, own)];
  });
}
