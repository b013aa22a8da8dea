import { networkInterfaces } from "node:os";
import { Scheduler } from "../admission/scheduler.ts";
import type { Loaded } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { warnOfUnavailable } from "../config/unavailable.ts";
import { watchConfig } from "../config/watch.ts";
import { createControl } from "../control/control.ts";
import type { Log } from "../observe/log.ts";
import { createMetrics } from "../observe/metrics.ts";
import { Strikes } from "../proxy/backoff.ts";
import type { Connection } from "../proxy/pipeline.ts";
import { Pipeline } from "../proxy/pipeline.ts";
import { createGuard, systemLookup } from "../routing/guard.ts";
import { createGlob } from "../routing/rules.ts";
import { createSelf } from "../routing/self.ts";
import type { Core, Runtime } from "../runtime.ts";
import { createRuntime } from "../runtime.ts";
import { openLedger, tellUnwritten } from "../store.ts";
import type { TokenizerFile } from "../tokens/counter.ts";
import { createTokenCounter } from "../tokens/counter.ts";
import { openOverrides } from "../storage/overrides.ts";
import { openLearned } from "../storage/learned.ts";
import { createNeeds } from "../tokens/need.ts";
import { createOutputPredictor } from "../tokens/output.ts";
import { createRatios } from "../tokens/ratio.ts";
import { forwardUrl, startForward } from "./forward.ts";
import type { Listener } from "./http.ts";
import { listen } from "./http.ts";
import { createSteering } from "./steering.ts";
import { quotaStats, statsOf } from "./stats.ts";
import { followCertificate, readCertificate } from "./tls.ts";

export interface StartOptions {
  loaded: Loaded;
  log: Log;
  version: string;
  /** Reads the configuration again, for a reload. @throws UsageError if it is broken. */
  reread: () => Loaded;
}

/** A proxy that accepts connections. */
export interface Running {
  readonly url: string;
  /** Puts the configuration, read again, into force; a broken one changes nothing and is logged. */
  reload(): void;
  /** Stops as the contract says: no new requests, what can still be finished is, usage is kept. */
  stop(): Promise<void>;
}

/** When the token counter is made ready, ms after the start, unless a request has needed it by then. */
const warmUpAfterMs = 500;

/** How long the last answers have to get out, even where `shutdown_timeout` is over. */
const lastAnswersMs = 1_000;

/** Settings that a running process cannot change. */
const fixedKeys = [
  "host",
  "port",
  "proto",
  "tls",
] as const satisfies readonly (keyof Config["server"])[];

/**
 * Starts the proxy; resolves when it accepts connections.
 * @throws OperationError if the address or the store cannot be had; UsageError if a file the configuration names
 *   cannot be read
 */
