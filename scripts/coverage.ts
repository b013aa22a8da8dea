import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Lines that ran and lines that could have, of one file. */
export interface Coverage {
  hit: number;
  lines: number;
}

/** What must be reached: `of` are folders under `src/`, all of it where empty; `least` is a share of lines. */
export interface Threshold {
  name: string;
  of: readonly string[];
  least: number;
}

export const thresholds: readonly Threshold[] = [
  ...["limit", "ledger", "queue", "admission", "tokens"].map((part) => ({
    name: `src/${part}`,
    of: [part],
    least: 0.95,
  })),
  { name: "overall", of: [], least: 0.9 },
];

/** Lines by file, from an lcov tracefile (geninfo(1)); a file that comes twice ran where either run did. */
export function readLcov(lcov: string): Map<string, Coverage> {
  const hits = new Map<string, Map<number, number>>();
  let current = new Map<number, number>();
  for (const row of lcov.split("\n")) {
    const tag = row.slice(0, 3);
    const value = row.slice(3).trim();
    if (tag === "SF:") {
      const file = value.replaceAll("\\", "/");
      current = hits.get(file) ?? new Map<number, number>();
      hits.set(file, current);
    } else if (tag === "DA:") {
      const [line = 0, count = 0] = value.split(",").map(Number);
      current.set(line, (current.get(line) ?? 0) + count);
    }
  }
  return new Map(
    [...hits].map(([file, lines]) => [
      file,
      { hit: [...lines.values()].filter((count) => count > 0).length, lines: lines.size },
    ]),
  );
}

/**
 * Adds the files that no test loads, which a coverage report leaves out: each of their lines counts as one
 * that did not run. Types alone make no lines.
 *
 * @param root the folder over `src/`.
 */
export function addUnloaded(covered: Map<string, Coverage>, root: string): void {
  const transpiler = new Bun.Transpiler({ loader: "ts" });
  for (const path of readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })) {
    const file = `src/${path.replaceAll("\\", "/")}`;
    if (!file.endsWith(".ts") || file.endsWith(".d.ts") || covered.has(file)) continue;
    const code = transpiler.transformSync(readFileSync(join(root, file), "utf8"));
    covered.set(file, {
      hit: 0,
      lines: code.split("\n").filter((line) => line.trim() !== "").length,
    });
  }
}

/** How far `covered` is from `threshold`; null share where there is nothing to cover. */
export function measure(
  covered: ReadonlyMap<string, Coverage>,
  threshold: Threshold,
): { share: number | null; reached: boolean; worst: readonly string[] } {
  const files = [...covered].filter(
    ([file]) =>
      file.startsWith("src/") &&
      (threshold.of.length === 0 || threshold.of.some((part) => file.startsWith(`src/${part}/`))),
  );
  const [hit, lines] = files.reduce(
    ([hits, all], [, file]) => [hits + file.hit, all + file.lines],
    [0, 0],
  );
  const share = lines === 0 ? null : hit / lines;
  const worst = files
    .filter(([, file]) => file.hit < file.lines)
    .sort(([, a], [, b]) => b.lines - b.hit - (a.lines - a.hit))
    .slice(0, 5)
    .map(([file, { hit: ran, lines: all }]) => `${file}: ${all - ran} of ${all} lines never ran`);
  return { share, reached: share === null || share >= threshold.least, worst };
}
