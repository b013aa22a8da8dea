import type { Environment } from "./paths.ts";

/** One key of the configuration that can also be given outside the file. */
export interface Setting {
  /** Path of the key in the file. */
  key: string;
  /** Long flag of `serve` with its dashes, or null where there is none. */
  flag: string | null;
  /** What the flag takes, for `--help`. */
  argument: string;
  /** Environment variable, or null where there is none. */
  env: string | null;
  /** For `--help` and the documentation. */
  description: string;
  /** `list` is separated by commas. */
  form: "text" | "list";
}

/** A setting that has a flag. */
export interface FlagSetting extends Setting {
  flag: string;
}

function setting(
  key: string,
  flag: string | null,
  argument: string,
  env: string | null,
  description: string,
): Setting {
  return {
    key,
    flag,
    argument,
    env,
    description,
    form: argument.endsWith(",...") ? "list" : "text",
  };
}

/** Everything that flags (of `serve`) and the environment can set; each wins over the file. */
export const settings: readonly Setting[] = [
  setting("server.host", "--host", "HOST", null, "address to listen on"),
  setting("server.port", "--port", "PORT", "PORT", "port to listen on; 0 picks a free one"),
  setting(
    "server.proto",
    "--proto",
    "http|https",
    null,
    "protocol to speak to clients; https needs server.tls",
  ),
  setting(
    "server.hostnames",
    null,
    "NAME,...",
    "COOLDOWN_HOSTNAMES",
    "further Host values that mean Cooldown itself",
  ),
  setting("server.log_level", "--log-level", "LEVEL", "LOG_LEVEL", "debug, info, warn or error"),
  setting(
    "server.admin_token",
    null,
    "TOKEN",
    "COOLDOWN_ADMIN_TOKEN",
    "token for control routes from other machines",
  ),
  setting(
    "storage.path",
    "--store",
    "PATH|:memory:",
    null,
    "file that usage is kept in, or :memory:",
  ),
  setting("limiter", "--limiter", "memory|sqlite|redis", null, "where usage is kept"),
  setting("redis.url", "--redis-addr", "HOST:PORT|URL", null, "Redis for the redis limiter"),
  setting(
    "clients.rate_limit",
    "--rate-limit",
    "N",
    "RATE_LIMIT",
    "requests a minute for each client; 0 is no limit",
  ),
  setting("clients.burst", "--rate-burst", "N", null, "requests a client may make back to back"),
  setting("inference.workers", "--worker-addrs", "HOST:PORT,...", null, "gRPC workers"),
  setting(
    "server.read_timeout",
    "--read-timeout",
    "DURATION",
    null,
    "longest pause while a request's body arrives",
  ),
  setting(
    "server.write_timeout",
    "--write-timeout",
    "DURATION",
    null,
    "longest time a client may not take what we send",
  ),
  setting(
    "server.idle_timeout",
    "--idle-timeout",
    "DURATION",
    null,
    "longest time a connection may have no traffic",
  ),
  setting(
    "inference.timeout",
    "--inference-timeout",
    "DURATION",
    null,
    "longest time a worker may take",
  ),
  setting(
    "server.shutdown_timeout",
    "--shutdown-timeout",
    "DURATION",
    null,
    "time for requests to finish when stopping",
  ),
  setting(
    "upstream_timeouts.first_byte",
    null,
    "DURATION",
    "REQUEST_TIMEOUT",
    "longest wait for an upstream's answer",
  ),
  setting(
    "default_upstream",
    null,
    "URL",
    "OPENAI_API_URL",
    "where /v1/* goes when Cooldown itself is asked",
  ),
  setting("upstream_proxy", null, "URL", "PROXY_URL", "proxy for outgoing connections"),
  setting(
    "no_proxy",
    null,
    "HOST,...",
    "NO_PROXY",
    "hosts that outgoing connections reach without the proxy",
  ),
  setting(
    "cache.ttl",
    null,
    "DURATION",
    "CACHE_TTL",
    "how long an answer is kept; also turns the cache on",
  ),
  setting("cache.max_size_mb", null, "MB", "MAX_CACHE_SIZE", "most that the cache holds"),
];

/** The flags of `serve`, in the order in which `--help` shows them. */
export const serveFlags: readonly FlagSetting[] = settings.filter(
  (row): row is FlagSetting => row.flag !== null,
);

/** A value given outside the file: for which key, and by what (`--port`, `environment variable PORT`). */
export interface Override {
  key: string;
  value: unknown;
  origin: string;
}

/** Flags by name without the dashes, in either spelling: `log-level` or `logLevel`. */
export type Flags = Readonly<Record<string, string | number | true | undefined>>;

/** What flags and environment say; for a key that both give, only the flag. Empty variables count as unset. */
export function overrides(flags: Flags, env: Environment): Override[] {
  return settings.flatMap((row): Override[] => {
    const byFlag = row.flag === null ? undefined : flagValue(flags, row.flag.slice(2));
    const byEnv = row.env === null ? undefined : env[row.env];
    if (byFlag !== undefined && row.flag !== null) return given(row, String(byFlag), row.flag);
    if (byEnv === undefined || byEnv.trim() === "") return [];
    return given(row, byEnv.trim(), `environment variable ${row.env}`);
  });
}

function given(row: Setting, written: string, origin: string): Override[] {
  const parts = written.split(/[,\s]+/).filter((part) => part !== "");
  const own: Override = {
    key: row.key,
    value: row.form === "list" ? parts : written,
    origin,
  };
  return row.key === "cache.ttl" ? [own, { key: "cache.enabled", value: true, origin }] : [own];
}

function flagValue(flags: Flags, name: string): Flags[string] {
  return (
    flags[name] ?? flags[name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase())]
  );
}
