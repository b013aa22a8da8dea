import { Path } from "./admission/path.ts";
import type { Scheduler } from "./admission/scheduler.ts";
import type { Identifier } from "./client/identity.ts";
import { createIdentifier } from "./client/identity.ts";
import type { ClientLimiter } from "./client/limiter.ts";
import type { Breaker } from "./breaker.ts";
import type { Coalescer } from "./cache/coalescer.ts";
import { createCoalescer } from "./cache/coalescer.ts";
import { ResponseCache } from "./cache/response-cache.ts";
import type { Clock } from "./clock.ts";
import type { Share } from "./config/quotas.ts";
import { adopt } from "./config/adopt.ts";
import {
  allQuotas,
  defaultAccount,
  groupAccounts,
  keyAccount,
  openAccount,
  poolAccount,
  quotaAccount,
  ruleAccount,
} from "./config/quotas.ts";
import type { Config, QuotaConfig, RateLimitConfig } from "./config/schema.ts";
import type { Account, AccountSpec } from "./ledger/account.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Log } from "./observe/log.ts";
import type { Metrics } from "./observe/metrics.ts";
import type { Guard } from "./routing/guard.ts";
import type { Self } from "./routing/self.ts";
import type { Routing, UpstreamRoute } from "./routing/target.ts";
import type { Blocklist } from "./routing/blocklist.ts";
import { createBlocklist } from "./routing/blocklist.ts";
import { createDomainTable, createGlob, createQuotaTable } from "./routing/rules.ts";
import type { Deadlines } from "./upstream/deadlines.ts";
import { createDeadlines } from "./upstream/deadlines.ts";
import type { Upstream } from "./upstream/upstream.ts";
import { createHttpUpstream } from "./upstream/http.ts";
import type { OutgoingProxy } from "./upstream/outgoing-proxy.ts";
import { authoritiesWith, createOutgoingProxy, proxyFor } from "./upstream/outgoing-proxy.ts";

/** When there are this many paths, those of hosts, models and credentials that clients made up are looked through. */
const maxMadeUp = 10_000;

/** How long it is believed that nothing more was learned, ms: looking goes through all accounts. */
const rememberLearnedMs = 100;

/** What belongs to the process and lives through reloads. */
export interface Core {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly ledger: Ledger;
  readonly scheduler: Scheduler;
  readonly guard: Guard;
  readonly breaker: Breaker;
  /** What each client may ask for. */
  readonly clients: ClientLimiter;
}

/** What a request needs room in. */
export interface Needs {
  readonly path: Path;
  readonly quota: Account | null;
}

/** One configuration, compiled. A reload makes another; requests that have begun keep theirs. */
export interface Runtime {
  readonly clock: Clock;
  readonly config: Config;
  readonly routing: Routing<RateLimitConfig, QuotaConfig>;
  readonly identifier: Identifier;
  readonly upstream: Upstream;
  /** Whom we do not serve, and what we do not forward to. */
  readonly blocklist: Blocklist;
  /** The proxy that outgoing connections go through, null for none. */
  readonly proxy: OutgoingProxy | null;
  /** Certificates of all authorities trusted, null for the built-in ones. */
  readonly authorities: readonly string[] | null;
  /**
   * The addresses that a call to `url` may connect to; null where the operator has written its host.
   * @param host the one to be guarded, null for none
   * @throws ProxyError as `Guard.check` does
   */
  addresses(
    host: string | null,
    url: string,
  ): readonly string[] | null | Promise<readonly string[]>;
  /** Answers kept, null where that is off. */
  readonly cache: ResponseCache | null;
  /** Answers on their way, null where they are not shared. */
  readonly coalescer: Coalescer | null;
  /** How long an upstream may send nothing while it answers. */
  readonly idle: Deadlines;
  /** How long a client may send nothing of its body, and how long it may take nothing of an answer. */
  readonly arriving: { readonly pauseMs: number; readonly deadlines: Deadlines };
  readonly taking: Deadlines;
  /** Whether `/v1/*` is routed by the model a request names. */
  readonly routesByModel: boolean;
  /** Where `/v1/*` goes for `model`. */
  upstreamOf(model: string): string;
  /** Whether the provider's answers have set a limit on tokens that the file leaves open. */
  learnedTokens(quota: QuotaConfig): boolean;
  /** The key of `api_keys` to send with what was admitted on `path`; null where the client's own goes out. */
  keyOf(path: Path): string | null;
  /** The limits on a route's way when `quota` applies. */
  needs(
    route: UpstreamRoute<RateLimitConfig, QuotaConfig>,
    quota: QuotaConfig | null,
    share: Share,
  ): Needs;
}

/**
 * Compiles `config` and puts its limits into force: accounts of the same name keep what is used, what waits is
 * planned anew. Nothing has changed if it throws.
 *
 * @param before the runtime that this one takes over from; its connections are kept where they can be
 * @throws UsageError if a file that the configuration names cannot be read
 */
