/** What one provider's call and its answer look like on the wire, and what its meter makes of it. */
export interface Wire {
  readonly name: string;
  readonly provider: string;
  /** The token limits of its quota, in YAML's flow form. */
  readonly limits: string;
  readonly path: string;
  readonly request: Readonly<Record<string, unknown>>;
  readonly type: string;
  /** The answer piece by piece, as the provider would send it. */
  readonly events: readonly string[];
  /** Headers of the answer beside its type. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What is used of each limit afterwards, by unit. */
  readonly used: Readonly<Record<string, number>>;
}

/** Text of one, two, three and four bytes a character, with what looks like the stream's own syntax. */
const text = 'Grüße, 世界 🎉 — "usage": {"total_tokens": 9} data: [DONE]\n';
const halves = [text.slice(0, 11), text.slice(11)];

const prompt = [{ role: "user", content: "Say hello to the world." }];
const json = "application/json";
const sse = "text/event-stream; charset=utf-8";
const data = (event: unknown): string => `data: ${JSON.stringify(event)}\n\n`;
const named = (type: string, rest: Record<string, unknown>): string =>
  `event: ${type}\n${data({ type, ...rest })}`;

/** 20 read, 12 of them from the cache, and 11 written. */
const usage = {
  prompt_tokens: 20,
  completion_tokens: 11,
  total_tokens: 31,
  prompt_tokens_details: { cached_tokens: 12 },
};
const all = { tokens: 31 };
const uncached = { tokens: 19 };

const chunk = (choices: unknown, rest: Record<string, unknown> = {}): string =>
  data({ id: "c-1", object: "chat.completion.chunk", model: "m", choices, ...rest });
const delta = (content: string): unknown => [{ index: 0, delta: { content }, finish_reason: null }];
const stop = [{ index: 0, delta: {}, finish_reason: "stop" }];
const done = "data: [DONE]\n\n";
const deltas = halves.map((half) => chunk(delta(half)));
const chatAnswer = JSON.stringify({
  id: "c-1",
  choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
  usage,
});
const openAiChat = { path: "/v1/chat/completions", limits: "tpm: 100000" };
const streamed = { model: "m", stream: true, messages: prompt };

/** Chat in OpenAI's format, not streamed and streamed, as one provider ends its streams. */
function chat(
  provider: string,
  used: Wire["used"],
  end: readonly string[],
  rest: Partial<Wire> = {},
): Wire[] {
  const common = { ...openAiChat, provider, used, ...rest };
  return [
    {
      ...common,
      name: `${provider} chat`,
      request: { model: "m", messages: prompt, ...rest.request },
      type: json,
      events: [chatAnswer],
    },
    {
      ...common,
      name: `${provider} chat, streamed`,
      request: { ...streamed, ...rest.request },
      type: sse,
      events: rest.events ?? [...deltas, ...end],
    },
  ];
}

const responseUsage = {
  input_tokens: 20,
  input_tokens_details: { cached_tokens: 12 },
  output_tokens: 11,
  output_tokens_details: { reasoning_tokens: 4 },
  total_tokens: 31,
};
const response = {
  id: "resp_1",
  object: "response",
  status: "completed",
  output: [{ type: "message", role: "assistant", content: [{ type: "output_text", text }] }],
  usage: responseUsage,
};

const openai: Wire[] = [
  ...chat("openai", all, [chunk(stop), chunk([], { usage }), done], {
    request: { stream_options: { include_usage: true } },
  }),
  {
    ...openAiChat,
    name: "openai completions, streamed",
    provider: "openai",
    path: "/v1/completions",
    request: { model: "m", prompt: "Say hello", stream: true },
    type: sse,
    events: [
      ...halves.map((half) => data({ object: "text_completion", choices: [{ text: half }] })),
      data({ choices: [], usage }),
      done,
    ],
    used: all,
  },
  {
    ...openAiChat,
    name: "openai embeddings",
    provider: "openai",
    path: "/v1/embeddings",
    request: { model: "text-embedding-3-small", input: [text, text] },
    type: json,
    events: [
      JSON.stringify({
        data: [{ index: 0, embedding: Array.from({ length: 1_536 }, (_, n) => n / 7) }],
        usage: { prompt_tokens: 31, total_tokens: 31 },
      }),
    ],
    used: all,
  },
  {
    ...openAiChat,
    name: "openai responses",
    provider: "openai",
    path: "/v1/responses",
    request: { model: "m", input: "Say hello" },
    type: json,
    events: [JSON.stringify(response)],
    used: all,
  },
  {
    ...openAiChat,
    name: "openai responses, streamed",
    provider: "openai",
    path: "/v1/responses",
    request: { model: "m", input: "Say hello", stream: true },
    type: sse,
    events: [
      named("response.created", { response: { ...response, status: "in_progress", usage: null } }),
      ...halves.map((half) => named("response.output_text.delta", { delta: half })),
      named("response.output_text.done", { text }),
      named("response.completed", { response }),
    ],
    used: all,
  },
];

