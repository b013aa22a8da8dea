import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Answer } from "./client.ts";
import { ask, call } from "./client.ts";
import type { Folder, Proxy } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Seen, Upstream } from "./upstream.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

/** How late a held request may come, ms. */
const tolerance = 50;

/** What an upstream answers, made at the moment when it answers. */
type Refusing = () => Response;

interface Hold {
  readonly name: string;
  readonly provider: string;
  /** The wait that it asks for, ms; a function where only the moment tells. */
  readonly waitMs: number | ((at: number) => number);
  readonly refuse: Refusing;
  readonly limits?: string;
}

const refusal = (headers: Record<string, string>, body: unknown = {}, status = 429): Refusing => {
  return () => Response.json(body, { status, headers });
};
const openAiError = (message: string, code = "rate_limit_exceeded"): unknown => ({
  error: { message, type: "requests", param: null, code },
});
/** The first whole second at least 1.2 s from `at`, ms since the epoch. */
const wholeSecond = (at: number): number => Math.ceil((at + 1_200) / 1_000) * 1_000;
const untilWhole = (at: number): number => wholeSecond(at) - at;
const limited = "rpm: 1000, tpm: 1000000";

const holds: readonly Hold[] = [
  {
    name: "Retry-After in seconds",
    provider: "generic",
    waitMs: 2_000,
    refuse: refusal({ "Retry-After": "2" }),
  },
  {
    name: "retry-after-ms before Retry-After",
    provider: "openai",
    waitMs: 1_500,
    refuse: refusal({ "retry-after-ms": "1500", "Retry-After": "3" }),
  },
  {
    name: "Retry-After as an HTTP-date",
    provider: "generic",
    waitMs: untilWhole,
    refuse: () =>
      new Response("slow down", {
        status: 429,
        headers: { "Retry-After": new Date(wholeSecond(Date.now())).toUTCString() },
      }),
  },
  {
    name: "OpenAI's reset headers alone",
    provider: "openai",
    waitMs: 1_200,
    refuse: refusal(
      {
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1.2s",
        "x-ratelimit-limit-tokens": "1000000",
        "x-ratelimit-remaining-tokens": "999000",
        "x-ratelimit-reset-tokens": "6ms",
      },
      openAiError("Rate limit reached for requests"),
    ),
  },
  {
    name: "Anthropic's reset headers alone",
    provider: "anthropic",
    limits: "rpm: 1000, input_tpm: 1000000",
    waitMs: untilWhole,
    refuse: () =>
      Response.json(
        { type: "error", error: { type: "rate_limit_error", message: "Number of request tokens" } },
        {
          status: 429,
          headers: {
            "anthropic-ratelimit-requests-limit": "1000",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": new Date(wholeSecond(Date.now())).toISOString(),
          },
        },
      ),
  },
  {
    name: "Groq's reset headers alone",
    provider: "groq",
    waitMs: 1_250,
    refuse: refusal({
      "x-ratelimit-limit-tokens": "1000000",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "1.25s",
    }),
  },
  {
    name: "Cerebras's reset headers alone",
    provider: "cerebras",
    waitMs: 1_337,
    refuse: refusal({
      "x-ratelimit-limit-tokens-minute": "1000000",
      "x-ratelimit-remaining-tokens-minute": "0",
      "x-ratelimit-reset-tokens-minute": "1.337",
    }),
  },
  {
    name: "Azure's reset headers alone",
    provider: "azure",
    limits: "tpm: 1000000",
    waitMs: 1_000,
    refuse: refusal({
      "x-ratelimit-limit-tokens": "1000000",
      "x-ratelimit-remaining-tokens": "0",
      "x-ratelimit-reset-tokens": "1",
    }),
  },
  {
    name: "OpenRouter's reset header alone",
    provider: "openrouter",
    waitMs: 1_100,
    refuse: () =>
      Response.json(openAiError("Rate limit exceeded"), {
        status: 429,
        headers: {
          "X-RateLimit-Limit": "1000",
          "X-RateLimit-Remaining": "0",
          "X-RateLimit-Reset": String(Date.now() + 1_100),
        },
      }),
  },
  {
    name: "GitHub's reset header alone, with a 403",
    provider: "github",
    limits: "rph: 5000",
    waitMs: untilWhole,
    refuse: () =>
      Response.json(
        { message: "API rate limit exceeded" },
        {
          status: 403,
          headers: {
            "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": String(wholeSecond(Date.now()) / 1_000),
            "X-RateLimit-Resource": "core",
          },
        },
      ),
  },
  {
    name: "OpenAI's text alone",
    provider: "openai",
    waitMs: 1_200,
    refuse: refusal(
      {},
      openAiError(
        "Rate limit reached for m in organization o on tokens per min (TPM): Limit 1000000, Used 999999, Requested 300. Please try again in 1.2s.",
      ),
    ),
  },
  {
    name: "Gemini's retryDelay",
    provider: "gemini",
    limits: "rpm: 1000",
    waitMs: 1_300,
    refuse: refusal(
      {},
      {
        error: {
          code: 429,
          status: "RESOURCE_EXHAUSTED",
          message: "You exceeded your current quota.",
          details: [{ "@type": "type.googleapis.com/google.rpc.RetryInfo", retryDelay: "1.3s" }],
        },
      },
    ),
  },
  {
    name: "Mistral's Retry-After, compressed body",
    provider: "mistral",
    waitMs: 1_000,
    refuse: () =>
      new Response(Bun.gzipSync(JSON.stringify({ message: "Requests rate limit exceeded" })), {
        status: 429,
        headers: { "Retry-After": "1", "Content-Encoding": "gzip" },
      }),
  },
];

