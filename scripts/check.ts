/**
 * `bun run check`: everything that must hold before a change goes in: format, lint, types, nothing unused,
 * tests, coverage. `--fast` leaves out the tests. Ends with 1 if anything failed, after having run it all.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";

import { addUnloaded, measure, readLcov, thresholds } from "./coverage.ts";

const { values } = parseArgs({ options: { fast: { type: "boolean", default: false } } });
const root = `${import.meta.dir}/..`;
const report = `${root}/coverage/lcov.info`;

/** Whether it held, and what to print if not. */
interface Outcome {
  held: boolean;
  output: string;
}

/** A command of this project's dependencies, or of Bun itself. */
function run(...command: string[]): () => Promise<Outcome> {
  return async () => {
    const child = Bun.spawn([process.execPath, ...command], {
      cwd: root,
      stdout: "pipe",
      stderr: "pipe",
    });
    const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { held: (await child.exited) === 0, output: `${out}${err}` };
  };
}

/** Tests take a while: what they say is shown as they say it. */
async function tests(): Promise<Outcome> {
  rmSync(report, { force: true });
  const command = [
    "test",
    "--coverage",
    "--coverage-reporter=lcov",
    "--coverage-dir=coverage",
    "--only-failures",
  ];
  const child = Bun.spawn([process.execPath, ...command], {
    cwd: root,
    stdout: "inherit",
    stderr: "inherit",
  });
  return { held: (await child.exited) === 0, output: "" };
}

function coverage(): Promise<Outcome> {
  if (!existsSync(report))
    return Promise.resolve({ held: false, output: "the tests left no coverage report" });
  const covered = readLcov(readFileSync(report, "utf8"));
  addUnloaded(covered, root);
  let held = true;
  const lines = thresholds.flatMap((threshold) => {
    const { share, reached, worst } = measure(covered, threshold);
    if (!reached) held = false;
    const shown = share === null ? "nothing to cover" : `${(share * 100).toFixed(1)} %`;
    const line = `${threshold.name}: ${shown}, at least ${threshold.least * 100} %`;
    return reached ? [line] : [`${line}  <-- too little`, ...worst.map((file) => `    ${file}`)];
  });
  if (held) console.log(lines.map((line) => `  ${line}`).join("\n"));
  return Promise.resolve({ held, output: lines.join("\n") });
}

const steps: readonly { name: string; slow: boolean; check: () => Promise<Outcome> }[] = [
  { name: "format", slow: false, check: run("run", "oxfmt", "--check", "src", "scripts", "test") },
  { name: "lint", slow: false, check: run("run", "oxlint", "--deny-warnings", ".") },
  { name: "types", slow: false, check: run("run", "tsc", "-p", ".") },
  { name: "unused", slow: false, check: run("run", "knip", "--no-progress") },
  { name: "tests", slow: true, check: tests },
  { name: "coverage", slow: true, check: coverage },
];

const failed: string[] = [];
for (const { name, slow, check } of steps) {
  if (slow && values.fast) continue;
  const started = performance.now();
  const { held, output } = await check();
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (!held) {
    failed.push(name);
    console.log(output.trimEnd());
  }
  console.log(`${held ? "ok    " : "FAILED"} ${name.padEnd(9)} ${seconds} s`);
}
console.log(failed.length === 0 ? "All checks passed." : `Failed: ${failed.join(", ")}.`);
process.exitCode = failed.length === 0 ? 0 : 1;
