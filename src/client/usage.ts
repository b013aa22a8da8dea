import type { Usage } from "./algorithm.ts";

/** No algorithm gives more. */
const mostEntries = 64;

/**
 * Reads usage that was stored, perhaps by another version. Times to come are taken as now: the clock was set back.
 * @param now ms since the epoch
 * @returns the oldest first; null where it makes no sense
 */
export function readUsage(stored: unknown, now: number): Usage | null {
  if (!Array.isArray(stored) || stored.length === 0 || stored.length > mostEntries) return null;
  const usage: [number, number, number][] = [];
  for (const entry of stored as unknown[]) {
    if (!Array.isArray(entry) || entry.length !== 3 || !entry.every(isAmount)) return null;
    const [at = 0, requests = 0, tokens = 0] = entry;
    usage.push([Math.min(at, now), requests, tokens]);
  }
  return usage.toSorted(([a], [b]) => a - b);
}

function isAmount(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}
