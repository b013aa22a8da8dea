import type { HeaderReader } from "../header-fields.ts";
import { readErrorBody } from "./hint-body.ts";
import type { ErrorBody } from "./hint-body.ts";
import { readQuotaFailure } from "./hint-google.ts";
import type { Hint, HintUnit, HintWindow } from "./hint-shape.ts";
import { readStatement } from "./hint-text.ts";
import type { Statement } from "./hint-text.ts";
import { retryAfter } from "./hint-wait.ts";
import { readEveryHint } from "./hint.ts";
import type { Provider } from "./provider.ts";

/** Why, for metrics and logs. */
export type RefusalReason =
  // A rate limit: by what it counts, where that is known.
  | HintUnit
  | "concurrency"
  /** Use grew faster than Anthropic allows. */
  | "acceleration"
  /** GitHub's limits beside the hourly one. */
  | "secondary"
  | "unspecified"
  // Overload.
  | "overloaded"
  | "queue_exceeded"
  /** OpenRouter: the provider behind it is out of room. */
  | "upstream_limited"
  // Waiting does not help.
  | "insufficient_quota"
  | "billing"
  | "spend_cap"
  /** Gemini: the project's quota for this model is 0. */
  | "no_quota"
  /** This one request is larger than the whole limit; others may pass. */
  | "request_too_large";

/** What an answer of the provider means that is not about the request itself but about how much was asked. */
export interface UpstreamRefusal {
  /** `never`: the same request will not succeed by waiting; `overload`: it is not about this client's quota. */
  kind: "rate_limit" | "overload" | "never";
  /** How long to hold, in milliseconds, above 0; null where the provider does not say. */
  waitMs: number | null;
  unit: HintUnit | "concurrency" | null;
  window: HintWindow | null;
  /** Units per window, as the body states it. */
  limit: number | null;
  reason: RefusalReason;
}

/**
 * Tells a rate limit or overload from other answers, and how long it lasts: as `retry-after-ms` says, else
 * `Retry-After`, else the body, else the reset header of what is used up. A wait of 0 counts as not said.
 *
 * For admission, which decides by `kind` and `waitMs` whether to hold the quota and try again. Never throws, however
 * the answer looks.
 * @param status decides first: only 400, 402, 403, 413, 429, 498, 503 and 529 are ever anything but null.
 * @param body the beginning of it (at most 64 KB), decoded; null where it was not read.
 * @param now when the answer's headers arrived, milliseconds since the epoch.
 */
export function readRefusal(
  provider: Provider,
  status: number,
  headers: HeaderReader,
  body: string | null,
  now: number,
): UpstreamRefusal | null {
  if (!statuses.has(status) || (status === 498 && provider !== "groq")) return null;
  const error = readErrorBody(body);
  const stated = readStatement(error.message, now);
  const asked = retryAfter(headers, now);
  if (status === 498 || status === 503 || status === 529) {
    const waitMs = firstWait(asked, readQuotaFailure(error.details, now).waitMs, stated.waitMs);
    return { ...overload, waitMs };
  }
  const unpaid = readUnpaid(status, error, asked);
  if (unpaid !== null) return { ...never, waitMs: firstWait(stated.waitMs), reason: unpaid };
  if (status === 400 || (status === 413 && !error.codes.has("rate_limit_exceeded"))) return null;
  if (status === 403 && !(provider === "github" && isLimitOfGithub(headers, error))) return null;
  if (status === 413 || isTooLarge(error, stated)) return tooLarge(stated);
  const reason = stated.limit === null ? readOverload(error) : null;
  if (reason !== null) {
    return { ...overload, waitMs: firstWait(asked, stated.waitMs), reason };
  }
  return readRateLimit(provider, headers, error, stated, now);
}

const statuses = new Set([400, 402, 403, 413, 429, 498, 503, 529]);

const overload = {
  kind: "overload",
  waitMs: null,
  unit: null,
  window: null,
  limit: null,
  reason: "overloaded",
} as const satisfies UpstreamRefusal;
const never = { ...overload, kind: "never", reason: "billing" } as const satisfies UpstreamRefusal;

