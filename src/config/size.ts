/** Bytes of each unit; the order is that in which `formatSize` tries them. */
const units = {
  GiB: 1_073_741_824,
  GB: 1_000_000_000,
  MiB: 1_048_576,
  MB: 1_000_000,
  KiB: 1_024,
  KB: 1_000,
  B: 1,
} as const;

const byLowerCase: ReadonlyMap<string, number> = new Map(
  Object.entries(units).map(([unit, bytes]) => [unit.toLowerCase(), bytes]),
);

/** How a size may be written, for messages. */
export const sizeForms = "a size such as 512KB, 100MB or 1GiB, or a number of bytes";

/**
 * Reads a size: a number with B, KB, MB, GB (powers of 1000) or KiB, MiB, GiB (powers of 1024), or bytes.
 *
 * @returns whole bytes, or null where `input` is no size.
 */
export function parseSize(input: unknown): number | null {
  if (typeof input === "number") return Number.isSafeInteger(input) && input >= 0 ? input : null;
  if (typeof input !== "string") return null;
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(input.trim());
  const bytesPerUnit = byLowerCase.get((match?.[2] ?? "").toLowerCase() || "b");
  if (match === null || bytesPerUnit === undefined) return null;
  const bytes = Math.round(Number(match[1]) * bytesPerUnit);
  return Number.isSafeInteger(bytes) ? bytes : null;
}

/** Writes bytes as `parseSize` reads them, in the largest unit that leaves no fraction. */
export function formatSize(bytes: number): string {
  if (bytes === 0) return "0B";
  const fitting = Object.entries(units).find(([, unitBytes]) => bytes % unitBytes === 0);
  return fitting === undefined ? `${bytes}B` : `${bytes / fitting[1]}${fitting[0]}`;
}
