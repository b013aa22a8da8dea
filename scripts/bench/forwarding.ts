import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Figure, Findings } from "./figure.ts";
import { median } from "./figure.ts";
import type { Kind } from "./load.ts";
import { createLoad, hasWrk } from "./load.ts";
import { startNginx } from "./nginx.ts";
import type { Program } from "./program.ts";
import { startCooldown, startServer } from "./program.ts";

const roundSeconds = 1;
/** An odd number: then the median is one of them. */
const rounds = 9;
const warmUpRounds = 3;
const plainHost = "plain.test";
const chatHost = "chat.test";
/** A limit that nothing here comes near. */
const huge = 1_000_000_000;

/** One kind of traffic through one server. */
interface Lane {
  readonly name: string;
  readonly kind: Kind;
  readonly server: Program;
  /** Path and query. */
  readonly target: string;
}

const plainTarget = "/items";
const queryTarget = "/items?page=2";
const chatTarget = "/v1/chat/completions";

/**
 * CPU time per request of Cooldown, beside a bare proxy on the same runtime and nginx: everything in this run, taking
 * turns, so that whatever else the machine does meets all of them.
 */
export async function benchForwarding(): Promise<Findings> {
  if (process.platform !== "linux") return skip("CPU time is read from /proc");
  if (!hasWrk()) return skip("wrk is not installed");
  const folder = mkdtempSync(join(tmpdir(), "cooldown-bench-"));
  const running: Program[] = [];
  const started = async (program: Promise<Program>): Promise<Program> => {
    running.push(await program);
    return program;
  };
  try {
    const upstream = await started(startServer("upstream"));
    const bare = await started(startServer("bare-proxy", upstream.url));
    const info = await started(startCooldown(configure(folder, upstream.url, "info")));
    const warn = await started(startCooldown(configure(folder, upstream.url, "warn")));
    const nginx =
      Bun.which("nginx") === null ? null : await started(startNginx(folder, upstream.url));

    const lanes = {
      bareGet: get("bare Bun proxy, GET", bare),
      plain: get("Cooldown, plain path", info),
      plainQuiet: get("Cooldown, plain path, log level warn", warn),
      query: get("Cooldown, plain path, with a query", info, queryTarget),
      bareChat: chat("bare Bun proxy, POST of 1 KB", bare),
      chat: chat("Cooldown, LLM path", info),
      chatQuiet: chat("Cooldown, LLM path, log level warn", warn),
    } satisfies Record<string, Lane>;
    const nginxLane = nginx && get("nginx, GET", nginx);
    const all: Lane[] = [...Object.values(lanes), ...(nginxLane === null ? [] : [nginxLane])];
    const costs = await takeTurns(all, createLoad(folder));

    const of = (lane: Lane): readonly number[] => costs.get(lane) ?? [];
    const ratio = (name: string, a: Lane, b: Lane, atMost: number | null): Figure => {
      // Of the same turns: what else the machine did then, it did to both.
      const others = of(b);
      const ratios = of(a).map((cost, turn) => cost / (others[turn] ?? Number.NaN));
      return { name, value: median(ratios), unit: "×", atMost };
    };
    const { bareGet, plain, plainQuiet, query, bareChat, chat: counted, chatQuiet } = lanes;
    return {
      figures: [
        ...all.map((lane): Figure => ({
          name: lane.name,
          value: median(of(lane)),
          unit: "µs/request",
          atMost: null,
        })),
        ratio("plain path ÷ bare proxy", plain, bareGet, 1.6),
        ratio("plain path ÷ bare proxy, log level warn", plainQuiet, bareGet, null),
        ratio("plain path ÷ bare proxy, with a query", query, bareGet, null),
        ratio("LLM path ÷ bare proxy", counted, bareChat, 3),
        ratio("LLM path ÷ bare proxy, log level warn", chatQuiet, bareChat, null),
        ...(nginxLane === null ? [] : [ratio("plain path ÷ nginx", plain, nginxLane, null)]),
      ],
      skipped: nginx === null ? ["nginx is not installed"] : [],
    };
  } finally {
    await Promise.all(running.map((program) => program.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
}

function get(name: string, server: Program, target = plainTarget): Lane {
  return { name, kind: "get", server, target };
}

function chat(name: string, server: Program): Lane {
  return { name, kind: "chat", server, target: chatTarget };
}

/** CPU time of a request in µs, for each lane and turn. The first turns only warm up. */
async function takeTurns(
  lanes: readonly Lane[],
  load: ReturnType<typeof createLoad>,
): Promise<ReadonlyMap<Lane, readonly number[]>> {
  const costs = new Map<Lane, number[]>(lanes.map((lane) => [lane, []]));
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const [lane, taken] of costs) {
      const { kind, server, name, target } = lane;
      const before = server.cpuMs();
      const host = kind === "get" ? plainHost : chatHost;
      const { requests, failed } = await load(kind, server.url + target, host, roundSeconds);
      if (failed > 0) throw new Error(`${name}: ${failed} of ${requests} requests failed.`);
      if (round >= 0) taken.push(((server.cpuMs() - before) * 1_000) / requests);
    }
  }
  return costs;
}

/**
 * Writes the configuration of a program that is as it is by default but for its limits; gives the file. Usage is
 * journalled, in another folder than the file, which is watched.
 */
function configure(folder: string, upstream: string, logLevel: string): string {
  const own = join(folder, logLevel);
  mkdirSync(own);
  const config = join(own, "config.yaml");
  writeFileSync(
    config,
    `server: { log_level: ${logLevel} }
storage: { path: ${join(own, "usage", "usage.db")} }
rate_limits:
  - { domain: ${plainHost}, requests_per_second: 100000, burst: 1000000, upstream: "${upstream}" }
quotas:
  - { name: chat, domain: ${chatHost}, provider: openai, rpm: ${huge}, tpm: ${huge}, upstream: "${upstream}" }
`,
  );
  return config;
}

function skip(why: string): Findings {
  return { figures: [], skipped: [`forwarding: ${why}`] };
}
