import type { Ask } from "../../test/e2e/client.ts";

/**
 * A chat completion of about `input` tokens: one common word is one token, to the provider and to us.
 * @param options.timeoutMs how long it may wait in the queue
 */
export function chat(
  input: number,
  maxOutput: number,
  options: { stream?: boolean; timeoutMs?: number } = {},
): Ask {
  const { stream = false, timeoutMs = null } = options;
  const content = Array.from({ length: Math.max(1, input) }, () => "the").join(" ");
  return {
    host: "api.cerebras.ai",
    path: "/v1/chat/completions",
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(timeoutMs === null ? {} : { "X-Cooldown-Timeout": `${Math.ceil(timeoutMs)}ms` }),
    },
    body: JSON.stringify({
      model: "llama3.1-8b",
      messages: [{ role: "user", content }],
      max_completion_tokens: maxOutput,
      ...(stream ? { stream } : {}),
    }),
  };
}
