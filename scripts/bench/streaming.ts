import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ask } from "../../test/e2e/client.ts";
import type { Figure, Findings } from "./figure.ts";
import { median, quantile } from "./figure.ts";
import { hasWrk } from "./load.ts";
import type { Program } from "./program.ts";
import { startCooldown, startServer } from "./program.ts";

const host = "chat.test";
/** A limit that nothing here comes near. */
const huge = 1_000_000_000;
const connections = 64;
const roundSeconds = 2;
const rounds = 5;
const warmUpRounds = 2;
const latencyRounds = 3;
const streamSeconds = 4;
/** In this time all streams of a crowd begin, and after as much again they run evenly. */
const joinMs = 1_000;
const settleMs = 500;

/**
 * Streams one after the other. A short one costs what its request does, which is `bench forwarding`'s to judge; a
 * hundred events are an answer of a few sentences.
 */
const lengths = [
  { events: 10, atMost: null },
  { events: 100, atMost: 1.5 },
] as const;

/** Many streams at once, each with so many events a second. */
const crowds = [
  { streams: 1_000, perSecond: 10 },
  { streams: 256, perSecond: 50 },
] as const;

/**
 * What streamed answers cost: CPU time beside a bare proxy on the same runtime, and by how much events come later than
 * straight from the upstream. Everything in this run, taking turns.
 */
