import { anthropic } from "../../src/provider/anthropic.ts";
import type { Dialect, Usage } from "../../src/provider/dialect.ts";
import { openai } from "../../src/provider/openai.ts";

/** One API's own bytes: what every dialect must be able to do is tested on these. */
export interface DialectCase {
  name: string;
  dialect: Dialect;
  path: string;
  request: Record<string, unknown>;
  /** A whole answer and the usage in it. */
  answer: unknown;
  usage: Usage;
  /** `data:` lines of a stream with the same usage. */
  events: string[];
  /** How many of `events` say something, with how many characters in all. */
  textEvents: number;
  textChars: number;
}

const chatUsage = {
  prompt_tokens: 20,
  completion_tokens: 5,
  total_tokens: 25,
  prompt_tokens_details: { cached_tokens: 8 },
};
const usage: Usage = { input: 20, output: 5, total: 25, cachedInput: 8 };
const chat = (delta: unknown, more: object = {}): string =>
  JSON.stringify({
    id: "c",
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta }],
    ...more,
  });

const responseUsage = {
  input_tokens: 20,
  output_tokens: 5,
  total_tokens: 25,
  input_tokens_details: { cached_tokens: 8 },
};

export const cases: DialectCase[] = [
  {
    name: "OpenAI chat",
    dialect: openai,
    path: "/v1/chat/completions",
    request: { model: "gpt-4o", messages: [{ role: "user", content: "hi" }], max_tokens: 10 },
    answer: {
      id: "c",
      choices: [{ message: { role: "assistant", content: "hello" } }],
      usage: chatUsage,
    },
    usage,
    events: [
      chat({ role: "assistant", content: "" }, { usage: null }),
      chat({ content: 'He said "usage":{' }, { usage: null }),
      chat({ content: "Grüße 🎉" }, { usage: null }),
      JSON.stringify({ id: "c", choices: [], usage: chatUsage }),
      "[DONE]",
    ],
    textEvents: 2,
    textChars: 17 + 7,
  },
  {
    name: "Groq chat",
    dialect: openai,
    path: "/openai/v1/chat/completions",
    request: {
      model: "llama-3.3-70b",
      messages: [{ role: "user", content: "hi" }],
      max_completion_tokens: 10,
    },
    answer: { choices: [], usage: chatUsage, x_groq: { id: "r" } },
    usage,
    events: [
      chat({ content: "hello" }, { x_groq: { id: "r" } }),
      chat({}, { x_groq: { id: "r", usage: chatUsage } }),
      "[DONE]",
    ],
    textEvents: 1,
    textChars: 5,
  },
  {
    name: "OpenAI responses",
    dialect: openai,
    path: "/v1/responses",
    request: { model: "gpt-5", input: "hi", max_output_tokens: 10 },
    answer: { id: "r", object: "response", output: [], usage: responseUsage },
    usage,
    events: [
      JSON.stringify({ type: "response.created", response: { id: "r", usage: null } }),
      JSON.stringify({ type: "response.output_text.delta", delta: "hello wo" }),
      JSON.stringify({ type: "response.output_text.delta", delta: "rld" }),
      JSON.stringify({
        type: "response.completed",
        response: { id: "r", output: [], usage: responseUsage },
      }),
    ],
    textEvents: 2,
    textChars: 11,
  },
  {
    name: "Anthropic messages",
    dialect: anthropic,
    path: "/v1/messages",
    request: {
      model: "claude-sonnet-4",
      messages: [{ role: "user", content: "hi" }],
      max_tokens: 10,
    },
    answer: {
      type: "message",
      content: [],
      usage: {
        input_tokens: 10,
        cache_creation_input_tokens: 2,
        cache_read_input_tokens: 8,
        output_tokens: 5,
      },
    },
    usage,
    events: [
      JSON.stringify({
        type: "message_start",
        message: {
          usage: {
            input_tokens: 10,
            cache_creation_input_tokens: 2,
            cache_read_input_tokens: 8,
            output_tokens: 1,
          },
        },
      }),
      JSON.stringify({ type: "ping" }),
      JSON.stringify({
        type: "content_block_delta",
        index: 0,
        delta: { type: "text_delta", text: "hello" },
      }),
      JSON.stringify({
        type: "message_delta",
        delta: { stop_reason: "end_turn" },
        usage: { output_tokens: 5 },
      }),
      JSON.stringify({ type: "message_stop" }),
    ],
    textEvents: 1,
    textChars: 5,
  },
];

/** The events as an API sends them, with either line end. */
export function sse(events: readonly string[], lineEnd = "\n"): string {
  return events.map((event) => `event: x${lineEnd}data: ${event}${lineEnd}${lineEnd}`).join("");
}
