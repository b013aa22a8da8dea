import { readBody } from "./body.ts";
import type { Read } from "./body.ts";
import { problem } from "./call.ts";
import type { Call, Frame, Prompt, Reading, ReadingContext } from "./call.ts";
import { outputText } from "./estimate.ts";
import {
  chatPromptTokens,
  estimateOf,
  isFields,
  maxOutputTokens,
  plainInputTokens,
} from "./openai-prompt.ts";
import type { Estimate, Fields } from "./openai-prompt.ts";
import { readResponses } from "./openai-responses.ts";

/** Where the providers that speak OpenAI's format differ in it. */
export interface OpenAiWire {
  /** What stands before `/chat/completions`: `/v1`, or a longer path that ends with it. */
  basePath: string;
  models: readonly string[];
  hasResponses: boolean;
  /** Fields of the provider's own in an answer, or in the first or last chunk with choices of a streamed one. */
  extra?(at: "whole" | "first" | "last", usage: Fields, context: ReadingContext): Fields;
}

/**
 * The OpenAI wire format, which most providers speak: chat completions and completions (streamed and not),
 * embeddings, models, and the Responses API where the provider has it. One choice an answer, whatever `n` says.
 *
 * Source: https://platform.openai.com/docs/api-reference
 */
export async function readOpenAi(
  request: Request,
  path: string,
  wire: OpenAiWire,
  context: ReadingContext,
): Promise<Reading> {
  const unknown = (): Reading => problem(404, `Unknown request URL: ${request.method} ${path}.`);
  // `/v1` is understood by all, so that a client need not know which profile it talks to.
  const base = path.startsWith(`${wire.basePath}/`) ? wire.basePath : "/v1";
  if (!path.startsWith(`${base}/`)) return unknown();
  const route = `${request.method} ${path.slice(base.length)}`;
  if (route === "GET /models")
    return { kind: "call", call: { kind: "free", body: modelList(wire.models) } };
  const read = routeOf(route, wire);
  return read ? readBody(request, read, context) : unknown();
}

function routeOf(route: string, wire: OpenAiWire): Read | null {
  switch (route) {
    case "POST /chat/completions":
      return (fields, model, context) => readChat(fields, model, wire, context);
    case "POST /completions":
      return (fields, model, context) => readCompletion(fields, model, wire, context);
    case "POST /embeddings":
      return readEmbeddings;
    case "POST /responses":
      return wire.hasResponses ? readResponses : null;
    default:
      return null;
  }
}

/** Where chat completions and completions differ. */
interface Shape {
  idPrefix: string;
  object: string;
  chunkObject: string;
  whole(text: string): Fields;
  /** A chunk's choice; null where the shape has no opening chunk. */
  opening: Fields | null;
  piece(text: string): Fields;
}

const chatShape: Shape = {
  idPrefix: "chatcmpl",
  object: "chat.completion",
  chunkObject: "chat.completion.chunk",
  whole: (text) => ({ message: { role: "assistant", content: text } }),
  opening: { delta: { role: "assistant", content: "" } },
  piece: (text) => ({ delta: text === "" ? {} : { content: text } }),
};

const completionShape: Shape = {
  idPrefix: "cmpl",
  object: "text_completion",
  chunkObject: "text_completion",
  whole: (text) => ({ text }),
  opening: null,
  piece: (text) => ({ text }),
};

function readChat(
  fields: Fields,
  model: string,
  wire: OpenAiWire,
  context: ReadingContext,
): Call | string {
  const { messages, tools } = fields;
  if (!Array.isArray(messages) || messages.length === 0)
    return "'messages' must be a non-empty array.";
  const estimate = estimateOf(chatPromptTokens(messages, tools), messages, tools);
  return generation(chatShape, fields, model, estimate, wire, context);
}

function readCompletion(
  fields: Fields,
  model: string,
  wire: OpenAiWire,
  context: ReadingContext,
): Call | string {
  const { prompt } = fields;
  const estimate = estimateOf(plainInputTokens(prompt), prompt);
  return generation(completionShape, fields, model, estimate, wire, context);
}

