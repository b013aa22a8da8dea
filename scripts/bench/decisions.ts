import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { do_not_optimize, measure } from "mitata";

import { Lease } from "../../src/admission/lease.ts";
import { Path } from "../../src/admission/path.ts";
import type { AdmissionRequest } from "../../src/admission/request.ts";
import { Scheduler } from "../../src/admission/scheduler.ts";
import type { Clock } from "../../src/clock.ts";
import { systemClock } from "../../src/clock.ts";
import { ledgerMigrations } from "../../src/ledger/journal.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { MemoryLedger } from "../../src/ledger/memory.ts";
import { SqliteLedger } from "../../src/ledger/sqlite.ts";
import { openDatabase } from "../../src/storage/sqlite.ts";
import type { Figure, Findings } from "./figure.ts";
import { median } from "./figure.ts";

const waiting = 100_000;
/** Who waits: so many clients, with requests of these many tokens. */
const clients = 100;
const sizes = [120, 300, 800, 1_500, 3_000, 6_000, 12_000] as const;
/** What each that runs has reserved. */
const runningTokens = 800;
const priorities = ["normal", "normal", "high", "low"] as const;

/** Decisions in a measured batch, batches, and how many of them only warm up; of the others the median is taken. */
const batch = 500;
const batches = 31;
const warmUp = 10;

/** What a decision of admission costs: with room, without, and behind 100,000 waiting requests. */
export async function benchDecisions(): Promise<Findings> {
  const figures = [...(await withRoom()), await refused(), ...behindMany(), await stored()];
  return { figures, skipped: [] };
}

/** A quota of requests and tokens a minute, as it stands for a provider in the file. */
function desk(
  ledger: Ledger,
  clock: Clock,
  limits: { rpm: number; tpm: number; depth?: number },
): { scheduler: Scheduler; path: Path } {
  const { rpm, tpm, depth = 1_000_000 } = limits;
  const window = { kind: "sliding_window", window: "minute", marginMs: 1_000 } as const;
  const account = ledger.account({
    name: "bench",
    label: "bench",
    group: "bench",
    limits: [
      { ...window, unit: "requests", limit: rpm },
      { ...window, unit: "tokens", limit: tpm },
    ],
    maxQueueDepth: depth,
    requestTimeoutMs: 600_000,
    priorityThreshold: 0.7,
  });
  return { scheduler: new Scheduler(clock, ledger), path: new Path([account]) };
}

function requestOf(path: Path, tokens: number, number = 0): AdmissionRequest {
  const output = Math.floor(tokens / 2);
  return {
    path,
    cost: {
      requests: 1,
      tokens,
      input_tokens: tokens - output,
      output_tokens: output,
      total_tokens: tokens,
    },
    outlook: {
      durationMs: 2_000,
      cost: {
        requests: 1,
        tokens: tokens - output,
        input_tokens: tokens - output,
        output_tokens: 0,
        total_tokens: tokens - output,
      },
    },
    priority: priorities[number % priorities.length] ?? "normal",
    client: `client ${number % clients}`,
    weight: 1,
    again: null,
    patienceMs: Infinity,
    bodyBytes: 1_000,
    uploading: false,
    signal: null,
  };
}

/** Time that moves on by 10 µs whenever it is asked for, and timers that never fire: all that happens is asked for. */
function steppingClock(): Clock {
  let now = 1_700_000_000_000;
  return { now: () => (now += 0.01), at: () => () => undefined };
}

/** The lease that was given at once. @throws Error where there was none */
function leaseOf(outcome: unknown): Lease {
  if (outcome instanceof Lease) return outcome;
  throw new Error("A request that fits was not let through.");
}

async function withRoom(): Promise<Figure[]> {
  const huge = 1e12;
  const { scheduler, path } = desk(new MemoryLedger(), systemClock(), { rpm: huge, tpm: huge });
  const request = requestOf(path, 800);
  const decide: number[] = [];
  const rest: number[] = [];
  for (let i = 0; i < batches * 10; i++) {
    const start = performance.now();
    const leases = Array.from({ length: batch }, () => leaseOf(scheduler.admit(request)));
    const between = performance.now();
    decide.push(between - start);
    for (const lease of leases) end(lease, request);
    rest.push(performance.now() - between);
  }
  const whole = await measure(() => end(leaseOf(scheduler.admit(request)), request));
  return [
    ns("decision with room", (median(decide) * 1e6) / batch, 1_000),
    ns("  its end: sent, counted, settled", (median(rest) * 1e6) / batch, null),
    ns("  from arrival to settlement, one after the other", whole.p50, null),
  ];
}

