import { readBody } from "./body.ts";
import { problem } from "./call.ts";
import type { Call, Frame, Prompt, Reading, ReadingContext } from "./call.ts";
import { outputText } from "./estimate.ts";
import { chatPromptTokens, estimateOf } from "./openai-prompt.ts";
import type { Estimate, Fields } from "./openai-prompt.ts";

/**
 * Anthropic's Messages API, streamed and not; counting tokens and the list of models, which are free.
 *
 * Sources: https://docs.anthropic.com/en/api/messages and https://docs.anthropic.com/en/api/messages-streaming
 */
export async function readAnthropic(
  request: Request,
  path: string,
  models: readonly string[],
  context: ReadingContext,
): Promise<Reading> {
  switch (`${request.method} ${path}`) {
    case "GET /v1/models":
      return { kind: "call", call: { kind: "free", body: modelList(models) } };
    case "POST /v1/messages":
      return readBody(request, readMessage, context);
    case "POST /v1/messages/count_tokens":
      return readBody(request, readCount, context);
    default:
      return problem(404, "Not Found");
  }
}

function readCount(fields: Fields, _model: string, context: ReadingContext): Call | string {
  const estimate = estimateInput(fields);
  if (typeof estimate === "string") return estimate;
  const body = JSON.stringify({ input_tokens: context.prompt(estimate).promptTokens });
  return { kind: "free", body };
}

function readMessage(fields: Fields, model: string, context: ReadingContext): Call | string {
  const bound = fields["max_tokens"];
  if (typeof bound !== "number" || !(bound >= 1)) return "max_tokens: Field required";
  const estimate = estimateInput(fields);
  if (typeof estimate === "string") return estimate;
  const prompt = context.prompt(estimate);

  const message = (content: Fields[], stopReason: string | null, usage: Fields): Fields => ({
    id: `msg_mock_${context.index}`,
    type: "message",
    role: "assistant",
    model,
    content,
    stop_reason: stopReason,
    stop_sequence: null,
    usage,
  });
  const stopReason = (output: number): string => (output === bound ? "max_tokens" : "end_turn");

  function* frames(output: number): Iterable<Frame> {
    yield {
      text:
        // The first count of output is what there is at that moment; the last event has the whole.
        event("message_start", {
          message: message([], null, usageOf(prompt, Math.min(1, output))),
        }) +
        event("content_block_start", { index: 0, content_block: { type: "text", text: "" } }) +
        event("ping", {}),
      producedTokens: 0,
    };
    for (let from = 0; from < output; from += context.tokensPerChunk) {
      const to = Math.min(output, from + context.tokensPerChunk);
      const delta = { type: "text_delta", text: outputText(from, to) };
      yield { text: event("content_block_delta", { index: 0, delta }), producedTokens: to };
    }
    yield {
      text:
        event("content_block_stop", { index: 0 }) +
        event("message_delta", {
          delta: { stop_reason: stopReason(output), stop_sequence: null },
          usage: { output_tokens: output },
        }) +
        event("message_stop", {}),
      producedTokens: output,
    };
  }

  const body = (output: number): string => {
    const content = [{ type: "text", text: outputText(0, output) }];
    return JSON.stringify(message(content, stopReason(output), usageOf(prompt, output)));
  };
  return {
    kind: "generation",
    model,
    ...prompt,
    maxOutputTokens: Math.floor(bound),
    body,
    frames: fields["stream"] === true ? frames : null,
  };
}

function event(type: string, fields: Fields): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}

function estimateInput(fields: Fields): Estimate | string {
  const { messages, system, tools } = fields;
  if (!Array.isArray(messages) || messages.length === 0) return "messages: Field required";
  const all = system === undefined ? messages : [...messages, { content: system }];
  return estimateOf(chatPromptTokens(all, tools), messages, system, tools);
}

/** What was read from the cache is not in `input_tokens`. */
function usageOf({ promptTokens, cachedTokens }: Prompt, output: number): Fields {
  return {
    input_tokens: promptTokens - cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cachedTokens,
    output_tokens: output,
    service_tier: "standard",
  };
}

function modelList(models: readonly string[]): string {
  const data = models.map((id) => ({
    type: "model",
    id,
    display_name: id,
    created_at: "2026-01-01T00:00:00Z",
  }));
  return JSON.stringify({ data, has_more: false, first_id: models[0], last_id: models.at(-1) });
}

const errorTypes: Record<number, string> = {
  400: "invalid_request_error",
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  504: "timeout_error",
  529: "overloaded_error",
};

/**
 * An error as Anthropic words it.
 *
 * Source: https://docs.anthropic.com/en/api/errors
 */
export function anthropicError(
  status: number,
  message: string,
  id: string,
  headers: Record<string, string> = {},
): Response {
  const type = errorTypes[status] ?? (status < 500 ? "invalid_request_error" : "api_error");
  const body = { type: "error", error: { type, message }, request_id: id };
  return Response.json(body, { status, headers });
}
