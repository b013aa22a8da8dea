import { isObject } from "./body.ts";

/** As much of an error's message as is read, in characters: limits and waits stand at its beginning. */
const longestMessage = 4_096;
const longestCode = 64;
const mostDetails = 16;
const mostHeaders = 32;
const deepest = 200;

/** What the body of an error says, whichever API's shape it has. */
export interface ErrorBody {
  /** Everything that names the kind of error (`type`, `code`, `status`, `reason`), in lower case. */
  codes: ReadonlySet<string>;
  /** The text for people; of a body that is no JSON, its beginning. */
  message: string;
  /** Google's typed details; empty elsewhere. */
  details: readonly Record<string, unknown>[];
  /** Headers that came inside the body, as OpenRouter sends them; null where none did. */
  headers: Headers | null;
}

/**
 * Reads the body of an error: OpenAI's `error.{type,code,message}`, the same without `error` (Cerebras, Mistral),
 * Anthropic's with `error.details.error_code`, Google's with `error.status` and typed `details` (also in an array,
 * as its streams send it), OpenRouter's with `error.metadata`. Never throws.
 *
 * @param body at most 64 KB of it; one that was cut off is read as text.
 */
export function readErrorBody(body: string | null): ErrorBody {
  const codes = new Set<string>();
  const text = body ?? "";
  const root = parsed(text);
  const outer = Array.isArray(root) ? (root as readonly unknown[])[0] : root;
  if (!isObject(outer)) return { codes, message: beginning(text), details: [], headers: null };
  const inner = outer["error"];
  const error = isObject(inner) ? inner : outer;
  const metadata = isObject(error["metadata"]) ? error["metadata"] : {};
  const details = error["details"];
  const typed = Array.isArray(details) ? details.slice(0, mostDetails).filter(isObject) : [];
  for (const key of ["type", "code", "status"]) addCode(codes, error[key]);
  for (const key of ["error_type", "limit_source"]) addCode(codes, metadata[key]);
  if (isObject(details)) addCode(codes, details["error_code"]);
  for (const detail of typed) addCode(codes, detail["reason"]);
  return {
    codes,
    message: [error["message"], metadata["raw"], inner, error["detail"]]
      .filter((part) => typeof part === "string")
      .map(beginning)
      .join("\n"),
    details: typed,
    headers: headersOf(metadata["headers"]),
  };
}

function parsed(text: string): unknown {
  // A glance spares pages of HTML the exception.
  if (!/^\s{0,16}[{[]/.test(text) || isDeep(text)) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** No API nests its errors so; a parser takes milliseconds to give up on `[[[[…`. Strings count too: it is a guess. */
function isDeep(text: string): boolean {
  if (text.length <= longestMessage) return false;
  let depth = 0;
  for (let index = 0; index < text.length && depth <= deepest; index++) {
    const char = text.charCodeAt(index);
    if (char === 0x5b || char === 0x7b) depth++;
    else if (char === 0x5d || char === 0x7d) depth--;
  }
  return depth > deepest;
}

function beginning(text: string): string {
  return text.slice(0, longestMessage);
}

function addCode(codes: Set<string>, value: unknown): void {
  if (typeof value === "string" && value.length <= longestCode) codes.add(value.toLowerCase());
}

/** Only what can be a header about limits: names and values come from the body and are checked before use. */
function headersOf(value: unknown): Headers | null {
  if (!isObject(value)) return null;
  const headers = new Headers();
  for (const [name, field] of Object.entries(value).slice(0, mostHeaders)) {
    const text = typeof field === "number" ? String(field) : field;
    if (typeof text !== "string" || !/^[\w\-:., +]{1,64}$/.test(text)) continue;
    if (/^(?:x-ratelimit-|retry-after)[\w-]{0,48}$/i.test(name)) headers.set(name, text);
  }
  return headers;
}
