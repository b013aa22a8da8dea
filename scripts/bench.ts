/**
 * `bun run bench [PART…] [--json FILE]`: what Cooldown costs, beside the targets. What each line means, and how far
 * to trust it, is in docs/performance.md. Ends with 1 if a target was missed.
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { parseArgs } from "node:util";

import { benchCache } from "./bench/cache.ts";
import { benchClients } from "./bench/clients.ts";
import { benchDecisions } from "./bench/decisions.ts";
import type { Figure, Findings } from "./bench/figure.ts";
import { benchForwarding } from "./bench/forwarding.ts";
import { benchObjects } from "./bench/objects.ts";
import { benchQueueMemory } from "./bench/queue-memory.ts";
import { benchStall } from "./bench/stall.ts";
import { benchStart } from "./bench/start.ts";
import { benchStreaming } from "./bench/streaming.ts";
import { benchTokens } from "./bench/tokens.ts";
import { benchTunnel } from "./bench/tunnel.ts";

/** A further part is a file and a row here. */
const parts: Readonly<Record<string, () => Promise<Findings>>> = {
  decisions: benchDecisions,
  tokens: benchTokens,
  forwarding: benchForwarding,
  objects: benchObjects,
  streaming: benchStreaming,
  start: benchStart,
  memory: benchQueueMemory,
  stall: benchStall,
  clients: benchClients,
  cache: benchCache,
  tunnel: benchTunnel,
};

const { values, positionals } = parseArgs({
  options: { json: { type: "string" } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !(name in parts));
if (unknown.length > 0) {
  console.error(`There is no part ${unknown.join(", ")}, only ${Object.keys(parts).join(", ")}.`);
  process.exit(2);
}

const chosen = positionals.length === 0 ? Object.keys(parts) : positionals;
const results: Record<string, Findings> = {};
for (const name of chosen) {
  const started = performance.now();
  const findings = (await parts[name]?.()) ?? { figures: [], skipped: [] };
  results[name] = findings;
  console.log(`\n${name} (${((performance.now() - started) / 1_000).toFixed(0)} s)`);
  for (const figure of findings.figures) console.log(shown(figure));
  for (const what of findings.skipped) console.log(`  left out: ${what}`);
}

const missed = Object.values(results).flatMap(({ figures }) => figures.filter(isMissed));
console.log(
  missed.length === 0
    ? "\nAll targets met."
    : `\nMissed: ${missed.map(({ name }) => name.trim()).join("; ")}.`,
);
if (values.json !== undefined) {
  const about = { bun: Bun.version, cpu: cpus()[0]?.model ?? "", cores: cpus().length };
  const date = new Date().toISOString();
  writeFileSync(values.json, `${JSON.stringify({ date, ...about, results }, null, 2)}\n`);
}
process.exit(missed.length === 0 ? 0 : 1);

function isMissed({ value, atMost }: Figure): boolean {
  return atMost !== null && !(value <= atMost);
}

/** One line of the table: name, value, and where there is a target, whether it is met. */
function shown(figure: Figure): string {
  const { name, value, unit, atMost } = figure;
  const digits = value >= 100 ? 0 : value >= 1 ? 2 : 4;
  const line = `  ${name.padEnd(58)} ${value.toFixed(digits).padStart(9)} ${unit.padEnd(10)}`;
  if (atMost === null) return line.trimEnd();
  return `${line} at most ${atMost}: ${isMissed(figure) ? "MISSED" : "met"}`;
}
