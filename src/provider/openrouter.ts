import { readArray } from "./fields.ts";
import { openAiLike } from "./openai-like.ts";

/**
 * OpenRouter: a stream begins with comments (`: OPENROUTER PROCESSING`) while no model answers, has usage in its last
 * event, asked for or not, and may end in an event with `error` after it began with a 200. `models` lists what to try
 * where `model` is absent.
 *
 * Sources: https://openrouter.ai/docs/api-reference/streaming, https://openrouter.ai/docs/api-reference/errors,
 * https://openrouter.ai/docs/features/model-routing.
 */
export const openrouter = openAiLike({
  name: "openrouter",
  modelOf: (_path, body) => {
    const [first] = readArray(body, "models");
    return typeof first === "string" ? first : "";
  },
});
