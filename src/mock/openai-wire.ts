import { problem } from "./call.ts";
import type { Call, Frame, Reading, ReadingContext } from "./call.ts";
import { outputText } from "./estimate.ts";
import { chatPromptTokens, isFields, maxOutputTokens, plainInputTokens } from "./openai-prompt.ts";
import type { Fields } from "./openai-prompt.ts";

/**
 * The OpenAI wire format, which most providers speak: chat completions and completions (streamed and not),
 * embeddings, models. One choice an answer, whatever `n` says.
 *
 * Source: https://platform.openai.com/docs/api-reference
 */
export async function readOpenAi(
  request: Request,
  path: string,
  models: readonly string[],
  context: ReadingContext,
): Promise<Reading> {
  const route = `${request.method} ${path}`;
  if (route === "GET /v1/models")
    return { kind: "call", call: { kind: "free", body: modelList(models) } };
  const read = routes[route];
  if (!read) return problem(404, `Unknown request URL: ${route}.`);

  // Outside the try: a client that leaves while it uploads has sent no bad JSON.
  const text = await request.text();
  let fields: unknown;
  try {
    fields = JSON.parse(text);
  } catch {
    return problem(400, "We could not parse the JSON body of your request.");
  }
  if (!isFields(fields)) return problem(400, "The body must be a JSON object.");
  if (typeof fields["model"] !== "string")
    return problem(400, "you must provide a model parameter");
  const call = read(fields, fields["model"], context);
  return typeof call === "string" ? problem(400, call) : { kind: "call", call };
}

/** Answers a call, or says what is wrong with the fields. */
type Read = (fields: Fields, model: string, context: ReadingContext) => Call | string;

const routes: Record<string, Read> = {
  "POST /v1/chat/completions": readChat,
  "POST /v1/completions": readCompletion,
  "POST /v1/embeddings": readEmbeddings,
};

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

function readChat(fields: Fields, model: string, context: ReadingContext): Call | string {
  const messages = fields["messages"];
  if (!Array.isArray(messages) || messages.length === 0)
    return "'messages' must be a non-empty array.";
  return generation(chatShape, fields, model, chatPromptTokens(messages, fields["tools"]), context);
}

function readCompletion(fields: Fields, model: string, context: ReadingContext): Call | string {
  return generation(completionShape, fields, model, plainInputTokens(fields["prompt"]), context);
}

function generation(
  shape: Shape,
  fields: Fields,
  model: string,
  promptTokens: number,
  context: ReadingContext,
): Call {
  const bound = maxOutputTokens(fields);
  const head = {
    id: `${shape.idPrefix}-mock-${context.index}`,
    created: context.createdSeconds,
    model,
  };
  const finishReason = (output: number): string => (output === bound ? "length" : "stop");
  const usage = (output: number): Fields => ({
    prompt_tokens: promptTokens,
    completion_tokens: output,
    total_tokens: promptTokens + output,
    prompt_tokens_details: { cached_tokens: 0 },
  });

  const body = (output: number): string =>
    JSON.stringify({
      ...head,
      object: shape.object,
      choices: [
        { index: 0, ...shape.whole(outputText(0, output)), finish_reason: finishReason(output) },
      ],
      usage: usage(output),
    });

  const event = (choice: Fields | null, finish: string | null, extra: Fields = {}): string => {
    const choices = choice ? [{ index: 0, ...choice, finish_reason: finish }] : [];
    return `data: ${JSON.stringify({ ...head, object: shape.chunkObject, choices, ...extra })}\n\n`;
  };

  // Cerebras tells the usage in the chunk that ends the answer; OpenAI, when asked, in one more without choices.
  const ending = (output: number): string => {
    const last = (extra?: Fields): string => event(shape.piece(""), finishReason(output), extra);
    if (context.streamUsage === "always") return last({ usage: usage(output) });
    const options = fields["stream_options"];
    const asked = isFields(options) && options["include_usage"] === true;
    return asked && context.streamUsage === "asked"
      ? last() + event(null, null, { usage: usage(output) })
      : last();
  };

  function* frames(output: number): Iterable<Frame> {
    if (shape.opening) yield { text: event(shape.opening, null), producedTokens: 0 };
    for (let from = 0; from < output; from += context.tokensPerChunk) {
      const to = Math.min(output, from + context.tokensPerChunk);
      yield { text: event(shape.piece(outputText(from, to)), null), producedTokens: to };
    }
    yield { text: `${ending(output)}data: [DONE]\n\n`, producedTokens: output };
  }

  return {
    kind: "generation",
    promptTokens,
    maxOutputTokens: bound,
    body,
    frames: fields["stream"] === true ? frames : null,
  };
}

function readEmbeddings(fields: Fields, model: string): Call | string {
  const input = fields["input"];
  if (input === undefined) return "'input' is a required property";
  const promptTokens = plainInputTokens(input);
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
  const usage = { prompt_tokens: promptTokens, total_tokens: promptTokens };
  return {
    kind: "fixed",
    promptTokens,
    body: JSON.stringify({ object: "list", data, model, usage }),
  };
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