export async function benchStreaming(): Promise<Findings> {
  if (process.platform !== "linux") return skip("CPU time is read from /proc");
  if (!hasWrk()) return skip("wrk is not installed");
  // Each process may have 256 fetches in flight unless told otherwise; Cooldown sets this for itself.
  process.env["BUN_CONFIG_MAX_HTTP_REQUESTS"] = "20000";
  const folder = mkdtempSync(join(tmpdir(), "cooldown-bench-"));
  const running: Program[] = [];
  const started = async (program: Promise<Program>): Promise<Program> => {
    running.push(await program);
    return program;
  };
  try {
    const upstream = await started(startServer("stream"));
    const bare = await started(startServer("bare-proxy", upstream.url));
    const cooldown = await started(startCooldown(configure(folder, upstream.url)));
    const figures: Figure[] = [];
    for (const { events, atMost } of lengths) {
      const [ofBare = [], ofOurs = []] = await takeTurns([bare, cooldown], folder, events);
      // Of the same turns: what else the machine did then, it did to both.
      const ratios = ofOurs.map((cost, turn) => cost / (ofBare[turn] ?? Number.NaN));
      figures.push(
        figure(`bare Bun proxy, stream of ${events} events`, median(ofBare), "µs/request"),
        figure(`Cooldown, stream of ${events} events`, median(ofOurs), "µs/request"),
        figure(`stream of ${events} events ÷ bare proxy`, median(ratios), "×", atMost),
      );
    }
    for (const crowd of crowds) {
      const lanes = { direct: upstream, bare, ours: cooldown };
      const seen = { direct: [] as Crowd[], bare: [] as Crowd[], ours: [] as Crowd[] };
      for (let round = 0; round < latencyRounds; round++) {
        for (const name of ["direct", "bare", "ours"] as const)
          seen[name].push(await watch(lanes[name], crowd));
      }
      const name = `${crowd.streams} streams of ${crowd.perSecond} events/s`;
      const added = (by: readonly Crowd[]): number =>
        median(by.map(({ delay }, round) => delay - (seen.direct[round]?.delay ?? Number.NaN)));
      const ratios = seen.ours.map(({ cpuMs }, round) => cpuMs / (seen.bare[round]?.cpuMs ?? 0));
      const lost = seen.ours.reduce((sum, one) => sum + one.lost, 0);
      figures.push(
        figure(`${name}, direct, 99 %`, median(seen.direct.map(({ delay }) => delay)), "ms"),
        figure(`${name}, added by the bare proxy, 99 %`, added(seen.bare), "ms"),
        figure(`${name}, added by Cooldown, 99 %`, added(seen.ours), "ms", 5),
        figure(`${name}, CPU ÷ bare proxy`, median(ratios), "×", 1.5),
        figure(`${name}, events lost`, lost, "events", 0),
      );
    }
    return { figures, skipped: [] };
  } finally {
    await Promise.all(running.map((program) => program.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
}

function figure(
  name: string,
  value: number,
  unit: Figure["unit"],
  atMost: number | null = null,
): Figure {
  return { name, value, unit, atMost };
}

/** CPU time of a stream in µs, for each program and turn. The first turns only warm up. */
async function takeTurns(
  programs: readonly Program[],
  folder: string,
  events: number,
): Promise<number[][]> {
  const script = join(folder, "stream.lua");
  writeFileSync(script, chat);
  const costs = programs.map((): number[] => []);
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const [index, program] of programs.entries()) {
      const before = program.cpuMs();
      const requests = await load(script, program.url, events);
      if (round >= 0) costs[index]?.push(((program.cpuMs() - before) * 1_000) / requests);
    }
  }
  return costs;
}

/** A short question that was not sent before. */
const chat = `
math.randomseed(os.time() + math.floor(os.clock() * 1e6))
request = function()
  local body = '{"model":"gpt-4o","stream":true,"max_completion_tokens":64,"messages":[{"role":"user","content":"What is '
    .. math.random(99999) .. ' times ' .. math.random(99999) .. '?"}]}'
  return wrk.format("POST", nil, nil, body)
end
done = function(summary)
  local e = summary.errors
  io.write(string.format("TOTAL %d %d\\n", summary.requests, e.connect + e.read + e.write + e.status + e.timeout))
end
`;

/** Streams of so many events, a millisecond apart. */
async function load(script: string, url: string, events: number): Promise<number> {
  const headers = ["-H", `Host: ${host}`, "-H", "Content-Type: application/json"];
  const target = `${url}/v1/chat/completions?events=${events}&every=1`;
  const child = Bun.spawn(
    ["wrk", "-t1", `-c${connections}`, `-d${roundSeconds}`, "-s", script, ...headers, target],
    { stdout: "pipe", stderr: "pipe" },
  );
  const said = await child.stdout.text();
  const [, requests, failed] = /TOTAL (\d+) (\d+)/.exec(said) ?? [];
  if (requests === undefined) throw new Error(`wrk failed: ${said}${await child.stderr.text()}`);
  if (Number(failed) > 0) throw new Error(`${failed} of ${requests} streams failed.`);
  return Number(requests);
}

/** What became of many streams at once. */
interface Crowd {
  /** How late all but a hundredth of the events came, ms. */
  readonly delay: number;
  /** CPU time of the server that they came through, ms. */
  readonly cpuMs: number;
  readonly lost: number;
}

/** Follows many streams, which begin one after the other; events count once all of them have begun. */
async function watch(
  program: Program,
  { streams, perSecond }: (typeof crowds)[number],
): Promise<Crowd> {
  const events = (joinMs / 1_000 + streamSeconds) * perSecond;
  const { url } = program;
  const cpuBefore = program.cpuMs();
  const start = performance.now();
  const answers = await Promise.all(
    Array.from({ length: streams }, async (_, n) => {
      await Bun.sleep((n * joinMs) / streams);
      return ask(Number(new URL(url).port), {
        host,
        path: `/v1/chat/completions?events=${events}&every=${1_000 / perSecond}`,
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: '{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hello"}]}',
      });
    }),
  );
  const cpuUsed = program.cpuMs() - cpuBefore;
  const from = start + joinMs + settleMs;
  const delays: number[] = [];
  let seen = 0;
  for (const { pieces } of answers) {
    for (const { at, bytes } of pieces) {
      const text = Buffer.from(bytes).toString();
      for (const [, created] of text.matchAll(/"created":([\d.]+)/g)) {
        seen++;
        const madeAt = Number(created) - performance.timeOrigin;
        if (madeAt >= from && madeAt < start + streamSeconds * 1_000) delays.push(at - madeAt);
      }
    }
  }
  // The last event of each has the usage.
  return { delay: quantile(delays, 0.99), cpuMs: cpuUsed, lost: streams * (events + 1) - seen };
}

/** Writes the configuration of a program that is as it is by default but for its limits; gives the file. */
function configure(folder: string, upstream: string): string {
  const own = join(folder, "own");
  mkdirSync(own);
  const config = join(own, "config.yaml");
  writeFileSync(
    config,
    `storage: { path: ${join(own, "usage", "usage.db")} }
quotas:
  - { name: chat, domain: ${host}, provider: openai, rpm: ${huge}, tpm: ${huge}, upstream: "${upstream}" }
`,
  );
  return config;
}

function skip(why: string): Findings {
  return { figures: [], skipped: [`streaming: ${why}`] };
}
