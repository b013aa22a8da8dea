import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { compile } from "../compile.ts";
import type { Findings } from "./figure.ts";
import { median } from "./figure.ts";
import { freePort } from "./program.ts";

const starts = 10;
const root = resolve(import.meta.dir, "../..");

/** From the start of the executable, built for this, to its first answer. */
export async function benchStart(): Promise<Findings> {
  const folder = mkdtempSync(join(tmpdir(), "cooldown-bench-"));
  try {
    const executable = join(folder, "cooldown");
    await compile({ entry: join(root, "src/main.ts"), outfile: executable });
    const times: number[] = [];
    for (let i = 0; i < starts; i++) times.push(await startOnce(executable, folder));
    return {
      figures: [{ name: "start to first answer", value: median(times), unit: "ms", atMost: 150 }],
      skipped: [],
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds until `/health` answers; asked again and again, for the log may say so earlier than it is true. */
async function startOnce(executable: string, folder: string): Promise<number> {
  const port = String(freePort());
  const start = performance.now();
  const child = Bun.spawn([executable, "--store", ":memory:", "--port", port], {
    cwd: folder,
    stdout: "ignore",
    stderr: "ignore",
  });
  try {
    while (performance.now() - start < 10_000 && child.exitCode === null) {
      try {
        const { ok } = await fetch(`http://127.0.0.1:${port}/health`);
        if (ok) return performance.now() - start;
      } catch {
        await Bun.sleep(1);
      }
    }
    throw new Error(`${executable} did not answer.`);
  } finally {
    child.kill("SIGTERM");
    await child.exited;
  }
}
