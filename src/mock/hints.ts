import type { Prompt } from "./call.ts";
import { parseDuration } from "./duration.ts";

/** What a test may decide about its own request, by header; everything else is drawn. */
export interface Hints {
  promptTokens: number | null;
  cachedTokens: number | null;
  outputTokens: number | null;
  latencyMs: number | null;
  /** Answer with this status instead, after admission. */
  status: number | null;
  /** A name by which the request is found in the log of requests. */
  tag: string | null;
}

const longestTag = 100;
/** English prose has about as many, and OpenAI's own rule of thumb is the same. */
const charactersPerToken = 4;

/**
 * Reads `X-Mock-Prompt-Tokens`, `X-Mock-Cached-Tokens`, `X-Mock-Output-Tokens`, `X-Mock-Latency` (a duration),
 * `X-Mock-Status` and `X-Mock-Tag`.
 *
 * @throws UsageError when the duration is none; numbers that are none are ignored.
 */
export function readHints(headers: Headers): Hints {
  const wholeNumber = (name: string): number | null => {
    const text = headers.get(name);
    return text !== null && /^\d{1,9}$/.test(text) ? Number(text) : null;
  };
  const status = wholeNumber("x-mock-status");
  const latency = headers.get("x-mock-latency");
  return {
    promptTokens: wholeNumber("x-mock-prompt-tokens"),
    cachedTokens: wholeNumber("x-mock-cached-tokens"),
    outputTokens: wholeNumber("x-mock-output-tokens"),
    latencyMs: latency === null ? null : parseDuration(latency),
    status: status !== null && status >= 200 && status <= 599 ? status : null,
    tag: readTag(headers),
  };
}

/** The request's `X-Mock-Tag`, cut to a sensible length. */
export function readTag(headers: Headers): string | null {
  return headers.get("x-mock-tag")?.slice(0, longestTag) ?? null;
}

/** The prompt that `hints` and the estimate from its texts make together. */
export function promptFrom(
  hints: Hints,
  { tokens, characters }: { tokens: number; characters: number },
): Prompt {
  const promptTokens = hints.promptTokens ?? tokens;
  return {
    promptTokens,
    cachedTokens: Math.min(promptTokens, hints.cachedTokens ?? 0),
    characters: hints.promptTokens === null ? characters : hints.promptTokens * charactersPerToken,
  };
}
