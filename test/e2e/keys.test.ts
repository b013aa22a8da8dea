import { expect, setDefaultTimeout, test } from "bun:test";
import type { Ask } from "./client.ts";
import { ask } from "./client.ts";
import type { Proxy } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Seen, Upstream } from "./upstream.ts";
import { gate, startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const env = { KEY_A: "sk-first-of-two", KEY_B: "sk-second-of-two" };
const both = [env.KEY_A, env.KEY_B];

function quota(upstream: string, rest: string, provider = "openai"): string {
  return `server: { log_level: debug }
quotas: [{ name: q, domain: api.test, provider: ${provider}, ${rest}, upstream: "${upstream}", api_keys: ["\${KEY_A}", "\${KEY_B}"] }]
`;
}

const post: Ask = {
  host: "api.test",
  path: "/x",
  method: "POST",
  headers: { Authorization: "Bearer sk-of-the-client", "X-Api-Key": "sk-of-the-client" },
  body: "{}",
};

/** The keys that an upstream got, in the order of their arrival. */
const keys = (seen: readonly Seen[]): string[] =>
  seen.map(({ headers }) => headers.get("authorization")?.replace("Bearer ", "") ?? "none");

test("two keys of 30 a minute serve 60 in the first second, evenly", async () => {
  using at = folder();
  await using upstream = startUpstream();
  await using proxy = await startProxy(quota(upstream.url, "rpm: 30"), { at, env });
  const start = performance.now();
  const answers = await Promise.all(Array.from({ length: 60 }, () => ask(proxy.port, post)));
  expect(performance.now() - start).toBeLessThan(1_000);
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(60);
  const used = keys(upstream.seen);
  for (const key of both) expect(used.filter((one) => one === key)).toHaveLength(30);
  // Evenly from the beginning, not one after the other.
  const early = used.slice(0, 20).filter((one) => one === env.KEY_A).length;
  expect(early).toBeWithin(8, 13);
  const late = await ask(proxy.port, {
    ...post,
    headers: { "X-Cooldown-Timeout": "5s" },
  });
  expect([late.status, late.header("x-cooldown-error")]).toEqual([429, "QUEUE_TIMEOUT"]);
  expect(Number(late.header("retry-after"))).toBeWithin(55, 62);
  expect(upstream.seen).toHaveLength(60);
});

test("of two keys, the one that can start sooner is taken", async () => {
  using at = folder();
  const { answer, held, open } = gate();
  await using upstream = startUpstream(answer);
  await using proxy = await startProxy(quota(upstream.url, "max_concurrency: 1"), { at, env });
  const asked = [ask(proxy.port, post), ask(proxy.port, post)];
  await until(() => held.length === 2, "each key has one under way");
  expect(keys(upstream.seen).toSorted()).toEqual(both);
  // Whose ends first serves the third.
  asked.push(ask(proxy.port, post));
  held[1]?.release();
  await until(() => held.length === 3, "the third goes");
  const [, second, third] = keys(upstream.seen);
  expect(third).toBe(second);
  open();
  for (const one of asked) expect((await one).status).toBe(200);
});

/** An upstream that answers the first key with `body`, and the other with 200. */
function refusingKeyA(body: unknown, status: number): Upstream {
  return startUpstream((request) =>
    request.headers.get("authorization") === `Bearer ${env.KEY_A}`
      ? Response.json(body, { status })
      : new Response("ok"),
  );
}

async function allGoThrough({ port }: Proxy, count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    const answer = await ask(port, post);
    expect([n, answer.status]).toEqual([n, 200]);
  }
}

test.each([401, 403])(
  "a key that gets a %d is left alone, and its request succeeds on the other",
  async (status) => {
    using at = folder();
    const refused = { error: { message: `Incorrect API key provided: ${env.KEY_A}` } };
    await using upstream = refusingKeyA(refused, status);
    await using proxy = await startProxy(quota(upstream.url, "rpm: 1000"), { at, env });
    await allGoThrough(proxy, 10);
    // Once, at most: from then on it is not tried.
    expect(keys(upstream.seen).filter((key) => key === env.KEY_A)).toHaveLength(1);
    expect(keys(upstream.seen)).toHaveLength(11);
    await proxy.said(/does not accept a key/);
  },
);

