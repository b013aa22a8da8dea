import type { HeaderReader } from "../header-fields.ts";
import type { Prompt } from "../tokens/prompt.ts";

/** What the meter needs to know of a call to a model before it is made. */
export interface ModelCall {
  /** As the client named it; empty where the request does not say. */
  model: string;
  /** Whether the client asked for the answer in pieces as it is written. */
  stream: boolean;
  prompt: Prompt;
  /**
   * Tokens the client allows the answer(s) to have in all: the largest of the fields that limit it (so that
   * conflicting fields cannot be used to reserve less), times the number of answers. Null where it sets no limit.
   */
  maxOutput: number | null;
  /** Whether the model writes tokens at all: false for embeddings. */
  hasOutput: boolean;
}

/** What the provider says it counted. */
export interface Usage {
  /** Tokens read, cached ones included. */
  input: number;
  /** Tokens written, reasoning included. */
  output: number;
  /** All of them; at least `input + output`. */
  total: number;
  /** The part of `input` that came from the provider's prompt cache. */
  cachedInput: number;
}

/** How a followed stream ended. */
export interface StreamEnd {
  /**
   * As the provider reported it; null where it did not. In a stream that broke off or ended in an error, output is
   * at least what passed.
   */
  usage: Usage | null;
  /** Tokens of output estimated from the text that passed: never less than the number of events that carried some. */
  outputTokensSeen: number;
  /** Whether the stream's last event was seen, be it an error: false where it was cut off. */
  finished: boolean;
  /** Whether an error ended it after it had begun with a 200: what it says of output lengths is worth nothing. */
  failed: boolean;
  /** Whether the answer stopped because its cap on output was reached. */
  stoppedForLength: boolean;
}

/** Reads along while an answer's events pass to the client. */
export interface StreamMeter {
  /** The next bytes, cut anywhere. They are not kept once the event they belong to has ended. */
  push(this: void, chunk: Uint8Array): void;
  /** To be called once, when the stream has ended or broken off. */
  end(): StreamEnd;
}

/** An error of Cooldown's own, as an answer says it. */
export interface ErrorToSay {
  status: number;
  type: string;
  code: string;
  message: string;
  /** Milliseconds until a retry makes sense, null where it never does, for the APIs that say so in the body. */
  retryAfterMs?: number | null;
}

/** One API's wire format. A new one is a file with such an object and a row in `dialects.ts`. */
export interface Dialect {
  readonly name: string;
  /** The key of the object with usage, in answers and events. */
  readonly usageKey: string;
  /** Whether `method path` is a call that is metered in tokens. */
  isMetered(method: string, path: string): boolean;
  /**
   * Reads what the meter needs from a parsed body.
   * @throws ProxyError `INVALID_REQUEST` where a field that must be counted has the wrong type.
   */
  readCall(path: string, body: Record<string, unknown>): ModelCall;
  /**
   * A copy of a body that `readCall` took, its cap on output lowered to `tokens` in every field that the client used
   * and that is larger. Null, the body is to stay as it is, where no field is larger, and where a lower cap could
   * make the call fail or be split among several answers.
   * @param tokens a whole number, at least 1
   */
  withMaxOutput(
    path: string,
    body: Record<string, unknown>,
    tokens: number,
  ): Record<string, unknown> | null;
  /** The usage in a complete JSON answer, null where it has none. */
  usageOf(answer: unknown): Usage | null;
  /** The usage in an answer's headers, where the body may not have it; only where a provider sends it there. */
  usageInHeaders?(headers: HeaderReader): Usage | null;
  /** Whether a complete JSON answer stopped because its cap on output was reached. */
  stoppedForLength(answer: unknown): boolean;
  /** Follows one answer that is sent as server-sent events. */
  follow(): StreamMeter;
  /** Follows one answer that is streamed as a JSON array of events; only where the API does that. */
  followJson?(): StreamMeter;
  /** The body of an error of ours, in the shape that this API's SDKs understand. */
  errorBody(error: ErrorToSay, requestId: string): string;
}
