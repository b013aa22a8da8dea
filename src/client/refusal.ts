import { ProxyError } from "../errors.ts";
import type { ClientCost } from "./algorithm.ts";

/** What is left of a limit on one unit. */
export interface Allowance {
  /** Units a minute. */
  readonly limit: number;
  /** Units that would be let through now. */
  readonly remaining: number;
}

/** A request that its client's own limit has no room for. It was charged nothing. */
export interface ClientRefusal {
  readonly ok: false;
  /** Milliseconds until there is room; Infinity if the request needs more than there ever is. */
  readonly retryAfterMs: number;
  readonly cost: ClientCost;
  /** Null where they are not limited. */
  readonly requests: Allowance | null;
  readonly tokens: Allowance | null;
}

/** The error that a refused request is answered with. */
export function refusalError({ retryAfterMs, cost, tokens }: ClientRefusal): ProxyError {
  if (retryAfterMs === Infinity) {
    return new ProxyError(
      "EXCEEDS_QUOTA",
      `The request needs ${cost.tokens} tokens, and this client's limit is ${tokens?.limit ?? 0} a minute. ` +
        "Ask for less output, or send less.",
    );
  }
  return new ProxyError(
    "RATE_LIMIT_EXCEEDED",
    "Rate limit exceeded. Please try again later.",
    retryAfterMs,
  );
}

/**
 * Sets the remaining allowance on the answer to a refused request, under the names that quotas use too, and for
 * requests in the fields of the IETF draft (draft-ietf-httpapi-ratelimit-headers-10). `Retry-After` is the error's.
 */
export function setRefusalHeaders(headers: Headers, refusal: ClientRefusal): void {
  const { requests, tokens, retryAfterMs } = refusal;
  if (requests !== null) {
    headers.set("x-ratelimit-limit-rpm", String(requests.limit));
    headers.set("x-ratelimit-remaining-rpm", String(requests.remaining));
    headers.set("ratelimit-policy", `"client";q=${requests.limit};w=60`);
    const wait = requests.remaining > 0 ? "" : `;t=${Math.ceil(retryAfterMs / 1_000)}`;
    headers.set("ratelimit", `"client";r=${requests.remaining}${wait}`);
  }
  if (tokens !== null) {
    headers.set("x-ratelimit-limit-tpm", String(tokens.limit));
    headers.set("x-ratelimit-remaining-tpm", String(tokens.remaining));
  }
}
