/** An image in a prompt: what its cost in tokens depends on. Sizes in pixels, null where not known. */
export interface PromptImage {
  width: number | null;
  height: number | null;
  detail: "low" | "high" | "auto";
}

/** One chat message, its text parts in order. */
export interface PromptMessage {
  role: string;
  name: string | null;
  /** Text parts; tool calls and tool results as the JSON text in which they were sent. */
  text: readonly string[];
  images: readonly PromptImage[];
}

/** What a request asks a model to read: the part of it that is charged as input tokens. */
export interface Prompt {
  /** As the client named it, without normalisation. */
  model: string;
  /** Chat messages: text plus chat-template overhead. */
  messages: readonly PromptMessage[];
  /** Plain inputs (completions, embeddings): text alone, no template. */
  texts: readonly string[];
  /** Inputs that came as arrays of token ids: how many ids in all. */
  tokenIds: number;
  /** JSON text of each tool definition. */
  tools: readonly string[];
}
