import type { AccountSpec } from "../ledger/account.ts";
import type { Unit } from "../limit/cost.ts";
import type { LimitSpec, WindowName } from "../limit/limit.ts";
import { windowMs } from "../limit/limit.ts";
import { extraLimits } from "../provider/meter.ts";
import type {
  CerebrasLimitsConfig,
  Config,
  DefaultRateLimitConfig,
  QuotaConfig,
  RateLimitConfig,
} from "./schema.ts";
import type { quotaLimits } from "./schema.ts";

/** What each limit of a quota counts, over which window. */
const meaning = {
  rps: ["requests", "second"],
  rpm: ["requests", "minute"],
  rph: ["requests", "hour"],
  rpd: ["requests", "day"],
  tpm: ["tokens", "minute"],
  tph: ["tokens", "hour"],
  tpd: ["tokens", "day"],
  input_tpm: ["input_tokens", "minute"],
  output_tpm: ["output_tokens", "minute"],
  total_tpm: ["total_tokens", "minute"],
} as const satisfies Record<keyof typeof quotaLimits, readonly [Unit, WindowName]>;

const limitNames = Object.keys(meaning) as (keyof typeof meaning)[];

/** Where Cerebras answers. */
export const cerebrasDomains = ["api.cerebras.ai", "inference.cerebras.ai"];

/** How much later than sent an upstream may count a request, unless the file says otherwise: 1 s, or a tenth. */
function defaultMarginMs(window: WindowName): number {
  return Math.min(1_000, windowMs[window] / 10);
}

/** All quotas in the order in which they are tried: those of `quotas`, then `cerebras_limits`. */
export function allQuotas(config: Config): QuotaConfig[] {
  const isTaken = config.quotas.some(({ name }) => name === "cerebras");
  const builtIn = cerebrasQuota(config.cerebras_limits);
  return [...config.quotas, isTaken ? { ...builtIn, name: "cerebras_limits" } : builtIn];
}

/** `cerebras_limits` as the quota that it stands for. */
function cerebrasQuota({ rpm_limit, tpm_limit, ...rest }: CerebrasLimitsConfig): QuotaConfig {
  return {
    ...rest,
    name: "cerebras",
    domain: cerebrasDomains,
    models: ["*"],
    per: [],
    provider: "cerebras",
    algorithm: "sliding_window",
    arrival_margin: null,
    rps: null,
    rpm: rpm_limit,
    rph: null,
    rpd: null,
    tpm: tpm_limit,
    tph: null,
    tpd: null,
    input_tpm: null,
    output_tpm: null,
    total_tpm: null,
    max_concurrency: null,
    api_keys: [],
    right_size_max_tokens: false,
  };
}

/** Which of a quota's copies a request belongs to, where it has `per`. */
export interface Share {
  model: string;
  /** A name of the credential that does not give it away. */
  credential: string;
}

/** The account of a quota, or of the copy of it that `share` belongs to. */
export function quotaAccount(
  quota: QuotaConfig,
  groups: ReadonlyMap<string, string>,
  share: Share,
): AccountSpec {
  const parts = quota.per.map((part) => `${part}=${share[part]}`);
  const label = [quota.name, ...parts].join(" ");
  const name = `quota ${label}`;
  return {
    name,
    label,
    // Copies are planned apart, unless a rate limit that they share makes them wait for each other anyway.
    group: groups.get(`quota ${quota.name}`) ?? name,
    limits: limitsOf(quota),
    maxQueueDepth: quota.max_queue_depth,
    requestTimeoutMs: quota.request_timeout,
    priorityThreshold: quota.priority_threshold,
    learns: true,
  };
}

/** The account of one key of `api_keys`, where `account` is that of the quota. The name does not give the key away. */
export function keyAccount(account: AccountSpec, key: string): AccountSpec {
  const digest = new Bun.CryptoHasher("sha256").update(key).digest("hex").slice(0, 12);
  return {
    ...account,
    name: `${account.name}${keyMark}${digest}`,
    label: `${account.label}${keyMark}${digest}`,
  };
}

/** What requests wait for where any of several keys will do: it limits nothing itself. */
export function poolAccount(account: AccountSpec): AccountSpec {
  return { ...account, limits: [], learns: false };
}

/** Between the name of a quota's account and that of the key that one of its copies belongs to. */
const keyMark = " key=";

