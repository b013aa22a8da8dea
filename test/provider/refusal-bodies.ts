import type { UpstreamRefusal } from "../../src/provider/refusal.ts";
import type { Provider } from "../../src/provider/provider.ts";

/** A Saturday, 04:04:00.250 UTC: 20:04 on Friday in California, in winter. */
export const now = Date.parse("2026-11-21T04:04:00.250Z");
export const untilMidnightInCalifornia = 14_160_000;

/** As the providers send them; the numbers are made up. */
export const openai = (message: string, type: string, code = "rate_limit_exceeded"): unknown => ({
  error: { message, type, param: null, code },
});
export const anthropic = (type: string, message: string, details?: unknown): unknown => ({
  type: "error",
  error: { type, message, ...(details === undefined ? {} : { details }) },
  request_id: "req_1",
});
export const cerebras = (message: string, code: string, param = "quota"): unknown => ({
  message,
  type: "too_many_requests_error",
  param,
  code,
});
export const google = (message: string, ...details: unknown[]): unknown => ({
  error: { code: 429, message, status: "RESOURCE_EXHAUSTED", details },
});
export const quotaFailure = (...violations: Record<string, string>[]): unknown => ({
  "@type": "type.googleapis.com/google.rpc.QuotaFailure",
  violations,
});
export const retryInfo = (retryDelay: string): unknown => ({
  "@type": "type.googleapis.com/google.rpc.RetryInfo",
  retryDelay,
});
export const perMinute = {
  quotaMetric: "generativelanguage.googleapis.com/generate_content_free_tier_requests",
  quotaId: "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
  quotaValue: "15",
};
export const perDay = {
  ...perMinute,
  quotaId: "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
};
export const inputPerMinute = {
  quotaMetric: "generativelanguage.googleapis.com/generate_content_free_tier_input_token_count",
  quotaId: "GenerateContentInputTokensPerModelPerMinute-FreeTier",
  quotaValue: "250000",
};

/** What is read of one. */
export type Expected = Partial<UpstreamRefusal> | null;
/** Name, provider, status, body, headers, what is read. */
export type Case = [string, Provider, number, unknown, Record<string, string>, Expected];
