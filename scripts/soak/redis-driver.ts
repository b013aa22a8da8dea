/**
 * One process of several on the same quota: asks for admission without a network around it, and prints a line for each
 * request: when an upstream would have counted it. Its one argument is JSON.
 */
import type { Lease } from "../../src/admission/lease.ts";
import { Path } from "../../src/admission/path.ts";
import type { Refusal } from "../../src/admission/request.ts";
import { Scheduler } from "../../src/admission/scheduler.ts";
import { systemClock } from "../../src/clock.ts";
import type { OnFailure } from "../../src/ledger/redis.ts";
import { RedisLedger } from "../../src/ledger/redis.ts";
import { RedisServer } from "../../src/ledger/redis-store.ts";
import { MemoryLedger } from "../../src/ledger/memory.ts";
import type { LimitSpec } from "../../src/limit/limit.ts";
import { patient } from "../../test/ledger/crowd.ts";

export interface DriverPlan {
  url: string;
  /** Without Redis: usage in memory, for comparison. */
  memory?: boolean;
  prefix: string;
  limits: LimitSpec[];
  /** All at once, so many kept waiting or running; or one each so many ms. */
  concurrency?: number;
  everyMs?: number;
  /** Tokens reserved and settled with. */
  tokens: number;
  actual: number;
  /** How long an answer takes, ms; counted by the upstream somewhere within. */
  latencyMs: number;
  durationMs: number;
  onFailure: OnFailure;
}

const plan = JSON.parse(process.argv[2] ?? "{}") as DriverPlan;
const clock = systemClock();
const store = new RedisServer(plan.url, plan.prefix, clock);
const shared = new RedisLedger({
  store,
  clock,
  onFailure: plan.onFailure,
  onChange: (isUp, reason) =>
    console.log(JSON.stringify({ at: clock.now(), event: isUp ? "up" : "down", reason })),
});
const ledger = plan.memory === true ? new MemoryLedger() : shared;
const scheduler = new Scheduler(clock, ledger);
const account = ledger.account({
  name: "quota",
  label: "quota",
  group: "quota",
  limits: plan.limits,
  maxQueueDepth: 100_000,
  requestTimeoutMs: 600_000,
  priorityThreshold: null,
});
const path = new Path([account]);
const cost = (tokens: number) => ({
  requests: 1,
  tokens,
  input_tokens: tokens,
  output_tokens: tokens,
  total_tokens: tokens,
});
const lines: string[] = [];
let refused = 0;
let failed = 0;
let running = 0;
const until = clock.now() + plan.durationMs;

async function request(): Promise<void> {
  const askedAt = performance.now();
  const answer = scheduler.admit({
    ...patient,
    path,
    cost: cost(plan.tokens),
  });
  const lease: Lease | Refusal = answer instanceof Promise ? await answer : answer;
  if ("refused" in lease) return void refused++;
  try {
    await lease.committed;
  } catch {
    lease.cancel();
    failed++;
    return;
  }
  const waitMs = performance.now() - askedAt;
  const latency = plan.latencyMs * (0.5 + Math.random());
  const countedAt = clock.now() + latency * Math.random();
  lines.push(JSON.stringify({ at: countedAt, left: clock.now(), wait: waitMs }));
  lease.sent();
  await new Promise((resolve) => setTimeout(resolve, latency));
  lease.arrived();
  lease.commit(cost(plan.actual));
}

async function keepBusy(): Promise<void> {
  while (clock.now() < until) {
    const before = failed + refused;
    await request();
    if (failed + refused > before) await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

setInterval(() => {
  if (lines.length > 0) console.log(lines.splice(0).join("\n"));
}, 50);
process.on("SIGUSR2", () => undefined);
// The connection first, so that the first request is like the others.
while (plan.memory !== true && !store.isConnected && clock.now() < until - plan.durationMs + 1_500)
  await new Promise((resolve) => setTimeout(resolve, 5));
await new Promise((resolve) => setTimeout(resolve, 300));
console.log(JSON.stringify({ event: "ready", at: clock.now(), parts: shared.parts }));
const before = store.commands;
const started = Promise.withResolvers<void>();
if (plan.everyMs === undefined) {
  await Promise.race([
    Promise.all(Array.from({ length: plan.concurrency ?? 1 }, () => keepBusy())),
    new Promise((resolve) => setTimeout(resolve, until - clock.now())),
  ]);
} else {
  const begin = performance.now();
  for (let i = 0; clock.now() < until; i++) {
    const wait = begin + i * plan.everyMs - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    running++;
    void request().finally(() => running--);
  }
}
started.resolve();
console.log(lines.splice(0).join("\n"));
console.log(
  JSON.stringify({ event: "end", commands: store.commands - before, refused, failed, running }),
);
ledger.close();
await shared.closed;
process.exit(0);
