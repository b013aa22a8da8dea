import type { PromptMessage } from "../tokens/prompt.ts";
import { invalid, isObject } from "./body.ts";
import type { Dialect, ModelCall, Usage } from "./dialect.ts";
import {
  addContent,
  jsonText,
  message,
  readArray,
  readCount,
  readLargest,
  readString,
} from "./fields.ts";
import type { Parts } from "./fields.ts";
import { followStream } from "./stream.ts";

/**
 * Anthropic's messages API.
 *
 * Sources: https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/docs/build-with-claude/streaming,
 * https://docs.anthropic.com/en/api/errors. Input in all is `input_tokens` plus what was written to and read from
 * the prompt cache; in a stream `message_start` has the input and each `message_delta` the output so far.
 */
export const anthropic = {
  name: "anthropic",
  isMetered: (method, path) => method === "POST" && path.endsWith("/messages"),
  readCall,
  usageOf: (answer) => (isObject(answer) ? usageAfter({ usage: answer["usage"] }, null) : null),
  follow: () =>
    followStream({
      textKeys: ['"text":', '"thinking":', '"partial_json":'],
      isLast: (line) => line.includes('"message_stop"') && /"type": ?"message_stop"/.test(line),
      usageAfter,
    }),
  errorBody: ({ type, message }, requestId) =>
    JSON.stringify({ type: "error", error: { type, message }, request_id: requestId }),
} satisfies Dialect;

function readCall(_path: string, body: Record<string, unknown>): ModelCall {
  const model = readString(body, "model");
  const messages: PromptMessage[] = [];
  const system: Parts = { text: [], images: [] };
  addContent(system, body["system"]);
  if (system.text.length > 0) messages.push(message("system", null, system));
  for (const value of readArray(body, "messages")) {
    if (!isObject(value)) throw invalid('each of "messages" must be an object');
    const parts: Parts = { text: [], images: [] };
    addContent(parts, value["content"]);
    messages.push(message(value["role"], null, parts));
  }
  return {
    model,
    stream: body["stream"] === true,
    prompt: {
      model,
      messages,
      texts: [],
      tokenIds: 0,
      tools: readArray(body, "tools").map(jsonText),
    },
    maxOutput: readLargest(body, ["max_tokens", "max_completion_tokens", "max_output_tokens"]),
    hasOutput: true,
  };
}

/** Takes the counts an event has and keeps the others: each is the sum so far, not a step. */
function usageAfter(event: unknown, before: Usage | null): Usage | null {
  if (!isObject(event)) return before;
  const inner = event["message"];
  const value = isObject(inner) ? inner["usage"] : event["usage"];
  if (!isObject(value)) return before;
  const read = readCount(value["cache_read_input_tokens"]);
  const fresh =
    readCount(value["input_tokens"]) + readCount(value["cache_creation_input_tokens"]) + read;
  const input = Math.max(fresh, before?.input ?? 0);
  const output = Math.max(readCount(value["output_tokens"]), before?.output ?? 0);
  const cachedInput = Math.min(Math.max(read, before?.cachedInput ?? 0), input);
  return input + output === 0 ? null : { input, output, total: input + output, cachedInput };
}
