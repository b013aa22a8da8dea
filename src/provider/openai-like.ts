import type { HeaderReader } from "../header-fields.ts";
import type { Prompt, PromptMessage } from "../tokens/prompt.ts";
import { invalid, isObject } from "./body.ts";
import type { Dialect, ModelCall, Usage } from "./dialect.ts";
import {
  addContent,
  jsonText,
  lowerLargest,
  message,
  readArray,
  readLargest,
  readString,
  times,
} from "./fields.ts";
import type { Parts } from "./fields.ts";
import { openAiStream, openAiUsage, stoppedForLength } from "./openai-answer.ts";
import { streamFollower } from "./stream.ts";

/** In what an API that speaks OpenAI's format differs from it. */
export interface Variant {
  name: string;
  /** The model of a call whose body names none. */
  modelOf?: (path: string, body: Record<string, unknown>) => string;
  /** The key of an object beside `choices` in which a stream's events have `usage` and `error`. */
  extension?: string;
  usageInHeaders?: (headers: HeaderReader) => Usage | null;
}

/**
 * A dialect of OpenAI's format: chat completions, completions, embeddings and responses, under whatever prefix the
 * provider has them.
 */
export function openAiLike(variant: Variant): Dialect {
  const { name, modelOf, extension = null, usageInHeaders } = variant;
  return {
    name,
    usageKey: "usage",
    isMetered: (method, path) => method === "POST" && endpointOf(path) !== null,
    readCall: (path, body) => readCall(path, body, modelOf),
    withMaxOutput,
    usageOf: (answer) => (isObject(answer) ? openAiUsage(answer["usage"]) : null),
    ...(usageInHeaders === undefined ? {} : { usageInHeaders }),
    stoppedForLength,
    follow: streamFollower(openAiStream(extension)),
    errorBody: ({ type, code, message }, requestId) =>
      JSON.stringify({ error: { message, type, code, request_id: requestId } }),
  };
}

type Endpoint = "chat" | "completions" | "embeddings" | "responses";

/** Which metered endpoint a path names, by its last segments: providers differ in what comes before. */
function endpointOf(path: string): Endpoint | null {
  if (path.endsWith("/chat/completions")) return "chat";
  if (path.endsWith("/completions")) return "completions";
  if (path.endsWith("/embeddings")) return "embeddings";
  if (path.endsWith("/responses") || path.endsWith("/responses/compact")) return "responses";
  return null;
}

function readCall(
  path: string,
  body: Record<string, unknown>,
  modelOf: Variant["modelOf"],
): ModelCall {
  const endpoint = endpointOf(path) ?? "chat";
  const model = readString(body, "model") || (modelOf?.(path, body) ?? "");
  const prompt: Prompt = {
    model,
    messages: [],
    texts: [],
    tokenIds: 0,
    tools: toolsIn(body),
    ...inputOf(endpoint, body),
  };
  return {
    model,
    stream: body["stream"] === true,
    prompt,
    maxOutput:
      endpoint === "embeddings"
        ? null
        : times(readLargest(body, outputKeys), answersOf(endpoint, body)),
    hasOutput: endpoint !== "embeddings",
  };
}

/** The fields that limit output, old and new. A client that sends several is held to the largest. */
const outputKeys = ["max_completion_tokens", "max_tokens", "max_output_tokens"];

/** Responses with a smaller `max_output_tokens` are refused (https://platform.openai.com/docs/api-reference/responses). */
const fewestOfResponse = 16;

function withMaxOutput(
  path: string,
  body: Record<string, unknown>,
  tokens: number,
): Record<string, unknown> | null {
  const endpoint = endpointOf(path);
  // With several answers the cap holds for each, while what was learned is of all together.
  if (endpoint === null || endpoint === "embeddings" || answersOf(endpoint, body) > 1) return null;
  return lowerLargest(
    body,
    outputKeys,
    endpoint === "responses" ? Math.max(tokens, fewestOfResponse) : tokens,
  );
}

/** How many answers the model writes: `n` or `best_of` for each prompt. */
function answersOf(endpoint: Endpoint, body: Record<string, unknown>): number {
  if (endpoint === "responses") return 1;
  const perPrompt = readLargest(body, ["n", "best_of"]) ?? 1;
  const prompt = body["prompt"];
  const prompts =
    endpoint === "completions" && Array.isArray(prompt) && typeof prompt[0] !== "number"
      ? prompt.length
      : 1;
  return Math.max(1, perPrompt) * Math.max(1, prompts);
}

type Input = Partial<Pick<Prompt, "messages" | "texts" | "tokenIds">>;

function inputOf(endpoint: Endpoint, body: Record<string, unknown>): Input {
  switch (endpoint) {
    case "chat":
      return { messages: readArray(body, "messages").map(chatMessage) };
    case "completions":
      // Mistral's fill-in-the-middle has a suffix, read by the model like the prompt.
      return textsOf("prompt", body["prompt"], [body["suffix"]]);
    case "embeddings":
      return textsOf("input", body["input"], []);
    case "responses":
      return { messages: responseItems(body) };
  }
}

/** A string, strings, token ids, or arrays of token ids. */
function textsOf(key: string, input: unknown, more: readonly unknown[]): Input {
  const texts: string[] = more.filter((text) => typeof text === "string");
  let tokenIds = 0;
  const add = (value: unknown): void => {
    if (typeof value === "string") texts.push(value);
    else if (typeof value === "number") tokenIds++;
    else if (Array.isArray(value)) value.forEach(add);
    else if (isObject(value)) texts.push(jsonText(value));
    else if (value !== undefined && value !== null)
      throw invalid(`"${key}" must be text or token ids`);
  };
  add(input);
  return { texts, tokenIds };
}

function chatMessage(value: unknown): PromptMessage {
  if (!isObject(value)) throw invalid('each of "messages" must be an object');
  const parts: Parts = { text: [], images: [] };
  addContent(parts, value["content"]);
  // Reasoning that is sent back is read again by the models that take it.
  addContent(parts, value["reasoning_content"] ?? value["reasoning"]);
  for (const key of ["tool_calls", "function_call"]) {
    if (value[key] !== undefined && value[key] !== null) parts.text.push(jsonText(value[key]));
  }
  return message(value["role"], value["name"], parts);
}

/** `instructions` and `input` of the Responses API, where calls and results are items beside the messages. */
function responseItems(body: Record<string, unknown>): PromptMessage[] {
  const messages: PromptMessage[] = [];
  const instructions = readString(body, "instructions");
  if (instructions !== "")
    messages.push(message("system", null, { text: [instructions], images: [] }));
  const input = body["input"];
  const items =
    typeof input === "string" ? [{ role: "user", content: input }] : readArray(body, "input");
  for (const item of items) {
    if (!isObject(item)) throw invalid('each of "input" must be an object');
    const parts: Parts = { text: [], images: [] };
    if (item["content"] !== undefined && item["content"] !== null)
      addContent(parts, item["content"]);
    else if (item["output"] !== undefined) addContent(parts, item["output"]);
    else parts.text.push(jsonText(item));
    messages.push(message(item["role"] ?? "tool", item["name"], parts));
  }
  return messages;
}

/** Tool definitions, and the schema of a structured answer, which models read like one. */
function toolsIn(body: Record<string, unknown>): string[] {
  const tools = [...readArray(body, "tools"), ...readArray(body, "functions")].map(jsonText);
  const text = body["text"];
  const format = body["response_format"] ?? (isObject(text) ? text["format"] : undefined);
  if (isObject(format) && format["type"] === "json_schema") tools.push(jsonText(format));
  return tools;
}
