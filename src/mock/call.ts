/** A piece of a streamed answer, sent in one go. */
export interface Frame {
  text: string;
  /** Output tokens that the client has once this frame was sent. */
  producedTokens: number;
}

/** What a request asks for, in the terms that the simulator meters and answers it with. */
export type Call =
  /** Costs nothing and is never refused, such as the list of models. */
  { kind: "free"; body: string } | MeteredCall;

export type MeteredCall = FixedCall | Generation;

/** The input of a call, as the provider sees it. */
export interface Prompt {
  promptTokens: number;
  /** Of those, how many the provider has in its cache. */
  cachedTokens: number;
  /** Length of its texts, for providers that estimate by it. */
  characters: number;
}

/** Costs one request and its prompt; the answer is ready. */
interface FixedCall extends Prompt {
  kind: "fixed";
  model: string;
  body: string;
}

interface Generation extends Prompt {
  kind: "generation";
  model: string;
  /** The client's own bound on the output, null where it set none. */
  maxOutputTokens: number | null;
  /** The whole answer as JSON. */
  body(outputTokens: number): string;
  /** The answer piece by piece; null where the client did not ask for a stream. */
  frames: ((outputTokens: number) => Iterable<Frame>) | null;
}

/** What was read from a request: a call, or why it is none. */
export type Reading =
  | { kind: "call"; call: Call }
  | { kind: "problem"; status: number; message: string };

/** What a reader may use besides the request itself. */
export interface ReadingContext {
  /** Position of the request among all that arrived; makes ids that differ and repeat from run to run. */
  index: number;
  createdSeconds: number;
  /** Whether a stream tells its usage: `asked` only with `stream_options.include_usage`. */
  streamUsage: StreamUsage;
  tokensPerChunk: number;
  /** The prompt as it is metered and reported: as estimated from its texts, or as the request's headers say. */
  prompt(estimated: { tokens: number; characters: number }): Prompt;
}

export type StreamUsage = "always" | "asked" | "never";

/** The answer to a body that cannot be used. */
export function problem(status: number, message: string): Reading {
  return { kind: "problem", status, message };
}
