import { openAiLike } from "./openai-like.ts";

/**
 * OpenAI's own API. Streams of chat completions have usage only where the client asked for it with
 * `stream_options.include_usage`, then in one event of its own before `[DONE]` and as `null` in all others; those of
 * responses have it in the event that completes the response.
 *
 * Sources: https://platform.openai.com/docs/api-reference/chat-streaming,
 * https://platform.openai.com/docs/api-reference/responses-streaming.
 */
export const openai = openAiLike({ name: "openai" });
