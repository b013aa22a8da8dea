import { openAiLike } from "./openai-like.ts";

/**
 * Groq: a stream's last event with a choice has `x_groq.usage`, asked for or not; `x_groq.error` says that it failed
 * on the way.
 *
 * Source: https://console.groq.com/docs/api-reference.
 */
export const groq = openAiLike({ name: "groq", extension: "x_groq" });
