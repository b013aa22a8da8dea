import { openAiLike } from "./openai-like.ts";

/**
 * Cerebras: the last event with a choice has `usage` and `time_info`, asked for or not; reasoning comes as
 * `reasoning`.
 *
 * Source: https://inference-docs.cerebras.ai/api-reference/chat-completions.
 */
export const cerebras = openAiLike({ name: "cerebras" });
