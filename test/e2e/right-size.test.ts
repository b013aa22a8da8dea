import { expect, setDefaultTimeout, test } from "bun:test";
import { call } from "./client.ts";
import { folder, startProxy, until } from "./program.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const cap = 32_000;
const body = JSON.stringify({
  model: "m",
  messages: [{ role: "user", content: "é" }],
  max_tokens: cap,
});
const answer = (output: number): Response =>
  Response.json({
    choices: [{ finish_reason: "stop", message: { content: "ok" } }],
    usage: { prompt_tokens: 10, completion_tokens: output, total_tokens: 10 + output },
  });

test("what waits when enough is known goes with the lowered cap", async () => {
  using at = folder();
  const caps: number[] = [];
  const held: (() => void)[] = [];
  let holding = false;
  await using upstream = startUpstream(async (request) => {
    const sent = (await request.json()) as { max_tokens: number };
    caps.push(sent.max_tokens);
    if (!holding) return answer(100);
    const { promise, resolve } = Promise.withResolvers<Response>();
    held.push(() => resolve(answer(100)));
    return promise;
  });
  await using proxy = await startProxy(
    `quotas: [{ name: q, domain: q.test, provider: cerebras, tpm: 100000, right_size_max_tokens: true, upstream: "${upstream.url}" }]\n`,
    { at },
  );
  const post = (name: string) =>
    call(proxy.port, {
      host: "q.test",
      method: "POST",
      path: `/v1/chat/completions?${name}`,
      body,
    });
  for (let n = 0; n < 49; n++) await post("warm").answer;
  expect(new Set(caps)).toEqual(new Set([cap]));

  // Two hold 64,000 tokens: no third of 32,000 fits beside them and what was used.
  holding = true;
  const first = [post("a"), post("b")];
  await until(() => held.length === 2, "two are on their way");
  const names = Array.from({ length: 8 }, (_, n) => `w${n}`);
  const waiting = [];
  for (const name of names) {
    waiting.push(post(name));
    await until(
      async () => (await proxy.quota("q")).queue_depth === waiting.length,
      `${name} waits`,
    );
  }
  held.shift()?.();
  await until(() => held.length === 9, "all go beside the one that is still held");
  const after = upstream.seen.slice(51).map(({ target }) => target.split("?")[1]);
  expect(new Set(after)).toEqual(new Set(names));
  const sent = caps.slice(51);
  expect(sent).toHaveLength(8);
  for (const lowered of sent) expect(lowered).toBeWithin(cap / 10, cap / 2);
  expect(new Set(sent).size).toBe(1);

  for (const release of held) release();
  for (const { answer: whole } of [...first, ...waiting]) expect((await whole).status).toBe(200);
  const { windows } = await proxy.quota("q");
  expect(windows[0]).toMatchObject({ used: 59 * 110, reserved: 0 });
});
