/** Several processes on one quota in a real Redis, without a network around them: `bun scripts/soak/redis.ts [NAME]`. */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LimitSpec } from "../../src/limit/limit.ts";
import type { DriverPlan } from "./redis-driver.ts";
import { runInTurn } from "./report.ts";
import type { Report } from "./report.ts";

const rpm = (limit: number): LimitSpec => ({
  kind: "sliding_window",
  unit: "requests",
  window: "minute",
  limit,
  marginMs: 1_000,
});

const tpm = (limit: number): LimitSpec => ({
  kind: "token_bucket",
  unit: "tokens",
  window: "minute",
  limit,
  marginMs: 1_000,
});

const leaky = (requestsPerSecond: number): LimitSpec => ({
  kind: "leaky_bucket",
  requestsPerSecond,
  burst: 1,
});

/** A request as an upstream counts it, ms since the epoch. */
interface Counted {
  at: number;
  left: number;
  wait: number;
}

type Line = Partial<Counted> & {
  event?: string;
  commands?: number;
  parts?: number;
  reason?: string;
  failed?: number;
  refused?: number;
  running?: number;
};

/** A redis-server of our own. */
export class Server {
  readonly port: number;
  readonly #folder = mkdtempSync(join(tmpdir(), "cooldown-redis-"));
  #process: Bun.Subprocess | null = null;

  constructor(port: number) {
    this.port = port;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const command = ["redis-server", "--port", `${this.port}`, "--bind", "127.0.0.1", "--save", ""];
    this.#process = Bun.spawn([...command, "--dir", this.#folder], { stdout: "ignore" });
    for (;;) {
      try {
        const socket = await Bun.connect({
          hostname: "127.0.0.1",
          port: this.port,
          socket: { data() {} },
        });
        socket.end();
        return;
      } catch {
        await Bun.sleep(10);
      }
    }
  }

  async kill(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#process?.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export async function startServer(): Promise<Server> {
  const port = await new Promise<number>((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() =>
        resolve(typeof address === "object" && address !== null ? address.port : 0),
      );
    });
  });
  const server = new Server(port);
  await server.start();
  return server;
}

class Driver {
  readonly lines: Line[] = [];
  readonly process: Bun.Subprocess<"ignore", "pipe", "inherit">;
  readonly done: Promise<void>;

  constructor(plan: DriverPlan) {
    this.process = Bun.spawn(
      [process.execPath, join(import.meta.dir, "redis-driver.ts"), JSON.stringify(plan)],
      { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
    );
    this.done = this.#read();
  }

  get counted(): Counted[] {
    return this.lines.filter((line): line is Line & Counted => line.event === undefined);
  }

  get commands(): number {
    return this.lines.find(({ event }) => event === "end")?.commands ?? 0;
  }

  async #read(): Promise<void> {
    let rest = "";
    const decoder = new TextDecoder();
    for await (const chunk of this.process.stdout) {
      const texts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = texts.pop() ?? "";
      for (const text of texts) if (text !== "") this.lines.push(JSON.parse(text) as Line);
    }
    await this.process.exited;
  }
}

/** The most that fall into any span of `ms`. */
function peak(times: readonly number[], ms: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  let most = 0;
  let from = 0;
  for (let to = 0; to < sorted.length; to++) {
    while ((sorted[to] ?? 0) - (sorted[from] ?? 0) >= ms) from++;
    most = Math.max(most, to - from + 1);
  }
  return most;
}

function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
}

const base = {
  prefix: "soak:",
  tokens: 1,
  actual: 1,
  latencyMs: 100,
  onFailure: "closed",
} as const;

/** Two processes, 100 a minute, saturated. */
export async function two(report: Report): Promise<void> {
  await using server = await startServer();
  const plan = {
    ...base,
    url: server.url,
    limits: [rpm(100)],
    concurrency: 200,
    durationMs: 66_000,
  };
  const drivers = [new Driver(plan), new Driver(plan)];
  await Promise.all(drivers.map(({ done }) => done));
  const parts = drivers.map(({ counted }) => counted.length);
  const all = drivers.flatMap(({ counted }) => counted.map(({ at }) => at));
  const commands = drivers.reduce((sum, driver) => sum + driver.commands, 0);
  report.note(`requests of each: ${parts.join(" and ")}, ${commands} commands`);
  report.atMost("most in any 60 s", peak(all, 60_000), 100);
  report.atLeast("used of a window", peak(all, 60_000), 97);
  report.atLeast("requests in 65 s, of 200", all.length, 194);
  report.atLeast("the smaller part", Math.min(...parts) / all.length, 0.4);
  report.atMost("commands a request at the limit", commands / all.length, 3);
}

/** One of two killed: what it held is lost for a window at the most. */
export async function killed(report: Report): Promise<void> {
  await using server = await startServer();
  const plan = { ...base, url: server.url, limits: [rpm(600)], concurrency: 40, latencyMs: 500 };
  const drivers = [
    new Driver({ ...plan, durationMs: 150_000 }),
    new Driver({ ...plan, durationMs: 150_000 }),
  ];
  const [one, other] = drivers as [Driver, Driver];
  await Bun.sleep(3_000);
  one.process.kill("SIGKILL");
  const diedAt = Date.now();
  await Promise.all(drivers.map(({ done }) => done));
  const all = drivers.flatMap(({ counted }) => counted.map(({ at }) => at));
  report.note(`requests of each: ${one.counted.length} and ${other.counted.length}`);
  report.atMost("most in any 60 s", peak(all, 60_000), 600);
  const later = all.filter((at) => at > diedAt + 75_000 && at <= diedAt + 135_000).length;
  report.atLeast("used of the window that begins 75 s later", later / 600, 0.97);
}