export async function start({ loaded, log, version, reread }: StartOptions): Promise<Running> {
  const { config } = loaded;
  for (const warning of [...loaded.warnings, ...warnOfUnavailable(config)]) log.warn(warning);
  const tls = readCertificate(config.server);
  const opened = openLedger(config, log);
  const { clock, ledger, breaker, clients, database } = opened;
  const metrics = createMetrics();
  const scheduler = new Scheduler(clock, ledger);
  const guard = createGuard({ lookup: systemLookup, clock });
  const core: Core = { clock, log, metrics, ledger, scheduler, guard, breaker, clients };
  const counter = createTokenCounter({ clock, tokenizers: tokenizersOf(config) });
  const learning = {
    counter,
    ratios: createRatios(),
    outputs: createOutputPredictor(),
    needs: createNeeds(),
    running: new Map(),
  };
  const learned = database === null ? null : openLearned(database, clock, tellUnwritten(log));
  learned?.keep("output/1", learning.outputs.keys);
  learned?.keep("ratio/1", learning.ratios.keys);
  learned?.keep("need/1", learning.needs.keys);
  let draining = false;
  const steering = createSteering(config, database && openOverrides(database), log);
  // Assigned before anything can ask for it: requests are handled in later turns than this one.
  let runtime: Runtime;
  const adopt = (next: Config): void => {
    runtime = createRuntime(core, next, selfOf(next), runtime);
  };

  const control = createControl({
    version,
    startedAt: clock.now(),
    clock,
    ready: () => !draining && ledger.healthy(),
    stats: () => statsOf(runtime, core),
    clearCache: () => {
      const removed = runtime.cache?.clear() ?? 0;
      log.info("cache cleared", { removed });
      return removed;
    },
    limits: () => steering.limits(),
    changeLimit: (name, given) => steering.change(name, given, adopt),
    client: (id) => clients.get(id),
    resetClient: async (id) => {
      const isKnown = await clients.reset(id);
      if (isKnown) log.info("client reset", { client: id });
      return isKnown;
    },
    metrics,
    adminToken: () => runtime.config.server.admin_token,
    trustedProxies: () => runtime.config.server.trusted_proxies,
  });
  metrics.setSources({
    quotas: () => quotaStats(core),
    circuits: () => [...breaker.states()],
    clients: () => ({ tracked: clients.tracked(), limited: clients.limited() }),
  });
  const pipeline = new Pipeline({
    core,
    learning,
    control,
    strikes: new Strikes(),
    server: `cooldown/${version}`,
  });

  const { host, port, idle_timeout: idleTimeoutMs } = config.server;
  let listener: Listener;
  try {
    const handle = (request: Request, connection: Connection): Response | Promise<Response> =>
      pipeline.handle(request, connection, runtime);
    listener = listen({ host, port, tls, idleTimeoutMs, handle });
  } catch (error) {
    ledger.close();
    throw error;
  }
  const selfOf = ({ server }: Config): ReturnType<typeof createSelf> =>
    createSelf({
      host,
      port: listener.port,
      hostnames: server.hostnames,
      defaultPort: tls === null ? 80 : 443,
      machineAddresses,
    });
  runtime = createRuntime(core, steering.config, selfOf(config));
  const forward = await startForward({
    core,
    pipeline,
    server: `cooldown/${version}`,
    runtime: () => runtime,
  });
  if (forward !== null)
    log.info(`forward proxy on ${forwardUrl(forward, config.forward_proxy.host)}`);
  // Not at once: loading a vocabulary holds the first answers up.
  const cancelWarmUp = clock.at(clock.now() + warmUpAfterMs, () => void counter.warmUp());

  const certificate =
    tls === null
      ? null
      : followCertificate({
          clock,
          log,
          server: config.server,
          current: tls,
          renew: (next) => listener.renew(next),
        });

  const reload = (): void => {
    certificate?.reload();
    try {
      const next = reread();
      for (const warning of [...next.warnings, ...warnOfUnavailable(next.config)])
        log.warn(warning);
      const needsRestart = changedFixedKeys(config, next.config);
      if (needsRestart.length > 0)
        log.warn(`needs a restart to change: ${needsRestart.join(", ")}`);
      if (!Bun.deepEquals(next.config.tokenizers, runtime.config.tokenizers))
        counter.use(tokenizersOf(next.config));
      steering.load(next.config, adopt);
      log.setLevel(next.config.server.log_level);
      log.info("configuration reloaded", { source: next.source });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.error(`configuration not reloaded, the old one stays in force: ${reason}`);
    }
  };
  const watch = loaded.path === null ? null : watchConfig(loaded.path, reload, { clock });

  const stop = async (): Promise<void> => {
    draining = true;
    const graceMs = runtime.config.server.shutdown_timeout;
    const deadline = clock.now() + graceMs;
    log.info("shutting down", {
      in_flight: pipeline.running - scheduler.waiting,
      queued: scheduler.waiting,
    });
    watch?.close();
    certificate?.close();
    cancelWarmUp();
    scheduler.drain(graceMs);
    listener.stopAccepting();
    forward?.stopAccepting();
    const inTime = await Promise.race([
      Promise.all([pipeline.idle(), forward?.idle()]).then(() => true),
      new Promise<false>((resolve) => void clock.at(deadline, () => resolve(false))),
    ]);
    if (!inTime)
      log.warn("requests were cut off by shutdown_timeout", { in_flight: pipeline.running });
    const leftMs = Math.max(lastAnswersMs, deadline - clock.now());
    await Promise.all([listener.close(leftMs), forward?.close()]);
    counter.close();
    runtime.upstream.close();
    learned?.close();
    await opened.close();
    log.info("stopped");
    await log.flush();
  };

  const shown =
    host === "0.0.0.0"
      ? "127.0.0.1"
      : host === "::"
        ? "[::1]"
        : host.includes(":")
          ? `[${host}]`
          : host;
  return { url: `${tls === null ? "http" : "https"}://${shown}:${listener.port}`, reload, stop };
}

/** Files with tokenizers, and which models they are for. */
function tokenizersOf({ tokenizers }: Config): readonly TokenizerFile[] {
  return tokenizers.map(({ match, file }) => ({ matches: createGlob(match), file }));
}

function changedFixedKeys(before: Config, after: Config): string[] {
  const changed: string[] = fixedKeys
    .filter((key) => !Bun.deepEquals(before.server[key], after.server[key]))
    .map((key) => `server.${key}`);
  const { host, port, enabled } = before.forward_proxy;
  const { host: nextHost, port: nextPort, enabled: nextEnabled } = after.forward_proxy;
  if (host !== nextHost || port !== nextPort || enabled !== nextEnabled)
    changed.push("forward_proxy");
  if (before.limiter !== after.limiter) changed.push("limiter");
  if (!Bun.deepEquals(before.storage, after.storage)) changed.push("storage");
  return changed;
}

function machineAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).map(({ address }) => address),
  );
}