/** GitHub's advice where a secondary limit comes without a time: "wait for at least one minute". */
const githubSecondaryMs = 60_000;

function readRateLimit(
  provider: Provider,
  headers: HeaderReader,
  error: ErrorBody,
  stated: Statement,
  now: number,
): UpstreamRefusal {
  const quota = readQuotaFailure(error.details, now);
  if (quota.limit === 0 || (provider === "gemini" && /\blimit: 0\b(?!\.\d)/.test(error.message))) {
    return { ...never, unit: quota.unit, window: quota.window, reason: "no_quota" };
  }
  const unit = quota.unit ?? stated.unit ?? unitOfCode(error.codes);
  const window = quota.window ?? stated.window;
  const hints = [
    ...readEveryHint(provider, headers, now),
    ...(error.headers === null ? [] : readEveryHint(provider, error.headers, now)),
  ];
  const hint = decisive(hints, unit, window);
  const isSecondary = /\bsecondary rate limit\b|\babuse detection\b/i.test(error.message);
  const waitMs = firstWait(
    retryAfter(headers, now),
    error.headers === null ? null : retryAfter(error.headers, now),
    quota.waitMs,
    stated.waitMs,
    (hint?.resetAt ?? now) - now,
    isSecondary ? githubSecondaryMs : null,
  );
  return {
    kind: "rate_limit",
    waitMs,
    unit: unit ?? hint?.unit ?? null,
    window: window ?? (unit === "concurrency" ? null : (hint?.window ?? null)),
    limit: quota.limit ?? stated.limit,
    reason: isSecondary ? "secondary" : reasonOf(error, unit ?? hint?.unit ?? null),
  };
}

function reasonOf(error: ErrorBody, unit: UpstreamRefusal["unit"]): RefusalReason {
  if (/\busage increase rate\b/i.test(error.message)) return "acceleration";
  return isSpendCap(error) ? "spend_cap" : (unit ?? "unspecified");
}

/**
 * The header that tells when the refused request may pass: of what is used up, the one that resets last. Where none
 * is used up, but the body names one (there was something left, and not enough), the first of those to reset; where
 * resets are all that the headers say, the first of all. Where they say nothing of what the body names, it is what they
 * call used up.
 */
function decisive(
  hints: readonly Hint[],
  unit: UpstreamRefusal["unit"],
  window: HintWindow | null,
): Hint | null {
  if (unit === "concurrency") return null;
  const ofWindow = hints.filter(
    (hint) => window === null || hint.window === null || hint.window === window,
  );
  const named = ofWindow.filter((hint) => unit === null || isOf(hint.unit, unit));
  const spent = (named.length > 0 ? named : ofWindow).filter(({ remaining }) => remaining === 0);
  if (spent.length > 0)
    return spent.reduce((a, b) => ((b.resetAt ?? 0) > (a.resetAt ?? 0) ? b : a));
  const open = unit === null ? named.filter(({ remaining }) => remaining === null) : named;
  return open.reduce<Hint | null>(
    (a, b) => ((b.resetAt ?? Infinity) < (a?.resetAt ?? Infinity) ? b : a),
    null,
  );
}

/** Whether a header about `unit` can be what a body calls `named`: "tokens" may be those of one direction. */
function isOf(unit: HintUnit, named: HintUnit): boolean {
  if (unit === "requests" || named === "requests") return unit === named;
  return unit === named || unit === "tokens" || named === "tokens";
}

/** OpenAI's `type` and Cerebras's `code` where the text does not say. */
function unitOfCode(codes: ReadonlySet<string>): HintUnit | null {
  if (codes.has("tokens") || codes.has("token_quota_exceeded")) return "tokens";
  return codes.has("requests") || codes.has("request_quota_exceeded") ? "requests" : null;
}

const unpaidCodes: Readonly<Record<string, RefusalReason>> = {
  insufficient_quota: "insufficient_quota",
  exceeded_current_quota_error: "insufficient_quota",
  billing_hard_limit_reached: "billing",
  billing_not_active: "billing",
  billing_error: "billing",
};