/** Four processes on 400 a second. */
export async function pace(report: Report): Promise<void> {
  await using server = await startServer();
  const plan = {
    ...base,
    url: server.url,
    limits: [leaky(400)],
    concurrency: 200,
    durationMs: 12_000,
    latencyMs: 20,
  };
  const drivers = Array.from({ length: 4 }, () => new Driver(plan));
  await Promise.all(drivers.map(({ done }) => done));
  const left = drivers
    .flatMap(({ counted }) => counted.map(({ left }) => left))
    .sort((a, b) => a - b);
  const start = Math.max(...drivers.map(({ counted }) => counted[0]?.left ?? 0)) + 1_000;
  const end = (left.at(-1) ?? 0) - 1_000;
  const rate = left.filter((at) => at >= start && at < end).length / ((end - start) / 1_000);
  const commands = drivers.reduce((sum, driver) => sum + driver.commands, 0);
  report.note(`requests of each: ${drivers.map(({ counted }) => counted.length).join(", ")}`);
  report.atMost("requests a second", rate, 408);
  report.atLeast("requests a second", rate, 392);
  report.atMost("most in any second", peak(left, 1_000), 408);
  report.note(`most in any 100 ms: ${peak(left, 100)}`);
  report.atMost("commands a request at the limit", commands / left.length, 3);
}

/** Far from the limit. */
export async function far(report: Report): Promise<void> {
  await using server = await startServer();
  const limits = [rpm(100_000), tpm(100_000_000), { kind: "concurrency", max: 500 } as const];
  const plan = { ...base, url: server.url, limits, everyMs: 10, tokens: 1_000, actual: 300 };
  const drivers = Array.from({ length: 4 }, () => new Driver({ ...plan, durationMs: 10_000 }));
  await Promise.all(drivers.map(({ done }) => done));
  const all = drivers.flatMap(({ counted }) => counted);
  const commands = drivers.reduce((sum, driver) => sum + driver.commands, 0);
  const waits = all.map(({ wait }) => wait);
  report.note(`${all.length} requests, ${commands} commands`);
  report.atMost("commands a request far from it", commands / all.length, 0.3);
  report.atMost("wait at p50, ms", quantile(waits, 0.5), 0.1);
  report.note(`wait at p99: ${quantile(waits, 0.99).toFixed(3)} ms`);
}

/** Tokens that are mostly given back: two processes share what comes free. */
export async function refunds(report: Report): Promise<void> {
  await using server = await startServer();
  const plan = {
    ...base,
    url: server.url,
    limits: [tpm(600_000)],
    concurrency: 100,
    tokens: 4_000,
    actual: 500,
    latencyMs: 400,
  };
  const drivers = [0, 1].map(() => new Driver({ ...plan, durationMs: 30_000 }));
  await Promise.all(drivers.map(({ done }) => done));
  const parts = drivers.map(({ counted }) => counted.length);
  const all = parts.reduce((sum, part) => sum + part, 0);
  const commands = drivers.reduce((sum, driver) => sum + driver.commands, 0);
  report.note(`requests of each: ${parts.join(" and ")}, ${commands} commands`);
  const alone = new Driver({ ...plan, memory: true, concurrency: 200, durationMs: 30_000 });
  await alone.done;
  report.atLeast("requests, of those of one in memory", all / alone.counted.length, 0.95);
  report.atLeast("the smaller part", Math.min(...parts) / all, 0.4);
  report.atMost("commands a request at the limit", commands / all, 3);
}

/** Redis is killed and comes back, under each policy. */
export async function failure(report: Report): Promise<void> {
  for (const onFailure of ["closed", "open", "local"] as const) {
    await using server = await startServer();
    const plan = { ...base, url: server.url, limits: [rpm(600)], everyMs: 20, onFailure };
    const drivers = [0, 1].map(() => new Driver({ ...plan, durationMs: 16_000 }));
    await Bun.sleep(3_000);
    const killedAt = Date.now();
    await server.kill();
    await Bun.sleep(5_000);
    await server.start();
    const backAt = Date.now();
    await Promise.all(drivers.map(({ done }) => done));
    const events = drivers.flatMap(({ lines }) => lines.filter(({ event }) => event !== undefined));
    const all = drivers.flatMap(({ counted }) => counted.map(({ at }) => at));
    const during = all.filter((at) => at > killedAt + 1_500 && at < backAt).length;
    const ends = events.filter(({ event }) => event === "end");
    report.note(
      `${onFailure}: ${all.length} in all, ${during} in 3.5 s without, failed ${ends.map(({ failed }) => failed).join(" and ")}`,
    );
    const ups = events.filter(({ event }) => event === "up").map(({ at }) => (at ?? 0) - backAt);
    report.check(`${onFailure}: lost once, back once, each`, ups.length === 2, ups.length);
    report.atMost(`${onFailure}: seconds until normal`, Math.max(...ups) / 1_000, 5);
    if (onFailure === "closed") report.atMost("closed: requests without Redis", during, 0);
    if (onFailure === "open") report.atLeast("open: requests without Redis", during, 300);
    if (onFailure !== "open") report.atMost("most in any 60 s", peak(all, 60_000), 600);
  }
}

export const scenarios = { two, killed, pace, far, refunds, failure };

if (import.meta.main) await runInTurn(scenarios);
