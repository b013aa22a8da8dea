/** Units of a written duration in milliseconds, longest first: the order in which they may follow each other. */
const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1_000],
  ["ms", 1],
] as const;

/** How a duration may be written, for messages. */
export const durationForms = "a duration such as 500ms, 30s, 10m or 1h30m, or a number of seconds";

/**
 * Reads a duration: `500ms`, `30s`, `1h30m` (units d, h, m, s, ms, longest first), or a number of seconds.
 *
 * @returns whole milliseconds, or null where `input` is no duration.
 */
export function parseDuration(input: unknown): number | null {
  if (typeof input === "number")
    return Number.isFinite(input) && input >= 0 ? wholeMs(input * 1_000) : null;
  if (typeof input !== "string") return null;
  const text = input.trim();
  if (/^\d+(\.\d+)?$/.test(text)) return wholeMs(Number(text) * 1_000);
  const match =
    /^(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$/i.exec(
      text,
    );
  if (match === null || text === "") return null;
  return wholeMs(
    units.reduce((sum, [, unitMs], index) => sum + Number(match[index + 1] ?? 0) * unitMs, 0),
  );
}

/** Rounds up, so that no duration above zero becomes zero. The detour over text hides 0.1 + 0.2. */
function wholeMs(ms: number): number | null {
  const whole = Math.ceil(Number(ms.toFixed(3)));
  return Number.isSafeInteger(whole) ? whole : null;
}

/** Writes whole milliseconds as `parseDuration` reads them: `90_000` → `1m30s`. Days are written as hours. */
export function formatDuration(ms: number): string {
  if (ms === 0) return "0s";
  let rest = ms;
  let text = "";
  for (const [unit, unitMs] of units) {
    if (unit === "d") continue;
    const count = Math.floor(rest / unitMs);
    if (count > 0) text += `${count}${unit}`;
    rest -= count * unitMs;
  }
  return text;
}
