import { expect, setDefaultTimeout, test } from "bun:test";
import { ask } from "./client.ts";
import type { Ask } from "./client.ts";
import { folder, startProgram, startProxy } from "./program.ts";
import { gate, startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

function chat(model: string): Ask {
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }] });
  return { path: "/v1/chat/completions", method: "POST", body };
}

test("RATE_LIMIT and CACHE_TTL alone make a proxy of /v1/* with no other limit", async () => {
  using at = folder();
  await using upstream = startUpstream(() => Response.json({ choices: [] }));
  const env = {
    PORT: "0",
    RATE_LIMIT: "60",
    CACHE_TTL: "5m",
    MAX_CACHE_SIZE: "1",
    OPENAI_API_URL: upstream.url,
  };
  await using program = startProgram(["--store", at.file("cooldown.db")], { env, cwd: at.path });
  const [, text] = await program.said(/listens on https?:\/\/\S+:(\d+)\n/);
  const port = Number(text);
  // Fifty at once: no bucket of one request a second is in the way.
  const startedAt = performance.now();
  const models = Array.from({ length: 50 }, (_, n) => ask(port, chat(`model-${n}`)));
  for (const answer of await Promise.all(models)) expect(answer.status).toBe(200);
  expect(performance.now() - startedAt).toBeLessThan(5_000);
  const again = await ask(port, chat("model-7"));
  expect(again.header("x-cache")).toBe("HIT");
  expect(again.header("x-proxy")).toMatch(/^cooldown\//);
  const stats = (await ask(port, { path: "/stats" })).json();
  expect(stats).toMatchObject({
    rate_limit: 60,
    openai_url: upstream.url,
    cache: { ttl: 300, hits: 1, item_count: 50 },
  });
  const codes = await Promise.all(Array.from({ length: 15 }, () => ask(port, chat("model-7"))));
  expect(codes.filter(({ status }) => status === 429).length).toBeWithin(4, 8);
});

test("MAX_CACHE_SIZE bounds what is kept", async () => {
  using at = folder();
  await using upstream = startUpstream(() => new Response("x".repeat(50_000)));
  const env = { CACHE_TTL: "1h", MAX_CACHE_SIZE: "0.5", OPENAI_API_URL: upstream.url };
  await using proxy = await startProxy("", { at, env });
  for (let n = 0; n < 30; n++) await ask(proxy.port, { path: `/v1/files?n=${n}` });
  const { cache } = (await ask(proxy.port, { path: "/stats" })).json();
  expect(cache.size_bytes).toBeWithin(300_000, 0.5 * 1024 * 1024 + 1);
  expect(cache.item_count).toBeWithin(5, 11);
  expect((await ask(proxy.port, { path: "/v1/files?n=29" })).header("x-cache")).toBe("HIT");
  expect((await ask(proxy.port, { path: "/v1/files?n=0" })).header("x-cache")).toBe("MISS");
});

test("REQUEST_TIMEOUT is how long an upstream may take to answer", async () => {
  using at = folder();
  const { answer } = gate();
  await using upstream = startUpstream(answer);
  const env = { REQUEST_TIMEOUT: "300ms", OPENAI_API_URL: upstream.url };
  await using proxy = await startProxy("", { at, env });
  const late = await ask(proxy.port, chat("m"));
  expect([late.status, late.json().error.code]).toEqual([504, "UPSTREAM_TIMEOUT"]);
});

test("models: the first pattern that fits says where /v1/* goes, before default_upstream", async () => {
  using at = folder();
  const named = (name: string): ReturnType<typeof startUpstream> =>
    startUpstream(() => Response.json(name));
  await using llama = named("llama");
  await using large = named("large");
  await using other = named("other");
  const yaml = `
models:
  - { match: "llama-4*", upstream: "${large.url}/deep" }
  - { match: "llama*", upstream: "${llama.url}" }
`;
  await using proxy = await startProxy(yaml, { at, env: { OPENAI_API_URL: other.url } });
  const goesTo = async (what: Ask): Promise<unknown> => (await ask(proxy.port, what)).json();
  expect(await goesTo(chat("llama-4-scout"))).toBe("large");
  expect(large.seen[0]?.target).toBe("/deep/v1/chat/completions");
  expect(await goesTo(chat("llama3.1-8b"))).toBe("llama");
  expect(await goesTo(chat("gpt-4o"))).toBe("other");
  expect(await goesTo({ path: "/v1/models" })).toBe("other");
  expect(await goesTo({ path: "/v1/chat/completions", method: "POST", body: "no JSON" })).toBe(
    "other",
  );
});
