import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Figure, Findings } from "./figure.ts";
import { median } from "./figure.ts";
import { createLoad, hasWrk } from "./load.ts";
import type { Program } from "./program.ts";
import { freePort, programAt, startCooldown, startServer } from "./program.ts";

const roundSeconds = 1;
const rounds = 6;
const warmUpRounds = 3;
const host = "cached.test";
/** Hits a second that one core must be able to serve (issue: "Response cache"). */
const hitsPerSecond = 20_000;
const microseconds = 1e6;

/** What the cache may hold in the measurement of memory, MB. */
const cacheMegabytes = 160;
/** Sizes of the answers it is filled with, bytes, and how often its size is written into it. */
const answerBytes = [500, 4_000, 60_000] as const;
const fills = 2;

/** CPU time of a hit beside nginx's `proxy_cache`, taking turns, and what a full cache takes in memory. */
export async function benchCache(): Promise<Findings> {
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
    const info = await started(startCooldown(configure(folder, upstream.url, "info")));
    const warn = await started(startCooldown(configure(folder, upstream.url, "warn")));
    const hasNginx = Bun.which("nginx") !== null;
    const nginx = hasNginx ? await started(startCachingNginx(folder, upstream.url)) : null;
    const costs = await takeTurns(folder, nginx === null ? [info, warn] : [info, warn, nginx]);
    const of = (server: Program): readonly number[] => costs.get(server) ?? [];
    const cost = (name: string, server: Program, atMost: number | null): Figure => ({
      name,
      value: median(of(server)),
      unit: "µs/request",
      atMost,
    });
    const ratio = (
      name: string,
      server: Program,
      other: Program,
      atMost: number | null,
    ): Figure => {
      // Of the same turns: what else the machine did then, it did to both.
      const others = of(other);
      const ratios = of(server).map((one, turn) => one / (others[turn] ?? Number.NaN));
      return { name, value: median(ratios), unit: "×", atMost };
    };
    return {
      figures: [
        cost("Cooldown, cache hit", info, microseconds / hitsPerSecond),
        cost("Cooldown, cache hit, log level warn", warn, null),
        ...(nginx === null
          ? []
          : [
              cost("nginx, proxy_cache hit", nginx, null),
              ratio("cache hit ÷ nginx", info, nginx, 3),
              ratio("cache hit ÷ nginx, log level warn", warn, nginx, null),
            ]),
        ...(await measureMemory(folder)),
      ],
      skipped: nginx === null ? ["nginx is not installed"] : [],
    };
  } finally {
    await Promise.all(running.map((program) => program.stop()));
    rmSync(folder, { recursive: true, force: true });
  }
}

/** CPU time of a request in µs, for each server and turn. The first turns fill the caches and warm up. */
async function takeTurns(
  folder: string,
  servers: readonly Program[],
): Promise<ReadonlyMap<Program, readonly number[]>> {
  const load = createLoad(folder);
  const costs = new Map<Program, number[]>(servers.map((server) => [server, []]));
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const [server, taken] of costs) {
      const before = server.cpuMs();
      const { requests, failed } = await load("get", `${server.url}/items`, host, roundSeconds);
      if (failed > 0) throw new Error(`${failed} of ${requests} requests failed.`);
      if (round >= 0) taken.push(((server.cpuMs() - before) * 1_000) / requests);
    }
    await Promise.all(servers.map(expectHit));
  }
  return costs;
}

/** @throws Error if a server does not answer from its cache */
async function expectHit({ url }: Program): Promise<void> {
  const headers = { host, authorization: "Bearer bench-0123456789" };
  // The first fills the cache where it has run out.
  await fetch(`${url}/items`, { headers });
  const { headers: answered } = await fetch(`${url}/items`, { headers });
  if (answered.get("x-cache") !== "HIT") throw new Error(`${url} does not answer from its cache.`);
}

/**
 * Resident memory with a cache that has been written full several times over, above what the same traffic takes
 * without a cache; for each size of answer.
 */
