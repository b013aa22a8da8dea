import { expect, setDefaultTimeout, test } from "bun:test";
import { ask, call } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const usage = { prompt_tokens: 9, completion_tokens: 21, total_tokens: 30 };

function quota(upstream: string): string {
  return `quotas: [{ name: q, domain: api.test, provider: openai, rpm: 100000, tpm: 100000000, upstream: "${upstream}" }]\n`;
}

/** A chat completion that asks for a stream; `name` comes back in every event. */
const chat = (name: string) => ({
  host: "api.test",
  path: `/v1/chat/completions?${name}`,
  method: "POST",
  body: JSON.stringify({
    model: "gpt-4o",
    stream: true,
    messages: [{ role: "user", content: "Hello" }],
  }),
});

const event = (choices: unknown, rest: object = {}): string =>
  `data: ${JSON.stringify({ object: "chat.completion.chunk", choices, ...rest })}\n\n`;
const delta = (content: string): string => event([{ index: 0, delta: { content } }]);
const end = `${event([], { usage })}data: [DONE]\n\n`;

/** Deltas numbered from 0, `everyMs` apart, each with the name of the request. */
function streaming(name: string, count: number, everyMs: number): Response {
  const encoder = new TextEncoder();
  const events = async function* (): AsyncGenerator<Uint8Array> {
    for (let n = 0; n < count; n++) {
      yield encoder.encode(delta(`${name} ${n}`));
      await Bun.sleep(everyMs);
    }
    yield encoder.encode(end);
  };
  return new Response(events(), { headers: { "content-type": "text/event-stream" } });
}

const expected = (name: string, count: number): string =>
  Array.from({ length: count }, (_, n) => delta(`${name} ${n}`)).join("") + end;

const nameIn = (target: string): string => target.split("?")[1] ?? "";

test.each([
  [1_000, 10],
  [256, 50],
])(
  "%d streams at once, %d events a second each: every byte, and every token",
  async (streams, perSecond) => {
    using at = folder();
    const count = perSecond;
    await using upstream = startUpstream((_, { target }) =>
      streaming(nameIn(target), count, 1_000 / perSecond),
    );
    await using proxy = await startProxy(quota(upstream.url), { at });
    const answers = await Promise.all(
      Array.from({ length: streams }, async (_, n) => {
        const answer = await ask(proxy.port, chat(`s${n}`));
        return answer.status === 200 && answer.text() === expected(`s${n}`, count);
      }),
    );
    expect(answers.filter((isWhole) => !isWhole)).toHaveLength(0);
    await until(
      async () => (await proxy.quota("q")).windows.every(({ reserved }) => reserved === 0),
      "all are settled",
    );
    const { windows } = await proxy.quota("q");
    expect(windows.find(({ unit }) => unit === "tokens")?.used).toBe(streams * usage.total_tokens);
  },
);

test("each event passes when it comes, not with the next one", async () => {
  using at = folder();
  const sentAt: number[] = [];
  await using upstream = startUpstream(
    () =>
      new Response(
        (async function* () {
          for (let n = 0; n < 5; n++) {
            sentAt.push(performance.now());
            yield Buffer.from(delta(`${n}`));
            await Bun.sleep(120);
          }
          yield Buffer.from(end);
        })(),
        { headers: { "content-type": "text/event-stream" } },
      ),
  );
  await using proxy = await startProxy(quota(upstream.url), { at });
  const { pieces } = await ask(proxy.port, chat("x"));
  expect(pieces.slice(0, 5).map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(
    sentAt.map((_, n) => delta(`${n}`)),
  );
  for (const [n, time] of sentAt.entries()) {
    expect((pieces[n]?.at ?? Infinity) - time).toBeLessThan(80);
  }
});

test("a stream without usage is counted from what passed", async () => {
  using at = folder();
  const text = "word ".repeat(40);
  await using upstream = startUpstream(
    () =>
      new Response(`${delta(text)}data: [DONE]\n\n`, {
        headers: { "content-type": "text/event-stream" },
      }),
  );
  await using proxy = await startProxy(quota(upstream.url), { at });
  await ask(proxy.port, chat("x"));
  await until(
    async () => (await proxy.quota("q")).windows.every(({ reserved }) => reserved === 0),
    "it is settled",
  );
  const { windows } = await proxy.quota("q");
  // 40 words are 40 tokens or a few more, and the prompt is one word in a frame.
  expect(windows.find(({ unit }) => unit === "tokens")?.used).toBeWithin(45, 75);
});

test("a client that leaves a stream stays charged as reserved, and the upstream's call ends", async () => {
  using at = folder();
  await using upstream = startUpstream((_, { target }) => streaming(nameIn(target), 1_000, 10));
  await using proxy = await startProxy(quota(upstream.url), { at });
  const leaving = call(proxy.port, chat("x"));
  await leaving.firstPiece;
  const tokens = Number((await leaving.head).header("x-cooldown-tokens"));
  leaving.abort();
  await until(() => upstream.seen[0]?.aborted === true, "it is cancelled", 1_000);
  await until(
    async () => (await proxy.quota("q")).windows.every(({ reserved }) => reserved === 0),
    "it is settled",
  );
  const { windows } = await proxy.quota("q");
  expect(windows.find(({ unit }) => unit === "tokens")?.used).toBe(tokens);
});
