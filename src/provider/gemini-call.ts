import type { Prompt, PromptMessage } from "../tokens/prompt.ts";
import { invalid, isObject } from "./body.ts";
import type { ModelCall } from "./dialect.ts";
import {
  jsonText,
  lowerLargest,
  message,
  readArray,
  readCount,
  readLargest,
  times,
} from "./fields.ts";
import type { Parts } from "./fields.ts";

const methods = [
  "generateContent",
  "streamGenerateContent",
  "embedContent",
  "batchEmbedContents",
] as const;

type Method = (typeof methods)[number];

/** `/MODEL:METHOD` at a path's end, the colon as it is or encoded. */
const modelAndMethod = /\/([^/:]+)(?::|%3a)([a-z]+)$/i;

/** Which metered method of Gemini's API a path names, null for any other (counting tokens, batches, files). */
export function geminiMethod(path: string): Method | null {
  const name = modelAndMethod.exec(path)?.[2];
  return methods.find((method) => method === name) ?? null;
}

/** Gemini's `readCall`. Fields are read in both spellings that the API takes, camel case and snake case. */
export function geminiCall(path: string, body: Record<string, unknown>): ModelCall {
  const method = geminiMethod(path) ?? "generateContent";
  const model = decoded(modelAndMethod.exec(path)?.[1] ?? "");
  const empty: Prompt = { model, messages: [], texts: [], tokenIds: 0, tools: [] };
  if (method === "embedContent" || method === "batchEmbedContents") {
    const requests = method === "embedContent" ? [body] : readArray(body, "requests");
    const texts = requests.flatMap(embeddedTexts);
    return { model, stream: false, prompt: { ...empty, texts }, maxOutput: null, hasOutput: false };
  }
  const config = configOf(body);
  const candidates = readLargest(config, ["candidateCount", "candidate_count"]) ?? 1;
  return {
    model,
    stream: method === "streamGenerateContent",
    prompt: { ...empty, messages: messagesOf(body), tools: toolsOf(body, config) },
    maxOutput: times(readLargest(config, outputKeys), candidates),
    hasOutput: true,
  };
}

const outputKeys = ["maxOutputTokens", "max_output_tokens"];

/** Gemini's `withMaxOutput`: the cap is in the generation config, and thinking takes its budget out of it. */
export function geminiWithMaxOutput(
  path: string,
  body: Record<string, unknown>,
  tokens: number,
): Record<string, unknown> | null {
  const method = geminiMethod(path);
  if (method !== "generateContent" && method !== "streamGenerateContent") return null;
  const config = configOf(body);
  if ((readLargest(config, ["candidateCount", "candidate_count"]) ?? 1) > 1) return null;
  const thinking = either(config, "thinkingConfig", "thinking_config");
  const budget = isObject(thinking)
    ? readCount(either(thinking, "thinkingBudget", "thinking_budget"))
    : 0;
  if (budget >= tokens) return null;
  const lowered = lowerLargest(config, outputKeys, tokens);
  const key = body["generationConfig"] === undefined ? "generation_config" : "generationConfig";
  return lowered === null ? null : { ...body, [key]: lowered };
}

function configOf(body: Record<string, unknown>): Record<string, unknown> {
  const config = either(body, "generationConfig", "generation_config") ?? {};
  if (!isObject(config)) throw invalid('"generationConfig" must be an object');
  return config;
}

function either(from: Record<string, unknown>, camel: string, snake: string): unknown {
  return from[camel] ?? from[snake];
}

function messagesOf(body: Record<string, unknown>): PromptMessage[] {
  const messages: PromptMessage[] = [];
  const system = either(body, "systemInstruction", "system_instruction");
  if (system !== undefined && system !== null) messages.push(contentOf(system, "system"));
  // A single content, or a text, is taken in place of the array.
  const contents = body["contents"];
  const all =
    isObject(contents) || typeof contents === "string" ? [contents] : readArray(body, "contents");
  for (const content of all) messages.push(contentOf(content, null));
  return messages;
}

/** One content: a role and its parts. */
function contentOf(content: unknown, role: string | null): PromptMessage {
  if (typeof content === "string") return message(role, null, { text: [content], images: [] });
  if (!isObject(content)) throw invalid('each of "contents" must be an object');
  const parts: Parts = { text: [], images: [] };
  const given = content["parts"];
  for (const part of Array.isArray(given) ? given : [given]) addPart(parts, part);
  return message(role ?? content["role"], null, parts);
}

function addPart(parts: Parts, part: unknown): void {
  if (typeof part === "string") parts.text.push(part);
  if (!isObject(part)) return;
  const data =
    either(part, "inlineData", "inline_data") ?? either(part, "fileData", "file_data") ?? null;
  if (typeof part["text"] === "string") parts.text.push(part["text"]);
  else if (isObject(data) && String(either(data, "mimeType", "mime_type")).startsWith("image/"))
    parts.images.push({ width: null, height: null, detail: "auto" });
  else parts.text.push(jsonText(part));
}

/** Each function that the model may call, other tools as they are, and the schema of a structured answer. */
function toolsOf(body: Record<string, unknown>, config: Record<string, unknown>): string[] {
  const texts: string[] = [];
  for (const tool of readArray(body, "tools")) {
    const functions = isObject(tool)
      ? either(tool, "functionDeclarations", "function_declarations")
      : null;
    if (Array.isArray(functions)) texts.push(...functions.map(jsonText));
    else texts.push(jsonText(tool));
  }
  for (const key of ["responseSchema", "response_schema", "responseJsonSchema"]) {
    if (isObject(config[key])) texts.push(jsonText(config[key]));
  }
  return texts;
}

function embeddedTexts(request: unknown): readonly string[] {
  if (!isObject(request)) throw invalid('each of "requests" must be an object');
  const content = request["content"];
  return content === undefined || content === null ? [] : contentOf(content, null).text;
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
