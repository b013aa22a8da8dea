import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Findings } from "./figure.ts";
import type { Program } from "./program.ts";
import { startCooldown, startServer } from "./program.ts";

const queued = 1_000;
const bodyBytes = 4_096;
const host = "queue.test";

/** Resident memory of 1,000 requests of 4 KB that wait, above the same program idle. */
export async function benchQueueMemory(): Promise<Findings> {
  if (process.platform !== "linux") {
    return { figures: [], skipped: ["queue: memory is read from /proc"] };
  }
  const folder = mkdtempSync(join(tmpdir(), "cooldown-bench-"));
  const config = join(folder, "config.yaml");
  const upstream = await startServer("upstream");
  // One request passes, the next would in an hour.
  writeFileSync(
    config,
    `rate_limits:
  - { domain: ${host}, requests_per_second: 0.0002, burst: 1, request_timeout: 10h, max_queue_depth: 2000,
      upstream: "${upstream.url}" }
quotas:
  - { name: queue, domain: ${host}, tpm: 100000000, request_timeout: 10h, max_queue_depth: 2000 }
`,
  );
  const program = await startCooldown(config, "--store", ":memory:");
  const clients: Socket[] = [];
  try {
    await fetch(`${program.url}/v1/models`, { headers: { host } });
    await settled(program);
    const idle = program.rssBytes();
    for (let i = 0; i < queued; i++) clients.push(send(program));
    await depthReached(program);
    await settled(program);
    const megabytes = (program.rssBytes() - idle) / 1e6;
    return {
      figures: [
        {
          name: "1,000 queued requests of 4 KB, above idle",
          value: megabytes,
          unit: "MB",
          atMost: 50,
        },
      ],
      skipped: [],
    };
  } finally {
    for (const client of clients) client.destroy();
    await program.stop();
    await upstream.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Asks for a chat completion, on a connection of its own: `fetch` would have only 256 at a time. */
function send({ url }: Program): Socket {
  const { hostname, port } = new URL(url);
  const empty = JSON.stringify({
    model: "gpt-4o",
    max_completion_tokens: 16,
    messages: [{ role: "user", content: "" }],
  });
  const text = "a few words that wait for their turn ".repeat(200);
  const content = text.slice(0, bodyBytes - empty.length);
  const body = empty.replace('"content":""', `"content":"${content}"`);
  const head = [
    "POST /v1/chat/completions HTTP/1.1",
    `Host: ${host}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
  ];
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  socket.write(`${head.join("\r\n")}\r\n\r\n${body}`);
  return socket;
}

/** Resolves when all are in the queue. */
async function depthReached({ url }: Program): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const stats = (await (await fetch(`${url}/stats`)).json()) as {
      quotas: { name: string; queue_depth: number }[];
    };
    if (stats.quotas.some(({ queue_depth: depth }) => depth >= queued)) return;
    await Bun.sleep(20);
  }
  throw new Error("The requests did not come to wait.");
}

/** Resolves when resident memory has not grown for a while. */
async function settled(program: Program): Promise<void> {
  let most = 0;
  for (let still = 0, tries = 0; still < 5 && tries < 100; tries++) {
    await Bun.sleep(100);
    const now = program.rssBytes();
    still = now > most ? 0 : still + 1;
    most = Math.max(most, now);
  }
}
