import { anthropic } from "../../src/provider/anthropic.ts";
import { azure } from "../../src/provider/azure.ts";
import { cerebras } from "../../src/provider/cerebras.ts";
import type { Dialect, Usage } from "../../src/provider/dialect.ts";
import { gemini } from "../../src/provider/gemini.ts";
import { generic } from "../../src/provider/generic.ts";
import { groq } from "../../src/provider/groq.ts";
import { mistral } from "../../src/provider/mistral.ts";
import { openai } from "../../src/provider/openai.ts";
import { openrouter } from "../../src/provider/openrouter.ts";

type Body = Record<string, unknown>;

/** One API's own bytes: what every dialect must be able to do is tested on these. */
export interface DialectCase {
  name: string;
  dialect: Dialect;
  path: string;
  model: string;
  /** A request to say "hi", with the caps on output given, in the two fields that the API has for them. */
  request(cap?: unknown, otherCap?: unknown): Body;
  /** Bodies with a field of the wrong type, to be laid over a request. */
  wrong: readonly Body[];
  /** A whole answer. */
  answer(usage: Usage, stopped: boolean): unknown;
  /** The data of each event of a stream that writes `texts`; without the last, it has broken off. */
  events(texts: readonly string[], usage: Usage, stopped: boolean): string[];
  /** An error in the middle of a stream. */
  error: unknown;
  /** How a stream's events are sent. */
  framing: "sse" | "json";
  /** Lines between events that say nothing. */
  comment?: string;
}

const data = (value: unknown): string => JSON.stringify(value);

const chatUsage = ({ input, output, total, cachedInput }: Usage): Body => ({
  prompt_tokens: input,
  completion_tokens: output,
  total_tokens: total,
  prompt_tokens_details: { cached_tokens: cachedInput },
});

const chunk = (delta: unknown, more: Body = {}, reason: string | null = null): string =>
  data({
    id: "c",
    object: "chat.completion.chunk",
    choices: [{ index: 0, delta, finish_reason: reason }],
    ...more,
  });

const reasonOf = (stopped: boolean): string => (stopped ? "length" : "stop");

/** Chat completions, whose providers differ in where a stream has its usage. */
function chat(
  dialect: Dialect,
  path: string,
  parts: Partial<DialectCase> & { usageEvents: (usage: Body, reason: string) => string[] },
): DialectCase {
  const { usageEvents, ...rest } = parts;
  return {
    name: `${dialect.name} chat`,
    dialect,
    path,
    model: "m",
    request: (cap, otherCap) => ({
      model: "m",
      messages: [{ role: "user", content: "hi" }],
      ...(cap === undefined ? {} : { max_tokens: cap }),
      ...(otherCap === undefined ? {} : { max_completion_tokens: otherCap }),
    }),
    wrong: [
      { model: 5 },
      { max_tokens: "10" },
      { max_tokens: [] },
      { messages: "hi" },
      { messages: [5] },
      { tools: {} },
    ],
    answer: (usage, stopped) => ({
      id: "c",
      choices: [{ message: { role: "assistant", content: "x" }, finish_reason: reasonOf(stopped) }],
      usage: chatUsage(usage),
    }),
    events: (texts, usage, stopped) => [
      chunk({ role: "assistant", content: "" }),
      ...texts.map((content) => chunk({ content })),
      ...usageEvents(chatUsage(usage), reasonOf(stopped)),
      "[DONE]",
    ],
    error: { error: { message: "no", type: "server_error" } },
    framing: "sse",
    ...rest,
  };
}

const inLastChunk = (usage: Body, reason: string): string[] => [chunk({}, { usage }, reason)];

const geminiUsage = ({ input, output, total, cachedInput }: Usage): Body => ({
  promptTokenCount: Math.max(0, input - 1),
  toolUsePromptTokenCount: Math.min(input, 1),
  candidatesTokenCount: output - Math.floor(output / 2),
  thoughtsTokenCount: Math.floor(output / 2),
  cachedContentTokenCount: cachedInput,
  totalTokenCount: total,
});

