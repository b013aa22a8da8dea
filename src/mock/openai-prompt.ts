import { estimateTokens } from "./estimate.ts";

/** A JSON object whose fields have not been looked at. */
export type Fields = Record<string, unknown>;

/** Whether `value` is a JSON object, neither null nor an array. */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const tokensPerMessage = 4;
const tokensPerAnswer = 3;
const tokensPerImage = 85;

/** What a request's input comes to. */
export interface Estimate {
  tokens: number;
  /** Length of its texts. */
  characters: number;
}

/** The estimate of an input of `tokens`, whose texts are anywhere in `parts`. */
export function estimateOf(tokens: number, ...parts: readonly unknown[]): Estimate {
  return { tokens, characters: charactersIn(parts) };
}

/** Not texts: names of things, and images, which are no text however long they are. */
const notText = new Set(["type", "role", "id", "call_id", "model", "image_url", "source"]);

function charactersIn(value: unknown): number {
  if (typeof value === "string") return value.length;
  let characters = 0;
  if (Array.isArray(value)) for (const part of value) characters += charactersIn(part);
  else if (isFields(value)) {
    for (const [name, part] of Object.entries(value)) {
      if (!notText.has(name)) characters += charactersIn(part);
    }
  }
  return characters;
}

/** About how many tokens a chat's messages and tools have, its template included. */
export function chatPromptTokens(messages: readonly unknown[], tools: unknown): number {
  let tokens = tokensPerAnswer + (tools === undefined ? 0 : estimateTokens(JSON.stringify(tools)));
  for (const message of messages) {
    tokens += tokensPerMessage;
    if (!isFields(message)) continue;
    tokens += contentTokens(message["content"]);
    if (message["tool_calls"]) tokens += estimateTokens(JSON.stringify(message["tool_calls"]));
  }
  return tokens;
}

function contentTokens(content: unknown): number {
  if (typeof content === "string") return estimateTokens(content);
  if (!Array.isArray(content)) return 0;
  let tokens = 0;
  for (const part of content) {
    if (!isFields(part)) continue;
    tokens += typeof part["text"] === "string" ? estimateTokens(part["text"]) : tokensPerImage;
  }
  return tokens;
}

/** The tokens of a plain input: a text, a list of texts, a list of token ids, or a list of such lists. */
export function plainInputTokens(input: unknown): number {
  if (typeof input === "string") return estimateTokens(input);
  if (typeof input === "number") return 1;
  if (!Array.isArray(input)) return 0;
  let tokens = 0;
  for (const part of input) tokens += plainInputTokens(part);
  return tokens;
}

/**
 * The bound on the output: the largest of the fields that can set one, so that a second, smaller field lowers
 * no reservation. Cerebras's -1 ("no bound") counts as none.
 */
export function maxOutputTokens(fields: Fields): number | null {
  const names = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
  const bounds = names
    .map((name) => fields[name])
    .filter((bound): bound is number => typeof bound === "number" && bound > 0);
  return bounds.length === 0 ? null : Math.floor(Math.max(...bounds));
}
