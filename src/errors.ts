/** Everything Cooldown itself can answer a client with, one row a code (contract, section 5). */
const table = {
  INVALID_REQUEST: { status: 400, type: "invalid_request_error" },
  EXCEEDS_QUOTA: { status: 400, type: "invalid_request_error" },
  UNAUTHORIZED: { status: 401, type: "authentication_error" },
  DOMAIN_BLOCKED: { status: 403, type: "permission_error" },
  DOMAIN_NOT_ALLOWED: { status: 403, type: "permission_error" },
  ADDRESS_NOT_ALLOWED: { status: 403, type: "permission_error" },
  PORT_NOT_ALLOWED: { status: 403, type: "permission_error" },
  IP_BLOCKED: { status: 403, type: "permission_error" },
  ORIGIN_NOT_ALLOWED: { status: 403, type: "permission_error" },
  NOT_FOUND: { status: 404, type: "not_found_error" },
  BODY_TOO_LARGE: { status: 413, type: "invalid_request_error" },
  RATE_LIMIT_EXCEEDED: { status: 429, type: "rate_limit_error" },
  QUEUE_FULL: { status: 429, type: "rate_limit_error" },
  QUEUE_TIMEOUT: { status: 429, type: "rate_limit_error" },
  /** A fault of ours: it should never be seen. */
  INTERNAL: { status: 500, type: "api_error" },
  UPSTREAM_UNREACHABLE: { status: 502, type: "api_error" },
  UPSTREAM_TIMEOUT: { status: 504, type: "api_error" },
  CIRCUIT_OPEN: { status: 503, type: "overloaded_error" },
  SHUTTING_DOWN: { status: 503, type: "overloaded_error" },
  STORE_UNAVAILABLE: { status: 503, type: "overloaded_error" },
} as const;

export type ErrorCode = keyof typeof table;

/**
 * An answer of Cooldown's own instead of the upstream's: what the client is told, with which status.
 * `message` is for the client to read: what happened and what to do; never a secret.
 */
export class ProxyError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly type: string;
  /** Milliseconds until a retry makes sense, or null where it never does or is not known. */
  readonly retryAfterMs: number | null;

  constructor(code: ErrorCode, message: string, retryAfterMs: number | null = null) {
    super(message);
    this.name = "ProxyError";
    this.code = code;
    this.status = table[code].status;
    this.type = table[code].type;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Wrong usage or configuration: the program says `message` and ends with code 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Something failed while running that the operator can mend (port in use, store locked): code 1. */
export class OperationError extends Error {
  override readonly name = "OperationError";
}
