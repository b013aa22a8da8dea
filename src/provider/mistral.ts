import { readString } from "./fields.ts";
import { openAiLike } from "./openai-like.ts";

/**
 * Mistral: the last event has `usage`, asked for or not. Agents (`/v1/agents/completions`) name an agent instead of
 * a model, fill-in-the-middle (`/v1/fim/completions`) has a prompt and a suffix, and content that was reasoned comes
 * as parts.
 *
 * Source: https://docs.mistral.ai/api.
 */
export const mistral = openAiLike({
  name: "mistral",
  modelOf: (_path, body) => readString(body, "agent_id"),
});
