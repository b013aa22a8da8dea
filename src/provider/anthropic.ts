import type { PromptMessage } from "../tokens/prompt.ts";
import { invalid, isObject } from "./body.ts";
import { textKeys } from "./delta.ts";
import type { Dialect, ModelCall, Usage } from "./dialect.ts";
import {
  addContent,
  jsonText,
  lowerLargest,
  message,
  readArray,
  readCount,
  readLargest,
  readString,
} from "./fields.ts";
import type { Parts } from "./fields.ts";
import { streamFollower } from "./stream.ts";
import type { EventKind, StreamFormat } from "./stream.ts";

/**
 * Anthropic's messages API. Counting tokens (`/v1/messages/count_tokens`) and batches (`/v1/messages/batches`) have
 * limits of their own and are not metered.
 *
 * Sources: https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/docs/build-with-claude/streaming,
 * https://docs.anthropic.com/en/api/errors. Input in all is `input_tokens` plus what was written to and read from
 * the prompt cache; in a stream `message_start` has the input and each `message_delta` the counts so far. An `error`
 * event may end a stream that began with a 200.
 */
export const anthropic = {
  name: "anthropic",
  usageKey: "usage",
  isMetered: (method, path) => method === "POST" && path.endsWith("/messages"),
  readCall,
  withMaxOutput(_path, body, tokens) {
    // Thinking takes its budget out of the cap, and a cap that is not larger than the budget is refused.
    const thinking = body["thinking"];
    const budget = isObject(thinking) ? readCount(thinking["budget_tokens"]) : 0;
    return budget >= tokens ? null : lowerLargest(body, outputKeys, tokens);
  },
  usageOf: (answer) => (isObject(answer) ? usageAfter({ usage: answer["usage"] }, null) : null),
  stoppedForLength,
  follow: () => followAnthropic(),
  errorBody: ({ type, message }, requestId) =>
    JSON.stringify({ type: "error", error: { type, message }, request_id: requestId }),
} satisfies Dialect;

const delta: EventKind = {
  textKeys: textKeys('"text":', '"thinking":', '"partial_json":'),
  isPlain: true,
  isLast: false,
};
/** Events of one block of content. */
const plain = {
  marks: ["message_", '"error"', "content_block_start"].map((mark) => Buffer.from(mark)),
  textKeys: delta.textKeys,
};
const stop: EventKind = { textKeys: [], isPlain: false, isLast: true };
const step: EventKind = { textKeys: [], isPlain: false, isLast: false };

function kindOf(event: string): EventKind {
  if (event.startsWith('{"type":"content_block_delta"') || blockDelta.test(event)) return delta;
  return messageStop.test(event) ? stop : step;
}

const blockDelta = /"type": ?"content_block_delta"/;
const messageStop = /"type": ?"message_stop"/;

/** How a stream of messages is read. */
export const anthropicStream: StreamFormat = {
  usageKey: "usage",
  lengthMark: null,
  kindOf,
  plain,
  usageAfter,
  stoppedForLength,
  isError: (event) => isObject(event) && event["type"] === "error",
};
const followAnthropic = streamFollower(anthropicStream);

/** The field that limits output, and those of OpenAI that some servers of this format take too. */
const outputKeys = ["max_tokens", "max_completion_tokens", "max_output_tokens"];

/** `stop_reason` of a message, or of the `message_delta` event that ends one. */
function stoppedForLength(value: unknown): boolean {
  if (!isObject(value)) return false;
  const delta = value["delta"];
  return (isObject(delta) ? delta : value)["stop_reason"] === "max_tokens";
}

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
    maxOutput: readLargest(body, outputKeys),
    hasOutput: true,
  };
}

/** Takes the counts an event has and keeps the others: each is the sum so far, not a step. */
function usageAfter(event: unknown, before: Usage | null): Usage | null {
  if (!isObject(event)) return before;
  const inner = event["message"];
  const value = isObject(inner) ? inner["usage"] : event["usage"];
  if (!isObject(value)) return before;
  // What was read from the cache and what was not are sums of their own: an event may have just one of them.
  const cachedInput = Math.max(
    readCount(value["cache_read_input_tokens"]),
    before?.cachedInput ?? 0,
  );
  const fresh = Math.max(
    readCount(value["input_tokens"]) + readCount(value["cache_creation_input_tokens"]),
    before === null ? 0 : before.input - before.cachedInput,
  );
  const input = fresh + cachedInput;
  const output = Math.max(readCount(value["output_tokens"]), before?.output ?? 0);
  return input + output === 0 ? null : { input, output, total: input + output, cachedInput };
}
