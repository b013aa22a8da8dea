import type { Call, Frame, Prompt, ReadingContext } from "./call.ts";
import { estimateTokens, outputText } from "./estimate.ts";
import {
  chatPromptTokens,
  estimateOf,
  isFields,
  maxOutputTokens,
  plainInputTokens,
} from "./openai-prompt.ts";
import type { Fields } from "./openai-prompt.ts";

/**
 * OpenAI's Responses API: one message of text an answer, streamed as named events that carry a sequence
 * number. A stream ends with its last event, not with `[DONE]`, and always tells the usage.
 *
 * Source: https://platform.openai.com/docs/api-reference/responses-streaming
 */
export function readResponses(
  fields: Fields,
  model: string,
  context: ReadingContext,
): Call | string {
  const { input, instructions, tools } = fields;
  if (input === undefined) return "Missing required parameter: 'input'.";
  const tokens = inputTokens(input, tools) + plainInputTokens(instructions);
  const prompt = context.prompt(estimateOf(tokens, input, instructions, tools));
  const bound = maxOutputTokens(fields);
  const ids = { response: `resp_mock_${context.index}`, message: `msg_mock_${context.index}` };

  const part = (text: string): Fields => ({
    type: "output_text",
    annotations: [],
    logprobs: [],
    text,
  });
  const message = (status: string, content: Fields[]): Fields => ({
    id: ids.message,
    type: "message",
    status,
    role: "assistant",
    content,
  });
  const response = (status: string, output: number | null): Fields => ({
    id: ids.response,
    object: "response",
    created_at: context.createdSeconds,
    status,
    error: null,
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    instructions: instructions ?? null,
    max_output_tokens: bound,
    metadata: {},
    model,
    output:
      output === null
        ? []
        : [message(status === "incomplete" ? status : "completed", [part(outputText(0, output))])],
    parallel_tool_calls: true,
    previous_response_id: null,
    store: true,
    temperature: 1,
    text: { format: { type: "text" } },
    tool_choice: "auto",
    tools: tools ?? [],
    top_p: 1,
    truncation: "disabled",
    usage: output === null ? null : usageOf(prompt, output),
  });
  const endStatus = (output: number): string => (output === bound ? "incomplete" : "completed");

  function* frames(output: number): Iterable<Frame> {
    let sequence = 0;
    const event = (type: string, more: Fields): string =>
      `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence++, ...more })}\n\n`;
    const place = { item_id: ids.message, output_index: 0, content_index: 0 };
    const whole = outputText(0, output);
    const status = endStatus(output);

    yield {
      text:
        event("response.created", { response: response("in_progress", null) }) +
        event("response.in_progress", { response: response("in_progress", null) }) +
        event("response.output_item.added", { output_index: 0, item: message("in_progress", []) }) +
        event("response.content_part.added", { ...place, part: part("") }),
      producedTokens: 0,
    };
    for (let from = 0; from < output; from += context.tokensPerChunk) {
      const to = Math.min(output, from + context.tokensPerChunk);
      const delta = { ...place, delta: outputText(from, to), logprobs: [] };
      yield { text: event("response.output_text.delta", delta), producedTokens: to };
    }
    yield {
      text:
        event("response.output_text.done", { ...place, text: whole, logprobs: [] }) +
        event("response.content_part.done", { ...place, part: part(whole) }) +
        event("response.output_item.done", {
          output_index: 0,
          item: message(status, [part(whole)]),
        }) +
        event(`response.${status}`, { response: response(status, output) }),
      producedTokens: output,
    };
  }

  return {
    kind: "generation",
    model,
    ...prompt,
    maxOutputTokens: bound,
    body: (output) => JSON.stringify(response(endStatus(output), output)),
    frames: fields["stream"] === true ? frames : null,
  };
}

/** A text, or a list of items that are like a chat's messages. */
function inputTokens(input: unknown, tools: unknown): number {
  if (Array.isArray(input)) return chatPromptTokens(input.filter(isFields), tools);
  const toolTokens = tools === undefined ? 0 : estimateTokens(JSON.stringify(tools));
  return plainInputTokens(input) + toolTokens;
}

function usageOf({ promptTokens, cachedTokens }: Prompt, output: number): Fields {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + output,
  };
}