/** Whether an account of that name is that of a key. */
export function isKeyAccount(name: string): boolean {
  return name.includes(keyMark);
}

/** The account of a host that `default_upstream` or `models` names and nothing limits: only a hold ever does. */
export function openAccount(host: string): AccountSpec {
  const name = `open ${host}`;
  return {
    name,
    label: host,
    group: name,
    limits: [],
    maxQueueDepth: 100,
    requestTimeoutMs: 600_000,
    priorityThreshold: null,
  };
}

/** The account of a rule of `rate_limits`. */
export function ruleAccount(
  rule: RateLimitConfig,
  groups: ReadonlyMap<string, string>,
): AccountSpec {
  const name = `rule ${rule.domain}`;
  return { ...bucket(rule), name, label: rule.domain, group: groups.get(name) ?? name };
}

/** The account of a host that no rule and no quota mentions. */
export function defaultAccount(limit: DefaultRateLimitConfig, host: string): AccountSpec {
  const name = `default ${host}`;
  return { ...bucket(limit), name, label: host, group: name };
}

function bucket(
  limit: RateLimitConfig | DefaultRateLimitConfig,
): Omit<AccountSpec, "name" | "label" | "group"> {
  return {
    limits: [
      { kind: "leaky_bucket", requestsPerSecond: limit.requests_per_second, burst: limit.burst },
      ...concurrency(limit.max_concurrency),
    ],
    maxQueueDepth: limit.max_queue_depth,
    requestTimeoutMs: limit.request_timeout,
    priorityThreshold: null,
  };
}

function limitsOf(quota: QuotaConfig): LimitSpec[] {
  const limits: LimitSpec[] = [];
  for (const name of limitNames) {
    const limit = quota[name];
    if (limit === null) continue;
    const [unit, window] = meaning[name];
    const marginMs = quota.arrival_margin ?? defaultMarginMs(window);
    limits.push({ kind: quota.algorithm, unit, window, limit, marginMs });
  }
  const given = limitNames.flatMap((name) => {
    const limit = quota[name];
    const [unit, window] = meaning[name];
    return limit === null ? [] : [{ unit, window, limit }];
  });
  return [...limits, ...extraLimits(quota.provider, given), ...concurrency(quota.max_concurrency)];
}

function concurrency(max: number | null): LimitSpec[] {
  return max === null ? [] : [{ kind: "concurrency", max }];
}

/**
 * Which accounts one request may need together, directly or through others: from account name (without the copies of
 * `per`) to the name of its group. Accounts that stand alone are not in it.
 */
export function groupAccounts(config: Config): Map<string, string> {
  const members = [
    ...config.rate_limits.map(({ domain }) => ({
      name: `rule ${domain}`,
      domains: [domain],
      quota: false,
    })),
    ...allQuotas(config).map(({ name, domain }) => ({
      name: `quota ${name}`,
      domains: domain,
      quota: true,
    })),
  ];
  const parents = new Map(members.map(({ name }) => [name, name]));
  const root = (name: string): string => {
    const parent = parents.get(name) ?? name;
    return parent === name ? name : root(parent);
  };
  for (const rule of members) {
    for (const quota of members) {
      if (
        rule.quota ||
        !quota.quota ||
        !rule.domains.some((a) => quota.domains.some((b) => overlap(a, b)))
      )
        continue;
      parents.set(root(quota.name), root(rule.name));
    }
  }
  const sizes = new Map<string, number>();
  for (const { name } of members) sizes.set(root(name), (sizes.get(root(name)) ?? 0) + 1);
  const shared = members.filter(({ name }) => (sizes.get(root(name)) ?? 0) > 1);
  return new Map(shared.map(({ name }) => [name, root(name)]));
}

/** Whether one host can match both patterns. */
function overlap(a: string, b: string): boolean {
  if (a.startsWith("*.") && b.startsWith("*."))
    return a.endsWith(b.slice(1)) || b.endsWith(a.slice(1));
  if (a.startsWith("*.")) return withoutPort(b).endsWith(a.slice(1));
  if (b.startsWith("*.")) return withoutPort(a).endsWith(b.slice(1));
  return a === b || withoutPort(a) === withoutPort(b);
}

function withoutPort(domain: string): string {
  return domain.replace(/:\d+$/, "");
}
