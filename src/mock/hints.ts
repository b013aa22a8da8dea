import { parseDuration } from "./duration.ts";

/** What a test may decide about its own request, by header; everything else is drawn. */
export interface Hints {
  promptTokens: number | null;
  outputTokens: number | null;
  latencyMs: number | null;
  /** Answer with this status instead, after admission. */
  status: number | null;
}

/**
 * Reads `X-Mock-Prompt-Tokens`, `X-Mock-Output-Tokens`, `X-Mock-Latency` (a duration) and `X-Mock-Status`.
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
    outputTokens: wholeNumber("x-mock-output-tokens"),
    latencyMs: latency === null ? null : parseDuration(latency),
    status: status !== null && status >= 200 && status <= 599 ? status : null,
  };
}
