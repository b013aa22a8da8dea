/**
 * The servers beside Cooldown: `bun scripts/bench/servers.ts upstream` answers at once with fixed bytes, `… stream`
 * with server-sent events, `… bare-proxy URL` passes requests on and does nothing else. Each prints its URL.
 */
const completion = {
  id: "chatcmpl-0",
  object: "chat.completion",
  created: 1_700_000_000,
  model: "gpt-4o",
  choices: [{ index: 0, message: { role: "assistant", content: "Fine." }, finish_reason: "stop" }],
  usage: { prompt_tokens: 220, completion_tokens: 3, total_tokens: 223 },
};
const page = "The quota has room for one more request, and then for another one. ".repeat(4);

/** Answers a GET with a short text and anything else with a chat completion. */
function upstream(): Bun.Server<undefined> {
  const json = JSON.stringify(completion);
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      if (request.method === "GET") {
        return new Response(page, { headers: { "content-type": "text/plain" } });
      }
      await request.arrayBuffer();
      return new Response(json, { headers: { "content-type": "application/json" } });
    },
  });
}

/**
 * Answers with a streamed chat completion of so many events at so many milliseconds from each other, as the query says
 * (`?events=10&every=100`). Each event has the time at which it was made, ms since the epoch, as its `created`.
 */
function streams(): Bun.Server<undefined> {
  const encoder = new TextEncoder();
  const event = (choices: unknown, usage: unknown = null, more = ""): Uint8Array => {
    const created = performance.timeOrigin + performance.now();
    const rest = { object: "chat.completion.chunk", created, model: "gpt-4o", choices, usage };
    return encoder.encode(`data: ${JSON.stringify({ id: "chatcmpl-0", ...rest })}\n\n${more}`);
  };
  const { usage } = completion;
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    async fetch(request) {
      const query = new URL(request.url).searchParams;
      const every = Number(query.get("every"));
      let left = Number(query.get("events"));
      let isGone = false;
      await request.arrayBuffer();
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          const next = (): void => {
            if (isGone) return;
            left--;
            controller.enqueue(event([{ index: 0, delta: { content: " more" } }]));
            if (left > 0) return void setTimeout(next, every);
            controller.enqueue(event([], usage, "data: [DONE]\n\n"));
            controller.close();
          };
          // Not all in step: clients come and are answered at any time.
          setTimeout(next, Math.random() * every);
        },
        cancel: () => void (isGone = true),
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    },
  });
}

/** Fetch in, fetch out: the least that a proxy on this runtime can cost. */
function bareProxy(base: string): Bun.Server<undefined> {
  return Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { url, method, headers, body } = request;
      const path = url.slice(url.indexOf("/", 8));
      return fetch(base + path, {
        method,
        headers,
        body,
        decompress: false,
        redirect: "manual",
      });
    },
  });
}

const [role, base = ""] = process.argv.slice(2);
const server = role === "upstream" ? upstream() : role === "stream" ? streams() : bareProxy(base);
console.log(`${server.url.origin} `);
