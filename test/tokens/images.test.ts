import { expect, test } from "bun:test";
import { type ImageCosts, imageTokens } from "../../src/tokens/images.ts";
import type { PromptImage } from "../../src/tokens/prompt.ts";

const tiles: ImageCosts = { kind: "tiles", base: 85, tile: 170 };
const patches: ImageCosts = { kind: "patches", factor: 1 };
const area: ImageCosts = { kind: "area", most: 1600 };
const squares: ImageCosts = { kind: "squares", tile: 258 };

const sized = (
  width: number | null,
  height: number | null,
  detail: PromptImage["detail"] = "auto",
): PromptImage => ({
  width,
  height,
  detail,
});

// The first two rows are the examples of the documentation of OpenAI, as is that of 1800 x 2400.
test.each([
  ["tiles", tiles, sized(1024, 1024, "high"), 765],
  ["tiles", tiles, sized(2048, 4096, "high"), 1105],
  ["tiles", tiles, sized(4096, 8192, "low"), 85],
  ["tiles, never enlarged", tiles, sized(100, 100), 255],
  ["tiles of unknown size", tiles, sized(null, null), 765],
  ["patches", patches, sized(1024, 1024), 1024],
  ["patches, at most", patches, sized(1800, 2400), 1536],
  ["patches with a factor", { kind: "patches", factor: 1.62 } as const, sized(1024, 1024), 1659],
  ["area", area, sized(1000, 1000), 1334],
  ["area, at most", area, sized(4000, 4000), 1600],
  ["area of unknown size", area, sized(null, null), 1600],
  ["squares, small", squares, sized(384, 384), 258],
  ["squares", squares, sized(960, 540), 516],
  ["squares of unknown size", squares, sized(null, null), 258],
] as const)("%s", (_, costs, image, tokens) => {
  expect(imageTokens(costs, image)).toBe(tokens);
});