/** What the next requests of a domain get, each in its turn; then 200. */
const scripts = new Map<string, Refusing[]>();
const answeredAt = new Map<Seen, number>();
/** The same by the wall clock, ms since the epoch: a moment later the next whole second may be another. */
const wallAt = new Map<Seen, number>();

describe("an upstream that turns requests away", () => {
  let at: Folder;
  let upstream: Upstream;
  let proxy: Proxy;

  /** What the upstream was asked for on a domain: the last parts of the targets. */
  const seenOf = (domain: string): Seen[] =>
    upstream.seen.filter(({ target }) => target.startsWith(`/${domain}/`));
  const names = (domain: string): string[] =>
    seenOf(domain).map(({ target }) => target.split("/")[2] ?? "");
  const post = (domain: string, name: string, headers: Record<string, string> = {}) =>
    call(proxy.port, { host: domain, path: `/${name}`, method: "POST", headers, body: "{}" });

  beforeAll(async () => {
    at = folder();
    upstream = startUpstream((_, seen) => {
      const [, domain = ""] = seen.target.split("/");
      const refuse = scripts.get(domain)?.shift();
      answeredAt.set(seen, performance.now());
      wallAt.set(seen, Date.now());
      return refuse?.() ?? new Response("ok");
    });
    const row = (domain: string, provider: string, limits: string): string =>
      `  - { name: ${domain}, domain: ${domain}, provider: ${provider}, ${limits}, upstream: "${upstream.url}/${domain}" }`;
    const more = [
      "doubling",
      "named",
      "nought",
      "endless",
      "hopeless",
      "unpaid",
      "leaving",
      "overload",
      "again",
      "mixed",
    ];
    proxy = await startProxy(
      `quotas:
${holds.map(({ provider, limits = limited }, n) => row(`hold${n}.test`, provider, limits)).join("\n")}
${more.map((name) => row(`${name}.test`, "openai", limited)).join("\n")}
rate_limits:
  - { domain: large.test, requests_per_second: 1000, burst: 100, upstream: "${upstream.url}/large.test" }
`,
      { at },
    );
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
    at[Symbol.dispose]();
  });

  describe("holds the quota exactly as long as it says, and what it turned away goes first", () => {
    test.concurrent.each(holds.map((hold, n) => [hold.name, hold, n] as const))(
      "%s",
      async (_, { waitMs, refuse }, n) => {
        const domain = `hold${n}.test`;
        // Compiled, connected and read before anything is timed.
        await post(domain, "warm").answer;
        scripts.set(domain, [refuse]);
        const first = post(domain, "first");
        await until(() => seenOf(domain).length === 2, "the first is turned away");
        await until(async () => (await proxy.quota(domain)).queue_depth === 1, "it waits");
        const others = ["second", "third"].map((name) => post(domain, name));
        const answers = await Promise.all([first, ...others].map(({ answer }) => answer));
        expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
        expect(names(domain)).toEqual(["warm", "first", "first", "second", "third"]);
        const [, turnedAway, again] = seenOf(domain) as [Seen, Seen, Seen];
        const asked = typeof waitMs === "number" ? waitMs : waitMs(wallAt.get(turnedAway) ?? 0);
        const waited = again.at - (answeredAt.get(turnedAway) ?? 0);
        // Dates were made and read some milliseconds apart.
        expect(waited).toBeGreaterThanOrEqual(asked - (typeof waitMs === "number" ? 1 : 5));
        expect(waited).toBeLessThanOrEqual(asked + tolerance);
        expect(answers[0]?.header("x-cooldown-wait")).toMatch(/^(0\.9|[12]\.\d)\d\d$/);
      },
    );
  });

  test.each([
    ["doubling.test", {}, {}],
    ["named.test", {}, openAiError("Slow down")],
    ["nought.test", { "Retry-After": "0" }, openAiError("Slow down")],
  ])(
    "without a word on how long: a second, then twice as long, jittered (%s)",
    async (...given) => {
      const [domain, headers, body] = given;
      scripts.set(domain, [refusal(headers, body), refusal(headers, body)]);
      expect((await post(domain, "a").answer).status).toBe(200);
      const [first, second, third] = seenOf(domain) as [Seen, Seen, Seen];
      expect(second.at - first.at).toBeWithin(750, 1_250 + tolerance);
      expect(third.at - second.at).toBeWithin(1_500, 2_500 + tolerance);
      // It was served: the next time begins anew.
      scripts.set(domain, [refusal({})]);
      expect((await post(domain, "b").answer).status).toBe(200);
      const [fourth, fifth] = seenOf(domain).slice(3) as [Seen, Seen];
      expect(fifth.at - fourth.at).toBeWithin(750, 1_250 + tolerance);
    },
  );

  test.each([
    ["30", "30", null],
    ["90", "90", "false"],
    [null, "20", null],
  ])(
    "a wait of Retry-After %p that is too long: the upstream's own answer",
    async (header, expected, shouldRetry) => {
      const domain = "hopeless.test";
      const body = openAiError("Too much. Please try again in 20s.");
      scripts.set(domain, [refusal(header === null ? {} : { "Retry-After": header }, body)]);
      await using own = await startProxy(
        `quotas: [{ name: q, domain: q.test, provider: openai, rpm: 100, upstream: "${upstream.url}/${domain}" }]\n`,
        { at: folder() },
      );
      const start = performance.now();
      const answer = await ask(own.port, {
        host: "q.test",
        path: `/${header}`,
        method: "POST",
        headers: { "X-Cooldown-Timeout": "5s" },
        body: "{}",
      });
      expect(performance.now() - start).toBeLessThan(500);
      expect(answer.status).toBe(429);
      expect(answer.json()).toEqual(body);
      expect(answer.header("x-cooldown-error")).toBeNull();
      expect(answer.header("retry-after")).toBe(expected);
      expect(answer.header("x-should-retry")).toBe(shouldRetry);
    },
  );

  test("insufficient_quota is passed on at once, unchanged, and holds nothing", async () => {
    const domain = "unpaid.test";
    const body = openAiError("You exceeded your current quota.", "insufficient_quota");
    scripts.set(domain, [refusal({ "X-Of": "upstream" }, body)]);
    const answer = await post(domain, "a").answer;
    expect([answer.status, answer.json()]).toEqual([429, body]);
    expect(answer.header("x-of")).toBe("upstream");
    expect(answer.header("retry-after")).toBeNull();
    const next = await post(domain, "b").answer;
    expect([next.status, next.header("x-cooldown-wait")]).toEqual([200, "0.000"]);
    expect(names(domain)).toEqual(["a", "b"]);
  });

  test.each(["with its length", "in chunks"])(
    "a body of 100 KB that was streamed %s is not sent again",
    async (how) => {
      const domain = "large.test";
      const before = seenOf(domain).length;
      scripts.set(domain, [refusal({ "Retry-After": "0.3" }, { of: "upstream" })]);
      const bytes = new Uint8Array(100_000);
      const body = how === "in chunks" ? pieces(bytes) : bytes;
      const answer = await ask(proxy.port, { host: domain, path: "/a", method: "POST", body });
      expect([answer.status, answer.json()]).toEqual([429, { of: "upstream" }]);
      expect(seenOf(domain).length).toBe(before + 1);
      // The hold is the others' all the same.
      const next = await ask(proxy.port, { host: domain, path: "/b", method: "POST", body: "{}" });
      expect(next.status).toBe(200);
      expect((seenOf(domain).at(-1)?.at ?? 0) - (answer.headAt ?? 0)).toBeGreaterThan(200);
    },
  );

  test("what was turned away goes first and in time where the 429's body does not end", async () => {
    const domain = "endless.test";
    scripts.set(domain, [
      () => {
        const body = new ReadableStream<Uint8Array>({
          start: (controller) => controller.enqueue(new TextEncoder().encode("{")),
        });
        return new Response(body, { status: 429, headers: { "Retry-After": "1" } });
      },
    ]);
    const first = post(domain, "first");
    await until(() => seenOf(domain).length === 1, "the first is turned away");
    const second = post(domain, "second");
    for (const { answer } of [first, second]) expect((await answer).status).toBe(200);
    expect(names(domain)).toEqual(["first", "first", "second"]);
    const [turnedAway, again] = seenOf(domain) as [Seen, Seen];
    const waited = again.at - (answeredAt.get(turnedAway) ?? 0);
    expect(waited).toBeWithin(999, 1_000 + tolerance);
  });

  test("a client that leaves during the hold frees its place", async () => {
    const domain = "leaving.test";
    scripts.set(domain, [refusal({ "Retry-After": "2" })]);
    const leaving = post(domain, "leaving");
    await until(async () => (await proxy.quota(domain)).queue_depth === 1, "it waits again");
    const staying = post(domain, "staying");
    await until(async () => (await proxy.quota(domain)).queue_depth === 2, "both wait");
    leaving.abort();
    await until(async () => (await proxy.quota(domain)).queue_depth === 1, "one is gone", 500);
    expect((await staying.answer).status).toBe(200);
    expect(names(domain)).toEqual(["leaving", "staying"]);
    const { windows } = await proxy.quota(domain);
    expect(windows.every(({ reserved }) => reserved === 0)).toBe(true);
  });

  test.each([503, 529])("an overload of %d is tried three times in all", async (status) => {
    const domain = "overload.test";
    const before = seenOf(domain).length;
    const body = { error: { type: "overloaded_error", message: "Overloaded" } };
    scripts.set(
      domain,
      Array.from({ length: 3 }, () => refusal({}, body, status)),
    );
    const answer = await post(domain, `${status}`).answer;
    expect([answer.status, answer.json()]).toEqual([status, body]);
    expect(seenOf(domain).length).toBe(before + 3);
    // At most a second before the second try, and two before the third.
    const [first, second, third] = seenOf(domain).slice(before) as [Seen, Seen, Seen];
    expect(second.at - first.at).toBeLessThan(1_000 + tolerance);
    expect(third.at - second.at).toBeLessThan(2_000 + tolerance);
  });

  test("an overload that passes is not seen by the client", async () => {
    const domain = "again.test";
    scripts.set(domain, [refusal({}, {}, 503), refusal({}, {}, 529)]);
    const answer = await post(domain, "a").answer;
    expect([answer.status, answer.text()]).toEqual([200, "ok"]);
    expect(names(domain)).toEqual(["a", "a", "a"]);
    // What the upstream took for its refusals was no wait of ours, and hardly any time.
    const [first, second, third] = seenOf(domain) as [Seen, Seen, Seen];
    const pauses =
      second.at - (answeredAt.get(first) ?? 0) + third.at - (answeredAt.get(second) ?? 0);
    const told = 1_000 * Number(answer.header("x-cooldown-wait"));
    expect(told).toBeWithin(pauses - tolerance, pauses + 1);
    const metrics = (await ask(proxy.port, { path: "/metrics" })).text();
    expect(metrics).toMatch(/cooldown_queue_wait_seconds_count\{quota="again\.test"\} 1/);
  });

  test("many that were in flight together wait together, and go in their order", async () => {
    const domain = "mixed.test";
    const count = 8;
    scripts.set(
      domain,
      Array.from({ length: count }, () => refusal({ "Retry-After": "1" })),
    );
    const first = Array.from({ length: count }, (_, n) => post(domain, `a${n}`));
    await until(
      async () => (await proxy.quota(domain)).queue_depth === count,
      "all are turned away and wait again",
    );
    const late = post(domain, "late");
    const answers: Answer[] = await Promise.all([...first, late].map(({ answer }) => answer));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    const turnedAway = seenOf(domain).slice(0, count);
    const after = seenOf(domain).slice(count);
    const holdEnd = Math.max(...turnedAway.map((seen) => answeredAt.get(seen) ?? 0)) + 1_000;
    expect(Math.min(...after.map(({ at: time }) => time))).toBeGreaterThanOrEqual(holdEnd - 20);
    expect(after.at(-1)?.target).toBe(`/${domain}/late`);
  });
});

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
}
