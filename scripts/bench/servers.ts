/**
 * The servers beside Cooldown: `bun scripts/bench/servers.ts upstream` answers at once with fixed bytes,
 * `… bare-proxy URL` passes requests on and does nothing else. Each prints its URL.
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
const server = role === "upstream" ? upstream() : bareProxy(base);
console.log(`${server.url.origin} `);