const anthropicCall = {
  provider: "anthropic",
  limits: "input_tpm: 100000, output_tpm: 100000",
  path: "/v1/messages",
  request: { model: "claude-sonnet-4-5", max_tokens: 100, messages: prompt },
  // 5 were written to the cache, which counts; 12 were read from it, which does not.
  used: { input_tokens: 8, output_tokens: 11 },
} as const;
const messageUsage = {
  input_tokens: 3,
  cache_creation_input_tokens: 5,
  cache_read_input_tokens: 12,
};
const messageAnswer = JSON.stringify({
  type: "message",
  content: [{ type: "text", text }],
  usage: { ...messageUsage, output_tokens: 11 },
  stop_reason: "end_turn",
});
const anthropic: Wire[] = [
  {
    ...anthropicCall,
    name: "anthropic messages",
    type: json,
    events: [messageAnswer],
  },
  {
    ...anthropicCall,
    name: "anthropic messages, streamed",
    request: { ...anthropicCall.request, stream: true },
    type: sse,
    events: [
      named("message_start", {
        message: { id: "msg_1", usage: { ...messageUsage, output_tokens: 1 } },
      }),
      named("ping", {}),
      ...halves.map((half) =>
        named("content_block_delta", { index: 0, delta: { type: "text_delta", text: half } }),
      ),
      named("message_delta", {
        delta: { stop_reason: "end_turn" },
        usage: { output_tokens: 11 },
      }),
      named("message_stop", {}),
    ],
  },
  {
    ...anthropicCall,
    name: "anthropic messages of a model whose cache reads count",
    request: { ...anthropicCall.request, model: "claude-3-5-haiku-latest" },
    type: json,
    events: [messageAnswer],
    used: { input_tokens: 20, output_tokens: 11 },
  },
  {
    ...anthropicCall,
    name: "anthropic messages, streamed without names of events behind a byte order mark",
    request: { ...anthropicCall.request, stream: true },
    type: "Text/Event-Stream",
    events: [
      `\uFEFF${data({ type: "message_start", message: { usage: { ...messageUsage, output_tokens: 1 } } })}`,
      data({
        type: "message_delta",
        delta: { stop_reason: "end_turn" },
        usage: { output_tokens: 11 },
      }),
      data({ type: "message_stop" }),
    ],
  },
];

const geminiUsage = {
  promptTokenCount: 20,
  cachedContentTokenCount: 12,
  candidatesTokenCount: 7,
  thoughtsTokenCount: 4,
  totalTokenCount: 31,
};
const candidate = (part: string, finishReason?: string): unknown => ({
  candidates: [{ content: { role: "model", parts: [{ text: part }] }, finishReason }],
  usageMetadata:
    finishReason === undefined ? { promptTokenCount: 20, totalTokenCount: 20 } : geminiUsage,
});
const geminiCall = {
  provider: "gemini",
  limits: "tpm: 100000",
  request: { contents: [{ role: "user", parts: [{ text: "Say hello" }] }] },
  // Tokens a minute are those of the input alone.
  used: { tokens: 20 },
} as const;
const [first = "", second = ""] = halves;
const gemini: Wire[] = [
  {
    ...geminiCall,
    name: "gemini generateContent",
    path: "/v1beta/models/gemini-2.5-flash:generateContent",
    type: json,
    events: [JSON.stringify(candidate(text, "STOP"), null, 2)],
  },
  {
    ...geminiCall,
    name: "gemini streamGenerateContent, server-sent events",
    path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    type: sse,
    events: [candidate(first), candidate(second, "STOP")].map((event) =>
      data(event).replaceAll("\n", "\r\n"),
    ),
  },
  {
    ...geminiCall,
    name: "gemini streamGenerateContent, a JSON array",
    path: "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    type: "application/json; charset=UTF-8",
    events: [
      `[${JSON.stringify(candidate(first), null, 2)}`,
      `,\r\n${JSON.stringify(candidate(second, "STOP"), null, 2)}`,
      "]",
    ],
  },
];

/** What every dialect looks like, streamed and not. */
export const wires: readonly Wire[] = [
  ...openai,
  ...anthropic,
  ...gemini,
  ...chat("cerebras", uncached, [chunk(stop, { usage, time_info: { total_time: 0.1 } }), done]),
  ...chat("groq", uncached, [chunk(stop, { x_groq: { id: "req_1", usage } }), done], {
    path: "/openai/v1/chat/completions",
  }),
  ...chat("mistral", all, [chunk(stop, { usage }), done]),
  ...chat("azure", all, [chunk(stop), chunk([], { usage }), done], {
    path: "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21",
    events: [
      data({ choices: [], prompt_filter_results: [{ prompt_index: 0 }] }),
      ...deltas,
      chunk(stop),
      chunk([], { usage }),
      done,
    ],
  }),
  ...chat("openrouter", all, [], {
    path: "/api/v1/chat/completions",
    events: [
      ": OPENROUTER PROCESSING\n\n",
      ": OPENROUTER PROCESSING\n\n",
      ...deltas,
      chunk(stop, { usage }),
      done,
    ],
  }),
  ...chat("generic", all, [chunk(stop, { usage }), done]),
  {
    ...openAiChat,
    name: "generic chat, usage in headers alone",
    provider: "generic",
    request: { model: "m", messages: prompt },
    type: json,
    events: [JSON.stringify({ choices: [{ message: { content: text } }] })],
    headers: { "X-Prompt-Tokens": "20", "X-Generated-Tokens": "11" },
    used: all,
  },
];
