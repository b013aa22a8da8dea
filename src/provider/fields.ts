import type { PromptImage, PromptMessage } from "../tokens/prompt.ts";
import { invalid, isObject } from "./body.ts";

/** No model writes more; what a client asks beyond is a way of saying "no limit". */
const mostTokens = 1_000_000_000;

/** The string at `key`, "" where absent. @throws ProxyError `INVALID_REQUEST` where it is something else. */
export function readString(body: Record<string, unknown>, key: string): string {
  const value = body[key];
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw invalid(`"${key}" must be a string`);
  return value;
}

/** The array at `key`, empty where absent. @throws ProxyError `INVALID_REQUEST` where it is something else. */
export function readArray(body: Record<string, unknown>, key: string): readonly unknown[] {
  const value = body[key];
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(`"${key}" must be an array`);
  return value;
}

/**
 * The largest limit on output among `keys`, in tokens. Negative values are some servers' "no limit" and count as
 * absent, like null.
 * @throws ProxyError `INVALID_REQUEST` where one is not a number.
 */
export function readLargest(body: Record<string, unknown>, keys: readonly string[]): number | null {
  let largest: number | null = null;
  for (const key of keys) {
    const value = body[key];
    if (value === undefined || value === null) continue;
    if (typeof value !== "number") throw invalid(`"${key}" must be a number`);
    if (value >= 0) largest = Math.max(largest ?? 0, Math.min(Math.ceil(value), mostTokens));
  }
  return largest;
}

/**
 * A copy of `body` in which every limit among `keys` that is larger than `tokens` is lowered to it; null where none
 * is. Fields that the client did not send are not added.
 */
export function lowerLargest(
  body: Record<string, unknown>,
  keys: readonly string[],
  tokens: number,
): Record<string, unknown> | null {
  let copy: Record<string, unknown> | null = null;
  for (const key of keys) {
    const value = body[key];
    if (typeof value !== "number" || value <= tokens) continue;
    copy ??= { ...body };
    copy[key] = tokens;
  }
  return copy;
}

/** `tokens` for each of `times` answers, kept in bounds. */
export function times(tokens: number | null, count: number): number | null {
  return tokens === null ? null : Math.min(tokens * Math.max(1, count), mostTokens);
}

/** Collects what one message has to read. */
export interface Parts {
  text: string[];
  images: PromptImage[];
}

/** A message of one role from its collected parts. */
export function message(role: unknown, name: unknown, parts: Parts): PromptMessage {
  return {
    role: typeof role === "string" ? role : "user",
    name: typeof name === "string" ? name : null,
    text: parts.text,
    images: parts.images,
  };
}

/**
 * Adds a message's `content`: a string, or parts of text, images and whatever else an API has. Image and file data
 * is never taken for text; other unknown parts count as the JSON in which they were sent.
 */
export function addContent(parts: Parts, content: unknown): void {
  if (typeof content === "string") parts.text.push(content);
  else if (Array.isArray(content)) for (const part of content) addPart(parts, part);
  else if (isObject(content)) addPart(parts, content);
}

function addPart(parts: Parts, part: unknown): void {
  if (typeof part === "string") parts.text.push(part);
  if (!isObject(part)) return;
  const type = part["type"];
  if (type === "image_url" || type === "input_image" || type === "image") {
    parts.images.push({ width: null, height: null, detail: detailOf(part) });
  } else if (typeof part["text"] === "string") {
    parts.text.push(part["text"]);
  } else if (typeof part["refusal"] === "string") {
    parts.text.push(part["refusal"]);
  } else if (type === "tool_result") {
    // Anthropic nests the parts of a tool's result, images among them, one level down.
    addContent(parts, part["content"]);
  } else if (type === "tool_use") {
    parts.text.push(jsonText({ name: part["name"], input: part["input"] }));
  } else if (typeof part["thinking"] === "string") {
    parts.text.push(part["thinking"]);
  } else {
    parts.text.push(jsonText(part));
  }
}

function detailOf(part: Record<string, unknown>): PromptImage["detail"] {
  const inner = part["image_url"];
  const detail = part["detail"] ?? (isObject(inner) ? inner["detail"] : undefined);
  return detail === "low" || detail === "high" ? detail : "auto";
}

/** JSON text of `value` without embedded binary data, which is not read as text by any model. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, withoutData) ?? "";
}

/** Names of fields that hold base64: audio and files (OpenAI), images and documents (Anthropic), thoughts (Gemini). */
const dataFields = new Set([
  "data",
  "file_data",
  "b64_json",
  "encrypted_content",
  "signature",
  "thoughtSignature",
  "thought_signature",
]);

function withoutData(key: string, value: unknown): unknown {
  if (typeof value !== "string") return value;
  return value.startsWith("data:") || dataFields.has(key) ? "" : value;
}

/** A count as a provider reports it: a whole number that is not negative, else 0. */
export function readCount(value: unknown): number {
  return typeof value === "number" && value > 0 && value < Number.MAX_SAFE_INTEGER
    ? Math.round(value)
    : 0;
}
