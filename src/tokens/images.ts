import type { PromptImage } from "./prompt.ts";

/** How a model charges an image. Sizes in pixels, costs in tokens. */
export type ImageCosts =
  /** OpenAI: `base`, and `tile` for each 512² tile after fitting into 2048² and a short side of 768. */
  | { readonly kind: "tiles"; readonly base: number; readonly tile: number }
  /** OpenAI: 32² patches, at most 1536, times `factor`. */
  | { readonly kind: "patches"; readonly factor: number }
  /** Anthropic: area / 750, at most `most`. */
  | { readonly kind: "area"; readonly most: number }
  /** Gemini: `tile` if both sides are at most 384, else `tile` for each 768² tile. */
  | { readonly kind: "squares"; readonly tile: number };

/** What is assumed of an image of unknown size (behind a URL, say). */
const unknownSide = 1024;
const mostPatches = 1536;

/** Scales (width, height) down so that the longer side is at most `longest`, then the shorter at most `shortest`. */
function fit(width: number, height: number, longest: number, shortest: number): [number, number] {
  const first = Math.min(1, longest / Math.max(width, height));
  const scale = first * Math.min(1, shortest / (Math.min(width, height) * first));
  return [width * scale, height * scale];
}

/**
 * Tokens that a model charges for an image.
 *
 * @see https://platform.openai.com/docs/guides/images-vision#calculating-costs
 * @see https://docs.claude.com/en/docs/build-with-claude/vision#calculate-image-costs
 * @see https://ai.google.dev/gemini-api/docs/tokens#multimodal-tokens
 */
export function imageTokens(costs: ImageCosts, image: PromptImage): number {
  const width = Math.max(1, image.width ?? unknownSide);
  const height = Math.max(1, image.height ?? unknownSide);
  switch (costs.kind) {
    case "tiles": {
      if (image.detail === "low") return costs.base;
      const [w, h] = fit(width, height, 2048, 768);
      return costs.base + costs.tile * Math.ceil(w / 512) * Math.ceil(h / 512);
    }
    case "patches":
      return Math.ceil(
        Math.min(mostPatches, Math.ceil(width / 32) * Math.ceil(height / 32)) * costs.factor,
      );
    case "area":
      if (image.width === null || image.height === null) return costs.most;
      return Math.min(costs.most, Math.ceil((width * height) / 750));
    case "squares": {
      const small =
        (image.width === null && image.height === null) || (width <= 384 && height <= 384);
      return small ? costs.tile : costs.tile * Math.ceil(width / 768) * Math.ceil(height / 768);
    }
  }
}
