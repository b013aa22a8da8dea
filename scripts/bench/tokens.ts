import { benchTokens as measureTokens } from "../bench-tokens.ts";
import type { Figure, Findings } from "./figure.ts";

/** The most that counting a text of about this size may take, ms. */
const atMost = new Map([["1 KB", 0.3]]);
/** The longest that the event loop may stand still while a prompt is counted, ms. */
const longestPause = 5;

/** Counting tokens, by kind and size of text. */
export async function benchTokens(): Promise<Findings> {
  const figures = (await measureTokens()).flatMap(
    ({ text, bytes, countMs, pauseMs, worstPauseMs }): Figure[] => {
      const size = bytes < 1_000 ? `${bytes} bytes` : `${Math.round(bytes / 1_024)} KB`;
      const target = atMost.get(size) ?? null;
      return [
        { name: `${text}, ${size}: count`, value: countMs, unit: "ms", atMost: target },
        ...(bytes === 102_400
          ? [
              {
                name: `${text}, ${size}: longest pause for others`,
                value: pauseMs,
                unit: "ms",
                atMost: longestPause,
              } as const,
              {
                name: "  the worst of nine",
                value: worstPauseMs,
                unit: "ms",
                atMost: null,
              } as const,
            ]
          : []),
      ];
    },
  );
  return { figures, skipped: [] };
}