/**
 * Whether it is about money. OpenAI says so by code (https://platform.openai.com/docs/guides/error-codes), Anthropic
 * in 400s and 429s by text, and by `enforced_spend_limit_reached` in a 429 without `Retry-After`
 * (https://platform.claude.com/docs/en/api/rate-limits); with one, a spend cap ends by waiting. OpenRouter and others
 * use 402.
 */
function readUnpaid(status: number, error: ErrorBody, asked: number | null): RefusalReason | null {
  for (const code of error.codes) {
    const reason = Object.hasOwn(unpaidCodes, code) ? unpaidCodes[code] : undefined;
    if (reason !== undefined) return reason;
  }
  if (isSpendCap(error)) return status === 429 && asked !== null ? null : "spend_cap";
  // A 400 may quote the client's own words: there, only how the provider's own sentence begins counts.
  if (status === 400)
    return /^your credit balance is too low/i.test(error.message) ? "billing" : null;
  return status === 402 || unpaidText.test(error.message) ? "billing" : null;
}

const unpaidText =
  /\bcredit balance is too low|\binsufficient (?:account )?(?:balance|credits?|funds)|\bbilling hard limit|\bcheck your billing details|\b(?:extra usage is|usage credits are) required/i;

function isSpendCap({ codes, message }: ErrorBody): boolean {
  if (/^you have reached your (?:specified )?API usage limits/i.test(message)) return true;
  for (const code of codes) if (code.endsWith("spend_limit_reached")) return true;
  return false;
}

/**
 * One request beyond the whole limit. Groq says 413, OpenAI 429:
 * "Request too large for gpt-4o … (TPM): Limit 30000, Requested 31538."
 */
function isTooLarge(error: ErrorBody, { limit, requested }: Statement): boolean {
  if (limit !== null && requested !== null && requested > limit) return true;
  return error.codes.has("rate_limit_exceeded") && /^request too large\b/i.test(error.message);
}

function tooLarge({ unit, window, limit }: Statement): UpstreamRefusal {
  return { ...never, unit, window, limit, reason: "request_too_large" };
}

/**
 * Whether a 403 is a limit: GitHub answers so for both kinds.
 * Source: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api (exceeding the rate limit).
 */
function isLimitOfGithub(headers: HeaderReader, { message }: ErrorBody): boolean {
  return (
    headers.has("retry-after") ||
    headers.get("x-ratelimit-remaining") === "0" ||
    /\bsecondary rate limit\b|\bAPI rate limit exceeded\b|\babuse detection\b/i.test(message)
  );
}

/** 429s that are about the provider's room, not the client's quota; null for the others. */
function readOverload({ codes, message }: ErrorBody): RefusalReason | null {
  // Cerebras: "We're experiencing high traffic right now! Please try again soon."
  if (codes.has("queue_exceeded")) return "queue_exceeded";
  if (/\brate-limited upstream\b/i.test(message)) return "upstream_limited";
  const isCode = overloadCodes.some((code) => codes.has(code));
  return isCode || overloadText.test(message) ? "overloaded" : null;
}

const overloadCodes = [
  "overloaded_error",
  "engine_overloaded_error",
  "server_overloaded",
  "model_capacity_exhausted",
  "service_tier_capacity_exceeded",
  "capacity_exceeded",
  "nocapacity",
];
/** Mistral: "Service tier capacity exceeded for this model."; Azure: "currently experiencing high demand". */
const overloadText =
  /\b(?:currently|is) overloaded\b|\bexperiencing high (?:demand|traffic)\b|\bno capacity available\b|\bcapacity exceeded\b/i;

/** The first that is above 0, to a microsecond: differences of times since 1970 are no more exact. */
function firstWait(...waits: readonly (number | null)[]): number | null {
  const wait = waits.find((wait) => wait !== null && wait > 0) ?? null;
  return wait === null ? null : Math.max(0.001, Math.round(wait * 1_000) / 1_000);
}
