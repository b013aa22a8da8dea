import type { Database } from "bun:sqlite";
import type { CircuitNews } from "./breaker.ts";
import { Breaker } from "./breaker.ts";
import type { ClientLimiter } from "./client/limiter.ts";
import { ClientLimits } from "./client/limits.ts";
import { SharedClientLimits } from "./client/shared-limits.ts";
import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import type { Config } from "./config/schema.ts";
import { ledgerMigrations } from "./ledger/journal.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Board } from "./ledger/redis-board.ts";
import { MemoryLedger } from "./ledger/memory.ts";
import { RedisServer } from "./ledger/redis-store.ts";
import { RedisLedger } from "./ledger/redis.ts";
import { SqliteLedger } from "./ledger/sqlite.ts";
import type { Log } from "./observe/log.ts";
import { clientsMigration, keepClients } from "./storage/clients.ts";
import { learnedMigration } from "./storage/learned.ts";
import { overridesMigration } from "./storage/overrides.ts";
import { openDatabase } from "./storage/sqlite.ts";
import { authoritiesWith } from "./upstream/outgoing-proxy.ts";

/** Circuits are remembered for so long after they could be tried again, ms. */
const circuitMs = 10 * 60_000;

/** Where usage is kept. */
export interface Opened {
  readonly clock: Clock;
  readonly ledger: Ledger;
  /** Opens where one of the processes that share the ledger has seen too many failures. */
  readonly breaker: Breaker;
  /** What each client may ask for, of this process or of all that share the ledger. */
  readonly clients: ClientLimiter;
  /** The same store, for what others keep there; null where nothing outlives the process. Closed by the ledger. */
  readonly database: Database | null;
  /** Closes ledger and clients; resolves when all of it is where it is kept. */
  readonly close: () => Promise<void>;
}

/**
 * The steps by which the store came to be as it is, in the order in which they were added: their places are its
 * versions, so new ones go to the end, whoever's they are.
 */
const migrations = [...ledgerMigrations, learnedMigration, clientsMigration, overridesMigration];

/** Opens where usage is kept, as the configuration says; the clock goes on from what the store has seen. */
export function openLedger(config: Config, log: Log): Opened {
  const { limiter, redis } = config;
  if (limiter === "redis" && redis.url !== null) {
    const clock = systemClock();
    const authorities = config.extra_ca === null ? null : authoritiesWith(config.extra_ca);
    const ledger = new RedisLedger({
      store: new RedisServer(redis.url, redis.prefix, clock, authorities),
      clock,
      onFailure: redis.on_failure,
      onChange: (isUp, reason) =>
        isUp
          ? log.info("Redis is there")
          : log.error("Redis cannot be reached", { reason, on_failure: redis.on_failure }),
    });
    const clients = new SharedClientLimits({ clock, config: config.clients, ledger });
    const close = async (): Promise<void> => {
      clients.close();
      ledger.close();
      await ledger.closed;
    };
    const breaker = new Breaker(clock);
    shareCircuits(breaker, ledger.board, clock);
    return { clock, ledger, breaker, clients, database: null, close };
  }
  if (limiter === "memory" || config.storage.path === ":memory:") {
    return alone(config, systemClock(), new MemoryLedger(), null, log);
  }
  const { path, durability } = config.storage;
  const database = openDatabase({ path, durability, migrations });
  const clock = systemClock(SqliteLedger.latestTime(database));
  return alone(config, clock, new SqliteLedger(database, clock), database, log);
}

/** For the log, where a store cannot be written to that nothing depends on. */
export function tellUnwritten(log: Log): (reason: unknown) => void {
  return (reason) => log.warn("what was learned cannot be stored", { error: String(reason) });
}

/** Of a process that shares nothing. */
function alone(
  config: Config,
  clock: Clock,
  ledger: Ledger,
  database: Database | null,
  log: Log,
): Opened {
  const clients = new ClientLimits({ clock, config: config.clients });
  const kept = database && keepClients(database, clock, clients, tellUnwritten(log));
  const close = (): Promise<void> => {
    kept?.close();
    clients.close();
    ledger.close();
    return Promise.resolve();
  };
  return { clock, ledger, breaker: new Breaker(clock), clients, database, close };
}

/** Tells other processes how circuits stand, and hears it from them. Times on the board are Redis's. */
export function shareCircuits(breaker: Breaker, board: Board, clock: Clock): void {
  const aheadMs = (): number => board.now() - clock.now();
  breaker.onNews = (upstream, news) => {
    const value: CircuitNews = { ...news, until: news.until + aheadMs() };
    board.post("circuit", upstream, {
      until: Math.max(board.now(), value.until) + circuitMs,
      value,
    });
  };
  board.listen("circuit", (upstream, { value }) => {
    if (!isCircuitNews(value)) return;
    breaker.heard(upstream, { ...value, until: value.until - aheadMs() });
  });
}

/** Another version may say something else. */
function isCircuitNews(value: unknown): value is CircuitNews {
  if (typeof value !== "object" || value === null) return false;
  const { state, until, quotas } = value as Partial<Record<keyof CircuitNews, unknown>>;
  const isState = state === "closed" || state === "open" || state === "half_open";
  return isState && typeof until === "number" && Array.isArray(quotas) && quotas.every(isString);
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}
