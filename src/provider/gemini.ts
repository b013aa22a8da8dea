import { isObject } from "./body.ts";
import { textKeys } from "./delta.ts";
import type { Dialect, ErrorToSay, Usage } from "./dialect.ts";
import { readCount } from "./fields.ts";
import { geminiCall, geminiMethod, geminiWithMaxOutput } from "./gemini-call.ts";
import { followJsonArray, streamFollower } from "./stream.ts";
import type { EventKind, StreamFormat } from "./stream.ts";

/**
 * Gemini's own API, of Google AI and of Vertex: model and method are in the path
 * (`/v1beta/models/MODEL:generateContent`). `:streamGenerateContent` answers with server-sent events if the query
 * says `alt=sse`, else with a JSON array that grows. Every event has the usage so far, none is marked as the last.
 *
 * Sources: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/embeddings,
 * https://ai.google.dev/gemini-api/docs/troubleshooting.
 */
export const gemini = {
  name: "gemini",
  usageKey: "usageMetadata",
  isMetered: (method, path) => method === "POST" && geminiMethod(path) !== null,
  readCall: geminiCall,
  withMaxOutput: geminiWithMaxOutput,
  usageOf: (answer) => eventsOf(answer).reduce(usageAfter, null),
  stoppedForLength: (answer) => eventsOf(answer).some(stoppedForLength),
  follow: () => followSse(),
  followJson: () => followJsonArray(format),
  errorBody,
} satisfies Dialect;

const piece: EventKind = { textKeys: textKeys('"text":'), isPlain: false, isLast: false };
const end: EventKind = { ...piece, isLast: true };

const format: StreamFormat = {
  usageKey: "usageMetadata",
  lengthMark: null,
  kindOf: (event) =>
    event.includes('"finishReason"') || event.includes('"blockReason"') ? end : piece,
  usageAfter: (event, before) => usageAfter(before, event),
  stoppedForLength,
  isError: (event) => isObject(event) && isObject(event["error"]),
};
const followSse = streamFollower(format);

/** An answer's events: all of a stream that came as an array, else the answer itself. */
function eventsOf(answer: unknown): readonly unknown[] {
  return Array.isArray(answer) ? answer : [answer];
}

/**
 * The usage of an event where it has some, for it is the sum so far. Tools that Google runs read tokens beside the
 * prompt, and thoughts are written beside the candidates; cached content is part of the prompt.
 */
function usageAfter(before: Usage | null, event: unknown): Usage | null {
  const value = isObject(event) ? event["usageMetadata"] : null;
  if (!isObject(value)) return before;
  const input = readCount(value["promptTokenCount"]) + readCount(value["toolUsePromptTokenCount"]);
  const output = readCount(value["candidatesTokenCount"]) + readCount(value["thoughtsTokenCount"]);
  const cached = readCount(value["cachedContentTokenCount"]);
  const total = Math.max(readCount(value["totalTokenCount"]), input + output);
  return total === 0 ? before : { input, output, total, cachedInput: Math.min(cached, input) };
}

function stoppedForLength(event: unknown): boolean {
  const candidates = isObject(event) ? event["candidates"] : null;
  return (
    Array.isArray(candidates) &&
    candidates.some(
      (candidate) => isObject(candidate) && candidate["finishReason"] === "MAX_TOKENS",
    )
  );
}

/** Google's names of errors (https://google.aip.dev/193), by HTTP status. */
const statuses: Readonly<Record<number, string>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  413: "INVALID_ARGUMENT",
  429: "RESOURCE_EXHAUSTED",
  500: "INTERNAL",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

function errorBody(
  { status, type, code, message, retryAfterMs }: ErrorToSay,
  requestId: string,
): string {
  const details: Record<string, unknown>[] = [
    {
      "@type": `${google}ErrorInfo`,
      reason: code,
      domain: "cooldown",
      metadata: { type, request_id: requestId },
    },
  ];
  if (typeof retryAfterMs === "number") {
    const retryDelay = `${Math.max(1, Math.ceil(retryAfterMs / 1_000))}s`;
    details.push({ "@type": `${google}RetryInfo`, retryDelay });
  }
  return JSON.stringify({
    error: { code: status, message, status: statuses[status] ?? "UNKNOWN", details },
  });
}

const google = "type.googleapis.com/google.rpc.";