export function createRuntime(
  core: Core,
  config: Config,
  self: Self,
  before: Runtime | null = null,
): Runtime {
  const { ledger, clock, scheduler } = core;
  const out = createUpstream(clock, config, before);
  const { blocklist: domains, blocked_ips: networks } = config.forward_proxy;
  const blocklist = createBlocklist(domains, networks);
  const groups = groupAccounts(config);
  const quotas = allQuotas(config);
  const paths = new Map<string, Path>();
  const routes = config.models.map(({ match, upstream }) => ({
    matches: createGlob(match),
    upstream,
  }));

  const specs = new Map<object, AccountSpec>(
    config.rate_limits.map((rule) => [rule, ruleAccount(rule, groups)]),
  );
  for (const quota of quotas) {
    if (quota.per.length === 0)
      specs.set(quota, quotaAccount(quota, groups, { model: "", credential: "" }));
  }

  const specsInForce = [
    ...config.rate_limits.flatMap((rule) => specs.get(rule) ?? []),
    ...quotas.flatMap((quota) => {
      const spec = specs.get(quota);
      if (spec === undefined || quota.api_keys.length === 0) return spec ?? [];
      return [poolAccount(spec), ...quota.api_keys.map((key) => keyAccount(spec, key))];
    }),
  ];
  const configured = new Set(specsInForce.map(({ name }) => name));
  let mostPaths = maxMadeUp;

  const pathOf = (specs: readonly AccountSpec[], alternatives: readonly Path[] = []): Path => {
    const key = specs.map(({ name }) => name).join("\n");
    let path = paths.get(key);
    if (path === undefined) {
      if (paths.size >= mostPaths) {
        // A path may not outlive its accounts, or one quota would be counted in two places.
        paths.clear();
        forgetIdle(ledger, configured, clock.now());
        mostPaths = Math.max(maxMadeUp, 2 * [...ledger.accounts()].length);
      }
      path = new Path(
        specs.map((spec) => ledger.account(spec)),
        alternatives,
      );
      paths.set(key, path);
    }
    return path;
  };

  /** What configured accounts make up, which stays the same; by rule and quota. */
  const fixed = new Map<RateLimitConfig | null, Map<QuotaConfig | null, Needs>>();
  const needs: Runtime["needs"] = (route, quota, share) => {
    const rule = route.rule?.value ?? null;
    const known = fixed.get(rule)?.get(quota);
    if (known !== undefined) return known;
    const found = look(route, quota, share);
    if ((rule === null && quota === null) || (quota?.per.length ?? 0) > 0) return found;
    const ofRule = fixed.get(rule) ?? new Map<QuotaConfig | null, Needs>();
    fixed.set(rule, ofRule.set(quota, found));
    return found;
  };
  const look: Runtime["needs"] = (route, quota, share) => {
    const ruleSpec = route.rule === null ? undefined : specs.get(route.rule.value);
    const quotaSpec =
      quota === null ? undefined : (specs.get(quota) ?? quotaAccount(quota, groups, share));
    const before = ruleSpec === undefined ? [] : [ruleSpec];
    if (quota !== null && quotaSpec !== undefined && quota.api_keys.length > 0) {
      const alternatives = quota.api_keys.map((key) => {
        const path = pathOf([...before, keyAccount(quotaSpec, key)]);
        keys.set(path, key);
        return path;
      });
      const pool = pathOf([...before, poolAccount(quotaSpec)], alternatives);
      return { path: pool, quota: pool.accounts.at(-1) ?? null };
    }
    const wanted = quotaSpec === undefined ? before : [...before, quotaSpec];
    if (wanted.length === 0) {
      const { host } = route;
      const unruled = defaultAccount(config.default_rate_limit, host);
      wanted.push(route.via === "v1" ? openAccount(host) : unruled);
    }
    const path = pathOf(wanted);
    return { path, quota: quotaSpec === undefined ? null : (path.accounts.at(-1) ?? null) };
  };

  core.clients.configure(config.clients);
  const learnedTokens = new Map<QuotaConfig, { found: boolean; until: number }>();
  adopt(ledger, specsInForce, config);
  const runtime = Object.freeze({
    clock,
    config,
    routing: {
      self,
      rules: createDomainTable(config.rate_limits.map((rule) => [rule.domain, rule] as const)),
      quotasOf: createQuotaTable(
        quotas.map((quota) => ({ domains: quota.domain, models: quota.models, quota })),
      ),
      blocks: (host) => blocklist.blocksHost(host),
      known: new Map(),
      openToUnknownDomains: config.default_rate_limit.explicit || config.clients.require_key,
    },
    identifier: createIdentifier({
      ...config.clients,
      trusted_proxies: config.server.trusted_proxies,
    }),
    ...out,
    ...createPatience(clock, config, before),
    blocklist,
    addresses: (host, url) =>
      host === null
        ? null
        : core.guard.check(host, proxyFor(out.proxy, url) === null ? "refuse" : "allow"),
    ...createSharing(clock, config, before),
    routesByModel: routes.length > 0,
    upstreamOf: (model) =>
      routes.find(({ matches }) => matches(model))?.upstream ?? config.default_upstream,
    needs,
    keyOf: (path) => keys.get(path) ?? null,
    learnedTokens: (quota) => {
      const now = clock.now();
      const before = learnedTokens.get(quota);
      if (before !== undefined && now < before.until) return before.found;
      const name = `quota ${quota.name}`;
      // The quota's account, or any of its copies: by key, model or credential.
      const found = [...ledger.accounts()].some(
        (account) =>
          account.learned.some((limit) => "unit" in limit && limit.unit !== "requests") &&
          (account.name === name || account.name.startsWith(`${name} `)),
      );
      learnedTokens.set(quota, { found, until: now + rememberLearnedMs });
      return found;
    },
  } satisfies Runtime);
  if (before !== null) successors.set(before, runtime);
  scheduler.replan();
  return runtime;
}