const candidate = (text: string, more: Body = {}): Body => ({
  candidates: [{ content: { role: "model", parts: [{ text }] }, index: 0, ...more }],
});

const geminiCase: DialectCase = {
  name: "gemini",
  dialect: gemini,
  path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
  model: "gemini-2.5-flash",
  request: (cap, otherCap) => ({
    contents: [{ role: "user", parts: [{ text: "hi" }] }],
    generationConfig: {
      ...(cap === undefined ? {} : { maxOutputTokens: cap }),
      ...(otherCap === undefined ? {} : { max_output_tokens: otherCap }),
    },
  }),
  wrong: [
    { contents: 5 },
    { contents: [5] },
    { tools: {} },
    { generationConfig: [] },
    { generationConfig: { maxOutputTokens: "1" } },
    { generationConfig: { candidateCount: "1" } },
  ],
  answer: (usage, stopped) => ({
    ...candidate("x", { finishReason: stopped ? "MAX_TOKENS" : "STOP" }),
    usageMetadata: geminiUsage(usage),
  }),
  events: (texts, usage, stopped) => [
    ...texts.map((text) =>
      data({ ...candidate(text), usageMetadata: { promptTokenCount: 3, totalTokenCount: 3 } }),
    ),
    data({
      ...candidate("", { finishReason: stopped ? "MAX_TOKENS" : "STOP" }),
      usageMetadata: geminiUsage(usage),
    }),
  ],
  error: { error: { code: 503, message: "no", status: "UNAVAILABLE" } },
  framing: "sse",
};

