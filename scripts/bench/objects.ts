import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Findings } from "./figure.ts";
import { startOpenCooldown, startServer } from "./program.ts";

/** So many that all is compiled, and so few that their garbage is not collected in between. */
const warmUps = 20_000;
const counted = 200;
const atATime = 16;
/** What the requests of a turn have in flight settles within, ms. */
const restMs = 500;

/** Types of the runtime's, and what they are called here. */
const shownTypes = {
  string: "strings",
  Object: "objects",
  Array: "arrays",
  Function: "functions",
  JSLexicalEnvironment: "scopes kept by functions",
  Promise: "promises",
  AsyncFunctionGenerator: "async calls",
  Uint8Array: "byte arrays",
} as const;

/** Objects that one request of the plain path leaves to the garbage collector. */
export async function benchObjects(): Promise<Findings> {
  const folder = mkdtempSync(join(tmpdir(), "cooldown-bench-"));
  const config = join(folder, "config.yaml");
  const upstream = await startServer("upstream");
  writeFileSync(
    config,
    `storage: { path: ${join(folder, "usage", "usage.db")} }
rate_limits:
  - { domain: plain.test, requests_per_second: 100000, burst: 1000000, upstream: "${upstream.url}" }
`,
  );
  const program = await startOpenCooldown(config);
  try {
    await ask(program.url, warmUps);
    await counts(`${program.heap}/clean`);
    await Bun.sleep(restMs);
    const before = await counts(`${program.heap}/count`);
    await ask(program.url, counted);
    const after = await counts(`${program.heap}/count`);
    const figures = Object.entries(shownTypes).map(([type, name]) => ({
      name: `${name}, left by a request`,
      value: ((after[type] ?? 0) - (before[type] ?? 0)) / counted,
      unit: "" as const,
      atMost: null,
    }));
    return { figures, skipped: [] };
  } finally {
    await program.stop();
    await upstream.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function counts(url: string): Promise<Record<string, number>> {
  return (await (await fetch(url)).json()) as Record<string, number>;
}

async function ask(url: string, times: number): Promise<void> {
  let left = times;
  const one = async (): Promise<void> => {
    while (left-- > 0) {
      const headers = { host: "plain.test", authorization: "Bearer bench-0123456789" };
      const answer = await fetch(`${url}/items`, { headers });
      await answer.arrayBuffer();
      if (!answer.ok) throw new Error(`The program answered ${answer.status}.`);
    }
  };
  await Promise.all(Array.from({ length: atATime }, one));
}