/** What took over from each. */
const successors = new WeakMap<Runtime, Runtime>();

/** The one in force now of those that have taken over from `runtime`, one after the other. */
export function inForce(runtime: Runtime): Runtime {
  let last = runtime;
  for (let next = successors.get(last); next !== undefined; next = successors.get(last))
    last = next;
  return last;
}

/** The key of `api_keys` that goes out with what was admitted on a path; a request may wait through a reload. */
const keys = new WeakMap<Path, string>();

/**
 * What is kept and shared of answers: that of `before`, unless it would answer otherwise than the new configuration.
 * Limits may change: they have no part in answers.
 */
function createSharing(
  clock: Clock,
  config: Config,
  before: Runtime | null,
): Pick<Runtime, "cache" | "coalescer"> {
  const { enabled, ttl: ttlMs, max_size_mb: megabytes } = config.cache;
  const stays = before !== null && Bun.deepEquals(originsIn(before.config), originsIn(config));
  const keeps = stays && Bun.deepEquals(before.config.cache, config.cache);
  const cache = (): ResponseCache =>
    (keeps ? before.cache : null) ??
    new ResponseCache({ clock, ttlMs, maxBytes: megabytes * 1024 * 1024 });
  const coalescer = (): Coalescer => (stays ? before.coalescer : null) ?? createCoalescer();
  return { cache: enabled ? cache() : null, coalescer: config.coalesce ? coalescer() : null };
}

/** All that decides on who answers a question. */
function originsIn(config: Config): unknown {
  const { rate_limits, cerebras_limits, models, default_upstream } = config;
  const rules = rate_limits.map(({ domain, upstream }) => [domain, upstream]);
  const quotas = config.quotas.map((quota) => [
    quota.domain,
    quota.models,
    quota.upstream,
    quota.api_keys,
  ]);
  return [rules, quotas, cerebras_limits.upstream, models, default_upstream];
}

/** The way out, that of `before` where nothing about it has changed. */
function createUpstream(
  clock: Clock,
  config: Config,
  before: Runtime | null,
): Pick<Runtime, "upstream" | "idle" | "proxy" | "authorities"> {
  const { upstream_timeouts: timeouts, extra_ca: extraCa } = config;
  const { upstream_proxy: proxyUrl, no_proxy: noProxy } = config;
  if (
    before !== null &&
    Bun.deepEquals(before.config.upstream_timeouts, timeouts) &&
    before.config.extra_ca === extraCa &&
    before.config.upstream_proxy === proxyUrl &&
    Bun.deepEquals(before.config.no_proxy, noProxy)
  ) {
    const { upstream, idle, proxy, authorities } = before;
    return { upstream, idle, proxy, authorities };
  }
  const authorities = extraCa === null ? null : authoritiesWith(extraCa);
  const proxy = createOutgoingProxy(proxyUrl, noProxy);
  const upstream = createHttpUpstream({
    clock,
    timeouts: { connectMs: timeouts.connect, firstByteMs: timeouts.first_byte },
    ca: authorities,
    proxy,
  });
  return { upstream, idle: createDeadlines(clock, timeouts.idle), proxy, authorities };
}

/** How long clients may take, with the waits of `before` where that has not changed. */
function createPatience(
  clock: Clock,
  { server }: Config,
  before: Runtime | null,
): Pick<Runtime, "arriving" | "taking"> {
  const { read_timeout: pauseMs, write_timeout: takeMs } = server;
  const old = before?.config.server;
  return {
    arriving:
      before !== null && old?.read_timeout === pauseMs
        ? before.arriving
        : { pauseMs, deadlines: createDeadlines(clock, pauseMs) },
    taking:
      before !== null && old?.write_timeout === takeMs
        ? before.taking
        : createDeadlines(clock, takeMs),
  };
}

/** Forgets accounts that hosts, models and credentials made up, where nothing is charged to them any more. */
function forgetIdle(ledger: Ledger, configured: ReadonlySet<string>, now: number): void {
  for (const account of ledger.accounts()) {
    if (!configured.has(account.name) && account.idle(now)) ledger.forget(account);
  }
}
