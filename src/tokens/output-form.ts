import { packAverage, unpackAverage } from "./moving-average.ts";
import type { Learned } from "./output.ts";
import { FadingHistogram } from "./quantile.ts";

/** The averages of a key, in the order in which they are stored: append only. */
const averages = [
  "output",
  "capUse",
  "durationMs",
  "meanError",
  "capUseError",
  "cellError",
] as const satisfies readonly (keyof Learned)[];

/** What is known of a key's answers, as data for JSON: about 1 KB. */
export function packLearned(learned: Learned): unknown {
  return {
    averages: averages.map((name) => packAverage(learned[name])),
    level: [packAverage(learned.level.fast), packAverage(learned.level.slow)],
    residuals: learned.residuals.toJSON(),
    cells: [...learned.cells].map(([at, cell]) => [at, packAverage(cell)]),
  };
}

/**
 * What `packLearned` stored, or null where it cannot be that.
 *
 * @param empty nothing learned yet: filled and returned
 * @param memory of the histogram
 */
export function unpackLearned(stored: unknown, empty: Learned, memory: number): Learned | null {
  if (typeof stored !== "object" || stored === null) return null;
  const { averages: packed, level, residuals, cells } = stored as Record<string, unknown>;
  if (!Array.isArray(packed) || !Array.isArray(level) || !Array.isArray(cells)) return null;
  for (const [index, name] of averages.entries()) {
    const average = unpackAverage(packed[index]);
    if (average === null || average.mean < 0) return null;
    Object.assign(empty[name], average);
  }
  const [fast, slow] = level.map(unpackAverage);
  if (fast === null || fast === undefined || slow === null || slow === undefined) return null;
  if (empty.output.count === 0) return null;
  for (const entry of cells as unknown[]) {
    const [at, stored] = Array.isArray(entry) ? (entry as unknown[]) : [];
    const cell = unpackAverage(stored);
    if (typeof at !== "number" || cell === null || cell.mean < 0) continue;
    empty.cells.set(at, cell);
  }
  return {
    ...empty,
    level: { fast, slow },
    residuals: FadingHistogram.restore(residuals, memory),
  };
}