export const cases: DialectCase[] = [
  chat(openai, "/v1/chat/completions", {
    usageEvents: (usage, reason) => [
      chunk({}, { usage: null }, reason),
      data({ id: "c", choices: [], usage }),
    ],
  }),
  chat(cerebras, "/v1/chat/completions", {
    usageEvents: (usage, reason) => [chunk({}, { usage, time_info: { total_time: 0.1 } }, reason)],
    error: { error: { message: "no", type: "server_error" }, status_code: 500 },
  }),
  chat(groq, "/openai/v1/chat/completions", {
    usageEvents: (usage, reason) => [chunk({}, { x_groq: { id: "r", usage } }, reason)],
    error: { id: "c", choices: [], x_groq: { id: "r", error: "over_capacity" } },
  }),
  chat(mistral, "/v1/chat/completions", { usageEvents: inLastChunk }),
  chat(azure, "/openai/deployments/my%20gpt/chat/completions", {
    usageEvents: (usage, reason) => [
      chunk({}, {}, reason),
      data({ choices: [], prompt_filter_results: [{ prompt_index: 0 }], usage: null }),
      data({ choices: [], usage }),
    ],
  }),
  chat(openrouter, "/api/v1/chat/completions", {
    usageEvents: inLastChunk,
    comment: ": OPENROUTER PROCESSING",
    error: {
      id: "c",
      error: { code: 502, message: "Provider disconnected" },
      choices: [{ index: 0, delta: { content: "" }, finish_reason: "error" }],
    },
  }),
  chat(generic, "/anything/chat/completions", { usageEvents: inLastChunk }),
  {
    ...chat(openai, "/v1/completions", { usageEvents: inLastChunk }),
    name: "openai completions",
    request: (cap, otherCap) => ({
      model: "m",
      prompt: "hi",
      max_tokens: cap,
      max_completion_tokens: otherCap,
    }),
    wrong: [{ model: 5 }, { max_tokens: "10" }, { prompt: true }, { prompt: [true] }],
    events: (texts, usage, stopped) => [
      ...texts.map((text) => data({ choices: [{ text, index: 0, finish_reason: null }] })),
      data({ choices: [{ text: "", finish_reason: reasonOf(stopped) }], usage: chatUsage(usage) }),
      "[DONE]",
    ],
  },
  {
    ...chat(openai, "/v1/responses", { usageEvents: inLastChunk }),
    name: "openai responses",
    request: (cap, otherCap) => ({
      model: "m",
      input: "hi",
      max_output_tokens: cap,
      max_tokens: otherCap,
    }),
    wrong: [{ model: 5 }, { max_tokens: "10" }, { input: 5 }, { input: [5] }, { tools: {} }],
    answer: responseOf,
    events: (texts, usage, stopped) => [
      data({ type: "response.created", response: { id: "r", error: null, usage: null } }),
      ...texts.map((delta) =>
        data({ type: "response.output_text.delta", item_id: "i", delta, logprobs: [] }),
      ),
      data({ type: "response.output_text.done", text: texts.join("") }),
      data({ type: "response.output_item.done", item: { type: "mcp_call", error: { code: 1 } } }),
      data({
        type: stopped ? "response.incomplete" : "response.completed",
        response: responseOf(usage, stopped),
      }),
    ],
    error: { type: "error", code: "server_error", message: "no", sequence_number: 3 },
  },
  {
    name: "anthropic messages",
    dialect: anthropic,
    path: "/v1/messages",
    model: "m",
    request: (cap, otherCap) => ({
      model: "m",
      messages: [{ role: "user", content: "hi" }],
      max_tokens: cap,
      max_completion_tokens: otherCap,
    }),
    wrong: [
      { model: 5 },
      { max_tokens: "10" },
      { messages: "hi" },
      { messages: [5] },
      { tools: 1 },
    ],
    answer: (usage, stopped) => ({
      type: "message",
      content: [{ type: "text", text: "x" }],
      stop_reason: stopped ? "max_tokens" : "end_turn",
      usage: { ...anthropicInput(usage), output_tokens: usage.output },
    }),
    events: (texts, usage, stopped) => [
      data({
        type: "message_start",
        message: { usage: { ...anthropicInput(usage), output_tokens: Math.min(1, usage.output) } },
      }),
      data({ type: "content_block_start", index: 0, content_block: { type: "text", text: "" } }),
      data({ type: "ping" }),
      ...texts.map((text) =>
        data({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } }),
      ),
      data({ type: "content_block_stop", index: 0 }),
      data({
        type: "message_delta",
        delta: { stop_reason: stopped ? "max_tokens" : "end_turn", stop_sequence: null },
        usage: { output_tokens: usage.output },
      }),
      data({ type: "message_stop" }),
    ],
    error: { type: "error", error: { type: "overloaded_error", message: "Overloaded" } },
    framing: "sse",
  },
  geminiCase,
  { ...geminiCase, name: "gemini without alt=sse", framing: "json" },
];

function responseOf(usage: Usage, stopped: boolean): Body {
  return {
    id: "r",
    object: "response",
    status: stopped ? "incomplete" : "completed",
    incomplete_details: stopped ? { reason: "max_output_tokens" } : null,
    error: null,
    output: [{ content: [{ type: "output_text", text: "x" }] }],
    usage: {
      input_tokens: usage.input,
      output_tokens: usage.output,
      total_tokens: usage.total,
      input_tokens_details: { cached_tokens: usage.cachedInput },
    },
  };
}

/** What is neither read from the cache nor written to it is one token, where there is one. */
function anthropicInput({ input, cachedInput }: Usage): Body {
  const fresh = Math.min(1, input - cachedInput);
  return {
    input_tokens: fresh,
    cache_creation_input_tokens: input - cachedInput - fresh,
    cache_read_input_tokens: cachedInput,
  };
}

/** The bytes of a stream of `events`, as the API sends them. */
export function wire(
  { framing, comment }: DialectCase,
  events: readonly string[],
  lineEnd = "\n",
): string {
  if (framing === "json") return `[${events.join(`,${lineEnd}`)}${lineEnd}]`;
  const before = comment === undefined ? "" : `${comment}${lineEnd}${lineEnd}`;
  return events
    .map((event) => `${before}event: x${lineEnd}data: ${event}${lineEnd}${lineEnd}`)
    .join("");
}
