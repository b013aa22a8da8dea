import { packAverage, unpackAverage } from "./moving-average.ts";
import type { Route, Routes } from "./need.ts";
import { FadingHistogram } from "./quantile.ts";

/** What is known of a key's needs, as data for JSON: some 100 bytes for each size of cap. */
export function packNeed(routes: Routes): unknown {
  return [...routes].map(([size, route]) => ({
    size,
    seen: route.seen,
    current: route.current.toJSON(),
    before: route.before?.toJSON() ?? null,
    level: [packAverage(route.level.fast), packAverage(route.level.slow)],
    raised: Number(route.raised.toPrecision(6)),
    credit: Number(route.credit.toPrecision(6)),
  }));
}

/**
 * What `packNeed` stored, without what makes no sense of it; null where nothing does.
 *
 * @param memory of the histograms
 */
export function unpackNeed(stored: unknown, memory: number): Routes | null {
  if (!Array.isArray(stored)) return null;
  const routes: Routes = new Map();
  for (const entry of (stored as unknown[]).slice(0, 32)) {
    if (typeof entry !== "object" || entry === null) continue;
    const { size, ...rest } = entry as Record<string, unknown>;
    const route = unpackRoute(rest, memory);
    if (typeof size === "number" && Number.isInteger(size) && size >= 0 && route !== null)
      routes.set(size, route);
  }
  return routes.size > 0 ? routes : null;
}

function unpackRoute(stored: Record<string, unknown>, memory: number): Route | null {
  const { seen, raised, credit, before } = stored;
  const level = Array.isArray(stored["level"]) ? (stored["level"] as unknown[]) : [];
  const [fast, slow] = level.map(unpackAverage);
  if (fast === null || fast === undefined || slow === null || slow === undefined) return null;
  if (typeof seen !== "number" || !(seen >= 0)) return null;
  if (typeof raised !== "number" || !(raised >= 0 && raised < 40)) return null;
  if (typeof credit !== "number" || !(credit >= 0 && credit < 40)) return null;
  const current = FadingHistogram.restore(stored["current"], memory);
  return {
    // Never more evidence than there are answers to show for it; of `memory` answers, 63 % of the weight is left.
    seen: Math.min(seen, memory, Math.round(2 * current.weight)),
    current,
    before: before === null ? null : FadingHistogram.restore(before, memory),
    level: { fast, slow },
    raised,
    credit,
  };
}