function generation(
  shape: Shape,
  fields: Fields,
  model: string,
  estimate: Estimate,
  wire: OpenAiWire,
  context: ReadingContext,
): Call {
  const bound = maxOutputTokens(fields);
  const prompt = context.prompt(estimate);
  const head = {
    id: `${shape.idPrefix}-mock-${context.index}`,
    created: context.createdSeconds,
    model,
  };
  const finishReason = (output: number): string => (output === bound ? "length" : "stop");
  const extra = (at: "whole" | "first" | "last", output: number): Fields =>
    wire.extra?.(at, usageOf(prompt, output), context) ?? {};

  const body = (output: number): string =>
    JSON.stringify({
      ...head,
      object: shape.object,
      choices: [
        { index: 0, ...shape.whole(outputText(0, output)), finish_reason: finishReason(output) },
      ],
      usage: usageOf(prompt, output),
      ...extra("whole", output),
    });

  const options = fields["stream_options"];
  const isAsked =
    context.streamUsage === "asked" && isFields(options) && options["include_usage"] === true;

  const event = (choice: Fields | null, finish: string | null, more: Fields = {}): string => {
    const choices = choice ? [{ index: 0, ...choice, finish_reason: finish }] : [];
    // Who asked for the usage gets the field in every chunk, null until the last.
    const usage = isAsked ? { usage: null } : {};
    const chunk = { ...head, object: shape.chunkObject, choices, ...usage, ...more };
    return `data: ${JSON.stringify(chunk)}\n\n`;
  };

  // Cerebras tells the usage in the chunk that ends the answer; OpenAI, when asked, in one more without choices.
  const ending = (output: number): string => {
    const usage = { usage: usageOf(prompt, output) };
    const last = (more: Fields): string =>
      event(shape.piece(""), finishReason(output), { ...more, ...extra("last", output) });
    if (context.streamUsage === "always") return last(usage);
    return isAsked ? last({}) + event(null, null, usage) : last({});
  };

  function* frames(output: number): Iterable<Frame> {
    if (shape.opening) {
      yield { text: event(shape.opening, null, extra("first", output)), producedTokens: 0 };
    }
    for (let from = 0; from < output; from += context.tokensPerChunk) {
      const to = Math.min(output, from + context.tokensPerChunk);
      yield { text: event(shape.piece(outputText(from, to)), null), producedTokens: to };
    }
    yield { text: `${ending(output)}data: [DONE]\n\n`, producedTokens: output };
  }

  return {
    kind: "generation",
    model,
    ...prompt,
    maxOutputTokens: bound,
    body,
    frames: fields["stream"] === true ? frames : null,
  };
}

function usageOf({ promptTokens, cachedTokens }: Prompt, output: number): Fields {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: output,
    total_tokens: promptTokens + output,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}

function readEmbeddings(fields: Fields, model: string, context: ReadingContext): Call | string {
  const { input } = fields;
  if (input === undefined) return "'input' is a required property";
  const prompt = context.prompt(estimateOf(plainInputTokens(input), input));
  const isBatch = Array.isArray(input) && typeof input[0] !== "number";
  const size = typeof fields["dimensions"] === "number" ? fields["dimensions"] : 8;
  if (!Number.isInteger(size) || size < 1 || size > 4096)
    return "'dimensions' must be from 1 to 4096.";

  // The official clients ask for base64 unless told otherwise.
  const vector = new Float32Array(size).fill(1 / Math.sqrt(size));
  const embedding =
    fields["encoding_format"] === "base64"
      ? Buffer.from(vector.buffer).toString("base64")
      : Array.from(vector);
  const data = Array.from({ length: isBatch ? input.length : 1 }, (_, index) => ({
    object: "embedding",
    index,
    embedding,
  }));
  const usage = { prompt_tokens: prompt.promptTokens, total_tokens: prompt.promptTokens };
  const body = JSON.stringify({ object: "list", data, model, usage });
  return { kind: "fixed", model, ...prompt, body };
}

function modelList(models: readonly string[]): string {
  const data = models.map((id) => ({ id, object: "model", created: 0, owned_by: "mock" }));
  return JSON.stringify({ object: "list", data });
}

/** An error as OpenAI words it. */
export function openAiError(status: number, message: string): Response {
  const type = status < 500 ? "invalid_request_error" : "server_error";
  return Response.json({ error: { message, type, param: null, code: null } }, { status });
}
