import { describe, expect, test } from "bun:test";
import { textCounter } from "../../src/tokens/bpe.ts";
import { worstUnits } from "./texts.ts";

/** Milliseconds: the best of a few runs, as the machine may be busy. */
function best(run: () => void): number {
  let least = Infinity;
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    run();
    least = Math.min(least, performance.now() - start);
  }
  return least;
}

describe.each(["o200k", "cl100k"] as const)("%s", (name) => {
  const count = textCounter(name);

  // The textbook merge takes seconds for the first of these.
  test.each(worstUnits.map((unit) => [JSON.stringify(unit), unit] as const))(
    "100 KB of %s take no time",
    (_, unit) => {
      const text = unit.repeat(Math.floor(100_000 / unit.length));
      expect(best(() => count(text))).toBeLessThan(250);
      const tokens = count(text);
      expect(tokens).toBeGreaterThan(0);
      expect(tokens).toBeLessThanOrEqual(Buffer.byteLength(text));
    },
  );
});
