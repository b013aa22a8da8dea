import type { Prompt } from "../tokens/prompt.ts";

/** What the meter needs to know of a call to a model before it is made. */
export interface ModelCall {
  /** As the client named it; empty where the request does not say. */
  model: string;
  /** Whether the client asked for the answer as a stream of events. */
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
  /** As the provider reported it; null where it did not. In a stream that broke off, output is at least what passed. */
  usage: Usage | null;
  /** Tokens of output estimated from the text that passed: never less than the number of events that carried some. */
  outputTokensSeen: number;
  /** Whether the stream's last event was seen: false where it was cut off. */
  finished: boolean;
}

/** Reads along while an answer's events pass to the client. */
export interface StreamMeter {
  /** The next bytes, cut anywhere. They are not kept once the line they belong to has ended. */
  push(chunk: Uint8Array): void;
  /** To be called once, when the stream has ended or broken off. */
  end(): StreamEnd;
}

/** An error of Cooldown's own, as an answer says it. */
export interface ErrorToSay {
  status: number;
  type: string;
  code: string;
  message: string;
}

/** One API's wire format. A new one is a file with such an object and a row in `dialects.ts`. */
export interface Dialect {
  readonly name: string;
  /** Whether `method path` is a call that is metered in tokens. */
  isMetered(method: string, path: string): boolean;
  /**
   * Reads what the meter needs from a parsed body.
   * @throws ProxyError `INVALID_REQUEST` where a field that must be counted has the wrong type.
   */
  readCall(path: string, body: Record<string, unknown>): ModelCall;
  /** The usage in a complete JSON answer, null where it has none. */
  usageOf(answer: unknown): Usage | null;
  /** Follows one answer that is sent as server-sent events. */
  follow(): StreamMeter;
  /** The body of an error of ours, in the shape that this API's SDKs understand. */
  errorBody(error: ErrorToSay, requestId: string): string;
}