function end(lease: Lease, { outlook, cost }: AdmissionRequest): void {
  lease.sent();
  lease.arrived();
  lease.commit(outlook?.cost ?? cost);
}

async function refused(): Promise<Figure> {
  const limits = { rpm: 100, tpm: 1_000_000, depth: 0 };
  const { scheduler, path } = desk(new MemoryLedger(), systemClock(), limits);
  const request = requestOf(path, 800);
  for (let i = 0; i < limits.rpm; i++) leaseOf(scheduler.admit(request));
  const { p50 } = await measure(() => do_not_optimize(scheduler.admit(request)));
  return ns("refusal where quota and queue are full", p50, null);
}

/** Tokens are what is short. */
function behindMany(): Figure[] {
  const { arrivals, settlements } = ofAllSizes();
  const grants = ofOneSize();
  return [
    ns("100,000 waiting: one more arrives", median(arrivals), 5_000),
    ns("100,000 waiting: a settlement that makes no room", median(settlements), 5_000),
    ns("100,000 waiting: a settlement that lets one in", median(grants), 5_000),
  ];
}

/** The heads of all lanes have to be looked at. */
function ofAllSizes(): { arrivals: number[]; settlements: number[] } {
  const { arrive, open } = crowd(sizes);
  const arrivals = timeBatches(arrive);
  const settlements = timeBatches(() => {
    const lease = open.pop();
    lease?.commit(lease.reserved);
  });
  return { arrivals, settlements };
}

/** Each that is given back lets exactly one in. */
function ofOneSize(): number[] {
  const { scheduler, open } = crowd([runningTokens]);
  const before = scheduler.waiting;
  const grants = timeBatches(() => open.pop()?.cancel());
  if (before - scheduler.waiting !== batches * batch) {
    throw new Error("Not each that was given back let one in.");
  }
  return grants;
}

/** A quota that is used up by running requests, and 100,000 of the given sizes that wait for it. */
function crowd(sizes: readonly number[]): {
  scheduler: Scheduler;
  open: Lease[];
  arrive: () => void;
} {
  const running = 2 * batches * batch;
  const limits = { rpm: 1e9, tpm: runningTokens * running };
  const { scheduler, path } = desk(new MemoryLedger(), steppingClock(), limits);
  const open = Array.from({ length: running }, () => {
    const lease = leaseOf(scheduler.admit(requestOf(path, runningTokens)));
    lease.sent();
    lease.arrived();
    return lease;
  });
  let number = 0;
  const arrive = (): void => {
    number++;
    const tokens = sizes[(number * 31) % sizes.length] ?? runningTokens;
    void scheduler.admit(requestOf(path, tokens, number));
  };
  while (scheduler.waiting < waiting) arrive();
  // What it took to get here, and what another crowd has left, is not collected at the cost of what is measured.
  Bun.gc(true);
  return { scheduler, open, arrive };
}

/** Nanoseconds of a call in each of some batches. */
function timeBatches(run: () => void): number[] {
  const times = Array.from({ length: batches }, () => {
    const start = performance.now();
    for (let i = 0; i < batch; i++) run();
    return ((performance.now() - start) * 1e6) / batch;
  });
  return times.slice(warmUp);
}

/** The way of a request through the journal, 16 in each turn of the event loop. */
async function stored(): Promise<Figure> {
  const folder = mkdtempSync(join(tmpdir(), "cooldown-bench-"));
  const clock = systemClock();
  const migrations = [...ledgerMigrations];
  const database = openDatabase({
    path: join(folder, "usage.db"),
    durability: "process",
    migrations,
  });
  const ledger = new SqliteLedger(database, clock);
  try {
    const { scheduler, path } = desk(ledger, clock, { rpm: 1e12, tpm: 1e12 });
    const request = requestOf(path, 800);
    const rounds = 50;
    const together = 16;
    const times: number[] = [];
    for (let i = 0; i < batches; i++) {
      const start = performance.now();
      for (let round = 0; round < rounds; round++) {
        const leases = Array.from({ length: together }, () => leaseOf(scheduler.admit(request)));
        // All of one turn wait for the same transaction.
        await leases[0]?.committed;
        for (const lease of leases) end(lease, request);
      }
      times.push(((performance.now() - start) * 1e6) / (rounds * together));
    }
    return ns("from arrival to settlement, journalled, 16 at a time", median(times), null);
  } finally {
    ledger.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function ns(name: string, value: number, atMost: number | null): Figure {
  return { name, value, unit: "ns", atMost };
}
