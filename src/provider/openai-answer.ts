import { isObject } from "./body.ts";
import type { Usage } from "./dialect.ts";
import { textKeys } from "./delta.ts";
import { readCount } from "./fields.ts";
import type { EventKind, StreamFormat } from "./stream.ts";

/**
 * A stream in OpenAI's format.
 * @param extension key of an object in which events may have `usage` and `error` too, null for none
 */
export function openAiStream(extension: string | null): StreamFormat {
  const extended = (event: Record<string, unknown>, key: string): unknown => {
    const inner = extension === null ? null : event[extension];
    return isObject(inner) ? inner[key] : undefined;
  };
  const usageIn = (event: Record<string, unknown>): Usage | null => {
    const inner = event["response"];
    return (
      openAiUsage(event["usage"]) ??
      (isObject(inner) ? openAiUsage(inner["usage"]) : null) ??
      openAiUsage(extended(event, "usage"))
    );
  };
  return {
    usageKey: "usage",
    lengthMark,
    kindOf,
    plain,
    usageAfter(event, before) {
      const found = isObject(event) ? usageIn(event) : null;
      // Some APIs report in every event, and some zeros in the last: the running sum never falls.
      return found === null || (before !== null && before.total > found.total) ? before : found;
    },
    stoppedForLength,
    isWhole: (event) => isObject(event) && hasEnded(event["choices"]) && usageIn(event) !== null,
    isError: (event) =>
      isObject(event) &&
      (event["type"] === "error" || isError(event["error"]) || isError(extended(event, "error"))),
  };
}

/** An event of chat completions (their `reasoning_content` and `content` end alike) or of completions. */
const choices: EventKind = {
  textKeys: textKeys('content":', '"reasoning":', '"arguments":', '"text":'),
  isPlain: false,
  isLast: false,
};
const lengthMark = '"length"';
/** Events of chat and completions, but for those that end them. */
const plain = {
  marks: [lengthMark, '"error"', '"response.', "[DONE]"].map((mark) => Buffer.from(mark)),
  textKeys: choices.textKeys,
};
const done: EventKind = { textKeys: [], isPlain: false, isLast: true };
const responseDelta: EventKind = { textKeys: textKeys('"delta":'), isPlain: true, isLast: false };
const responseStep: EventKind = { textKeys: [], isPlain: false, isLast: false };

/**
 * Chat and completions end with `[DONE]`, responses with one of three events. Of these, the ones at the end of each
 * part repeat the text that came in its deltas.
 */
function kindOf(event: string): EventKind {
  // The pattern alone would do, but is slow to say no.
  const type = event.includes('"response.') ? typeOfResponse.exec(event)?.[1] : undefined;
  if (type === undefined) return event === "[DONE]" ? done : choices;
  if (type.endsWith(".delta")) return responseDelta;
  return endsOfResponse.has(type) ? done : responseStep;
}

const typeOfResponse = /"type": ?"response\.([a-z_.]+)"/;
const endsOfResponse = new Set(["completed", "incomplete", "failed"]);

/** Whether every choice of an event is at its end, as when it has none. */
function hasEnded(choices: unknown): boolean {
  return (
    Array.isArray(choices) &&
    choices.every((choice) => isObject(choice) && typeof choice["finish_reason"] === "string")
  );
}

/** An error is an object, in some APIs just a text. */
function isError(value: unknown): boolean {
  return isObject(value) || (typeof value === "string" && value !== "");
}

/**
 * Whether an answer or an event says that the cap on output was reached: `finish_reason` of any choice in chat and
 * completions, `incomplete_details` in responses, beside the rest of the response or within `response`.
 */
export function stoppedForLength(value: unknown): boolean {
  if (!isObject(value)) return false;
  const all = value["choices"];
  if (Array.isArray(all))
    return all.some((choice) => isObject(choice) && choice["finish_reason"] === "length");
  const inner = value["response"];
  const details = (isObject(inner) ? inner : value)["incomplete_details"];
  return isObject(details) && details["reason"] === "max_output_tokens";
}

/** Usage in either of OpenAI's two sets of names; null where there is none, or only zeros. */
export function openAiUsage(value: unknown): Usage | null {
  if (!isObject(value)) return null;
  const input = readCount(value["prompt_tokens"] ?? value["input_tokens"]);
  const output = readCount(value["completion_tokens"] ?? value["output_tokens"]);
  const details = value["prompt_tokens_details"] ?? value["input_tokens_details"];
  const cached = readCount(
    isObject(details) ? details["cached_tokens"] : value["prompt_cache_hit_tokens"],
  );
  const total = Math.max(readCount(value["total_tokens"]), input + output);
  return total === 0 ? null : { input, output, total, cachedInput: Math.min(cached, input) };
}
