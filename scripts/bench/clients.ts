import { createIdentifier } from "../../src/client/identity.ts";
import { ClientLimits } from "../../src/client/limits.ts";
import type { AlgorithmName } from "../../src/client/plan.ts";
import type { Clock } from "../../src/clock.ts";
import type { Figure, Findings } from "./figure.ts";
import { median } from "./figure.ts";

const clients = 100_000;
/** Checks in a measured batch, and batches. */
const batch = 200;
const batches = 1_000;
/** The first of them are the compiler's. */
const warmUp = 300;
const bytesEach = 300;
const kinds: readonly { algorithm: AlgorithmName; tpm: number | null; label: string }[] = [
  { algorithm: "token_bucket", tpm: null, label: "token bucket" },
  { algorithm: "sliding_window", tpm: 1_000_000, label: "sliding window of requests and tokens" },
];

/** How often all are forgotten. The least of the longest slices is taken: in the others something else ran as well. */
const forgettings = 5;
/** After that the runtime has given memory back that it does not need any more, ms. */
const shrinkMs = 2_500;

/** What telling 100,000 clients apart costs: memory, a check, and being forgotten. */
export async function benchClients(): Promise<Findings> {
  const figures: Figure[] = [];
  for (const { algorithm, tpm, label } of kinds) {
    const clock = new SteppingClock();
    const limits = open(clock, algorithm, tpm);
    fill(limits, clock, 15);
    const checkNs = check(limits, clock);
    const longest = Array.from({ length: forgettings }, () => {
      if (limits.tracked() === 0) fill(limits, clock, 1);
      return forget(limits, clock);
    });
    const target = (clients * bytesEach) / 1e6;
    figures.push(
      {
        name: `100,000 clients, ${label}`,
        value: await megabytes(algorithm),
        unit: "MB",
        atMost: target,
      },
      { name: "  a check, all of them live", value: checkNs, unit: "ns", atMost: 1_000 },
      {
        name: "  forgetting all, longest slice",
        value: Math.min(...longest),
        unit: "ms",
        atMost: 5,
      },
    );
    limits.close();
  }
  figures.push({ name: "telling who asks, by key", value: identify(), unit: "ns", atMost: 1_000 });
  return { figures, skipped: [] };
}

/** Time that moves when it is told to, and a timer that fires when it is asked to. */
class SteppingClock implements Clock {
  time = 1_700_000_000_000;
  #due: (() => void) | null = null;

  now(): number {
    return this.time;
  }

  at(_at: number, run: () => void): () => void {
    this.#due = run;
    return () => void (this.#due = null);
  }

  /** Runs what is due. @returns its milliseconds, or null if nothing is */
  fire(): number | null {
    const run = this.#due;
    this.#due = null;
    if (run === null) return null;
    const start = performance.now();
    run();
    return performance.now() - start;
  }
}

function open(clock: Clock, algorithm: AlgorithmName, tpm: number | null): ClientLimits {
  return new ClientLimits({
    clock,
    config: {
      rate_limit: 600,
      burst: null,
      algorithm,
      idle_ttl: 3_600_000,
      tiers: tpm === null ? {} : { paid: { rpm: 600, tpm } },
      keys: [],
    },
  });
}

const tier = { name: "paid" };
const cost = { requests: 1, tokens: 100 };

function idOf(number: number): string {
  return `anon:${(Math.imul(number, 2_654_435_761) >>> 0).toString(16).padStart(12, "0")}`;
}

/** So many requests of each, half a second apart. */
function fill(limits: ClientLimits, clock: SteppingClock, requests: number): void {
  for (let round = 0; round < requests; round++) {
    clock.time += 500;
    for (let number = 0; number < clients; number++) limits.take({ id: idOf(number), tier }, cost);
  }
  if (limits.tracked() !== clients) throw new Error("Not all clients are tracked.");
}

/** Nanoseconds of a check, of clients in no order; their ids have just been made, as those of requests are. */
function check(limits: ClientLimits, clock: SteppingClock): number {
  const times: number[] = [];
  for (let i = 0; i < batches; i++) {
    clock.time += 1;
    const asking = Array.from({ length: batch }, () => {
      const id = idOf(Math.floor(Math.random() * clients));
      // Concatenations are made into one string only when they are looked at.
      id.charCodeAt(0);
      return { id, tier };
    });
    const start = performance.now();
    for (const client of asking) limits.take(client, cost);
    times.push(((performance.now() - start) * 1e6) / batch);
  }
  return median(times.slice(warmUp));
}

/** The longest time, ms, that forgetting all clients keeps others waiting in one go. */
function forget(limits: ClientLimits, clock: SteppingClock): number {
  let longest = 0;
  // What this program has left lying about is no part of it.
  Bun.gc(true);
  for (let slices = 0; limits.tracked() > 0; slices++) {
    if (slices > clients) throw new Error("Clients are not forgotten.");
    if (slices === 0) clock.time += 3_600_000;
    longest = Math.max(longest, clock.fire() ?? 0);
  }
  return longest;
}

/** Nanoseconds to name the client of a request with a key, among keys that were seen and others. */
function identify(): number {
  const identifier = createIdentifier({
    identify_by: ["api_key", "ip"],
    require_key: false,
    keys: Array.from({ length: 100 }, (_, number) => ({
      name: `key ${number}`,
      key: `virtual key ${number}`,
      key_sha256: null,
      tier: null,
    })),
    tiers: {},
    trusted_proxies: [],
  });
  const connection = { peer: () => "127.0.0.1" };
  const times: number[] = [];
  for (let i = 0; i < batches; i++) {
    const asking = Array.from({ length: batch }, (_, number) => ({
      host: "api.openai.com",
      authorization: `Bearer sk-proj-0123456789abcdefghijklmnopqrstuvwxyz-${(i * number) % 8_000}`,
    }));
    const start = performance.now();
    for (const fields of asking) identifier.identify(fields, connection);
    times.push(((performance.now() - start) * 1e6) / batch);
  }
  return median(times.slice(warmUp));
}

/** What resident memory grows by with all clients, MB; in a process of its own, where little else happens. */
async function megabytes(algorithm: AlgorithmName): Promise<number> {
  const child = Bun.spawn([process.execPath, import.meta.path, algorithm], {
    stdout: "pipe",
    stderr: "inherit",
  });
  return Number(await new Response(child.stdout).text());
}

async function measureMemory(name: string): Promise<number> {
  const kind = kinds.find(({ algorithm }) => algorithm === name);
  if (kind === undefined) throw new Error(`There is no algorithm ${name} here.`);
  const clock = new SteppingClock();
  const limits = open(clock, kind.algorithm, kind.tpm);
  // Garbage as making ids leaves it, so that the heap has the size that it has with them.
  for (let number = 0; number < 30 * clients; number++) idOf(number).charCodeAt(0);
  const before = await residentBytes();
  fill(limits, clock, 1);
  const after = await residentBytes();
  limits.close();
  return (after - before) / 1e6;
}

async function residentBytes(): Promise<number> {
  Bun.gc(true);
  await Bun.sleep(shrinkMs);
  Bun.gc(true);
  return process.memoryUsage.rss();
}

if (import.meta.main) console.log(await measureMemory(process.argv[2] ?? ""));