async function measureMemory(folder: string): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const bytes of answerBytes) {
    const [full, empty] = [
      await filledBytes(folder, bytes, true),
      await filledBytes(folder, bytes, false),
    ];
    figures.push({
      name: `a full cache of answers of ${bytes} bytes ÷ max_size_mb`,
      value: (full - empty) / (cacheMegabytes * 1024 * 1024),
      unit: "×",
      atMost: 1.2,
    });
  }
  return figures;
}

/** Resident bytes of Cooldown while it passes on `fills` times what the cache holds, in the second half of that. */
async function filledBytes(folder: string, bytes: number, enabled: boolean): Promise<number> {
  const body = new Uint8Array(bytes).fill(0x20);
  const upstream = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response(body, { headers: { "content-type": "text/plain" } }),
  });
  const name = `memory-${bytes}-${enabled}`;
  const program = await startCooldown(
    configure(folder, upstream.url.origin, "warn", enabled, name),
  );
  try {
    const requests = Math.ceil((fills * cacheMegabytes * 1024 * 1024) / (bytes + 1_000));
    const samples: number[] = [];
    let next = 0;
    const client = async (): Promise<void> => {
      while (next < requests) {
        const number = next++;
        await (await fetch(`${program.url}/items/${number}`, { headers: { host } })).bytes();
        if (number % 50 === 0 && number > requests / 2) samples.push(program.rssBytes());
      }
    };
    await Promise.all(Array.from({ length: 16 }, client));
    // Garbage comes and goes: of many looks the middle one.
    return median(samples);
  } finally {
    await program.stop();
    await upstream.stop(true);
  }
}

/** Writes the configuration of a program that differs from the default by its cache; gives the file. */
function configure(
  folder: string,
  upstream: string,
  logLevel: string,
  enabled = true,
  name = `cache-${logLevel}`,
): string {
  const own = join(folder, name);
  mkdirSync(own);
  const config = join(own, "config.yaml");
  writeFileSync(
    config,
    `server: { log_level: ${logLevel} }
storage: { path: ${join(own, "usage", "usage.db")} }
cache: { enabled: ${enabled}, ttl: 10m, max_size_mb: ${cacheMegabytes} }
rate_limits:
  - { domain: ${host}, requests_per_second: 100000, burst: 1000000, upstream: "${upstream}" }
`,
  );
  return config;
}

/** nginx with `proxy_cache` in front of `upstream`, as one process, its files in `folder`. */
async function startCachingNginx(folder: string, upstream: string): Promise<Program> {
  const port = freePort();
  const home = join(folder, "caching-nginx");
  mkdirSync(home);
  const config = join(home, "nginx.conf");
  writeFileSync(
    config,
    `daemon off;
master_process off;
pid ${home}/pid;
error_log ${home}/error.log;
events { worker_connections 1024; }
http {
  access_log ${home}/access.log;
  keepalive_requests 1000000000;
  client_body_temp_path ${home}/body;
  proxy_temp_path ${home}/proxy;
  fastcgi_temp_path ${home}/fastcgi;
  uwsgi_temp_path ${home}/uwsgi;
  scgi_temp_path ${home}/scgi;
  proxy_cache_path ${home}/cache keys_zone=all:10m max_size=${cacheMegabytes}m;
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_cache all;
      proxy_cache_key $request_method$host$request_uri$http_authorization;
      proxy_cache_valid 200 10m;
      add_header X-Cache $upstream_cache_status;
      proxy_pass ${upstream};
    }
  }
}
`,
  );
  const child = Bun.spawn(["nginx", "-c", config, "-p", home], {
    stdout: "ignore",
    stderr: "ignore",
  });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 100; tries++) {
    try {
      await fetch(url);
      return programAt(url, child);
    } catch {
      if (child.exitCode !== null) break;
      await Bun.sleep(20);
    }
  }
  child.kill("SIGKILL");
  throw new Error("nginx did not start.");
}

function skip(why: string): Findings {
  return { figures: [], skipped: [`cache: ${why}`] };
}