const message = "You exceeded your current quota, please check your plan and billing details.";
const code = "insufficient_quota";
const unpaid = [
  { status: 429, body: { error: { message, type: code, code } } },
  { status: 429, body: { error: { message: "Refused", code: "enforced_spend_limit_reached" } } },
  { status: 402, body: { error: { message: "Insufficient credits", code: 402 } } },
];

test.each(unpaid)("a key without credit is left alone as well: $status, $body", async (given) => {
  using at = folder();
  const { status, body } = given;
  await using upstream = refusingKeyA(body, status);
  await using proxy = await startProxy(quota(upstream.url, "rpm: 1000"), { at, env });
  await allGoThrough(proxy, 10);
  expect(keys(upstream.seen).filter((key) => key === env.KEY_A)).toHaveLength(1);
  await proxy.said(/has no credit.*left alone for 10 minutes/);
});

test.each(unpaid)(
  "where no key has credit the client is told what the upstream says: $status",
  async (given) => {
    using at = folder();
    const { status, body } = given;
    await using upstream = startUpstream(() => Response.json(body, { status }));
    await using proxy = await startProxy(quota(upstream.url, "rpm: 1000"), { at, env });
    for (let n = 0; n < 3; n++) {
      const answer = await ask(proxy.port, post);
      expect([answer.status, answer.json()]).toEqual([status, body]);
    }
    expect(upstream.seen).toHaveLength(4);
  },
);

test("where no key is accepted the client is told so, and not what the upstream says of the keys", async () => {
  using at = folder();
  await using upstream = startUpstream(() =>
    Response.json({ error: "Incorrect API key provided" }, { status: 401 }),
  );
  await using proxy = await startProxy(quota(upstream.url, "rpm: 1000"), { at, env });
  for (let n = 0; n < 2; n++) {
    const answer = await ask(proxy.port, post);
    expect(answer.status).toBe(401);
    expect(answer.json()).toMatchObject({ error: { code: "UNAUTHORIZED" } });
    expect(JSON.stringify(answer.json())).not.toContain("Incorrect");
  }
});

test("a key that is turned away does not hold the other", async () => {
  using at = folder();
  let isFirst = true;
  await using upstream = startUpstream(() => {
    if (!isFirst) return new Response("ok");
    isFirst = false;
    return Response.json({}, { status: 429, headers: { "Retry-After": "5" } });
  });
  await using proxy = await startProxy(quota(upstream.url, "rpm: 1000"), { at, env });
  const start = performance.now();
  for (let n = 0; n < 4; n++) expect((await ask(proxy.port, post)).status).toBe(200);
  expect(performance.now() - start).toBeLessThan(1_000);
  const [turnedAway, ...others] = keys(upstream.seen);
  expect(others).toHaveLength(4);
  expect(others).not.toContain(turnedAway);
});

test.each([
  ["openai", "authorization", "Bearer "],
  ["anthropic", "x-api-key", ""],
  ["azure", "api-key", ""],
  ["gemini", "x-goog-api-key", ""],
])(
  "%s: the client's own key goes nowhere, and ours only upstream",
  async (provider, header, prefix) => {
    using at = folder();
    await using upstream = startUpstream();
    await using proxy = await startProxy(quota(upstream.url, "rpm: 1000", provider), { at, env });
    const names = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];
    const headers = Object.fromEntries(names.map((name) => [name, "Bearer sk-of-the-client"]));
    const answer = await ask(proxy.port, { ...post, headers });
    expect(answer.status).toBe(200);
    const sent = Object.fromEntries(upstream.seen[0]?.headers ?? []);
    expect(JSON.stringify(sent)).not.toContain("sk-of-the-client");
    expect(both.map((key) => prefix + key)).toContain(sent[header] ?? "");
    for (const name of names) if (name !== header) expect(sent).not.toHaveProperty(name);

    const shown = await Promise.all(
      ["/stats", "/metrics"].map(async (path) => (await ask(proxy.port, { path })).text()),
    );
    await proxy.said(/"message":"request"/);
    const everything = [proxy.out, proxy.err, ...shown, JSON.stringify(answer.headers)].join("\n");
    for (const key of [...both, "sk-of-the-client"]) expect(everything).not.toContain(key);
  },
);
