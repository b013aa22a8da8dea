import Anthropic from "@anthropic-ai/sdk";
import { Cerebras } from "@cerebras/cerebras_cloud_sdk";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import Groq from "groq-sdk";
import OpenAI from "openai";
import type { Mock } from "../../src/mock/server.ts";
import { startMock } from "../../src/mock/server.ts";
import { ask } from "./client.ts";
import type { Folder, Proxy, Quota } from "./program.ts";
import { folder, startProxy, until } from "./program.ts";
import type { Upstream } from "./upstream.ts";
import { startUpstream } from "./upstream.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

const messages = [{ role: "user" as const, content: "Say hello to the world." }];
/** What SDKs ask for when an error is looked for: one message, whatever the provider. */
type Send = (base: string, apiKey?: string) => Promise<unknown>;

/** A class of errors of an SDK's own. */
// oxlint-disable-next-line typescript/no-explicit-any -- constructors differ, and none is called
type Kind = abstract new (...args: any[]) => Error;

interface Sdk {
  readonly name: "openai" | "anthropic" | "cerebras" | "groq";
  /** What the SDK puts behind its base URL by itself is not in it. */
  readonly basePath: string;
  /** A limit that no message fits into. */
  readonly tiny: string;
  readonly send: Send;
  readonly errors: {
    readonly limit: Kind;
    readonly bad: Kind;
    readonly unauthorized: Kind;
    readonly server: Kind;
  };
}

const common = { apiKey: "sk-client", maxRetries: 0 };
const openai = (baseURL: string, apiKey = common.apiKey): OpenAI =>
  new OpenAI({ ...common, apiKey, baseURL });
const anthropic = (baseURL: string, apiKey = common.apiKey): Anthropic =>
  new Anthropic({ ...common, apiKey, baseURL });
const cerebras = (baseURL: string, apiKey = common.apiKey): Cerebras =>
  new Cerebras({ ...common, apiKey, baseURL, warmTCPConnection: false });
const groq = (baseURL: string, apiKey = common.apiKey): Groq =>
  new Groq({ ...common, apiKey, baseURL });

const sdks: readonly Sdk[] = [
  {
    name: "openai",
    basePath: "/v1",
    tiny: "tpm: 1",
    send: (base, key) =>
      openai(base, key).chat.completions.create({
        model: "gpt-4o-mini",
        messages,
        max_completion_tokens: 20,
      }),
    errors: {
      limit: OpenAI.RateLimitError,
      bad: OpenAI.BadRequestError,
      unauthorized: OpenAI.AuthenticationError,
      server: OpenAI.InternalServerError,
    },
  },
  {
    name: "anthropic",
    basePath: "",
    tiny: "input_tpm: 1",
    send: (base, key) =>
      anthropic(base, key).messages.create({
        model: "claude-sonnet-4-5",
        messages,
        max_tokens: 20,
      }),
    errors: {
      limit: Anthropic.RateLimitError,
      bad: Anthropic.BadRequestError,
      unauthorized: Anthropic.AuthenticationError,
      server: Anthropic.InternalServerError,
    },
  },
  {
    name: "cerebras",
    basePath: "",
    tiny: "tpm: 1",
    send: (base, key) =>
      cerebras(base, key).chat.completions.create({
        model: "llama3.1-8b",
        messages,
        max_completion_tokens: 20,
      }),
    errors: {
      limit: Cerebras.RateLimitError,
      bad: Cerebras.BadRequestError,
      unauthorized: Cerebras.AuthenticationError,
      server: Cerebras.InternalServerError,
    },
  },
  {
    name: "groq",
    basePath: "",
    tiny: "tpm: 1",
    send: (base, key) =>
      groq(base, key).chat.completions.create({
        model: "llama-3.1-8b-instant",
        messages,
        max_completion_tokens: 20,
      }),
    errors: {
      limit: Groq.RateLimitError,
      bad: Groq.BadRequestError,
      unauthorized: Groq.AuthenticationError,
      server: Groq.InternalServerError,
    },
  },
];
const named = sdks.map((sdk) => [sdk.name, sdk] as const);

/** An error as the SDK raised it, and what it tells beside its class. */
interface Thrown {
  readonly error: Error;
  /** Our code and the answer's status. */
  readonly code: string | undefined;
  readonly status: number;
  readonly retryAfter: number;
}

/** How `promise` fails; throws where it does not, or not with an answer's error. */
async function thrownBy(promise: Promise<unknown>): Promise<Thrown> {
  const error = await promise.then(
    (value) => {
      throw new Error(`No error, but ${JSON.stringify(value)}`);
    },
    (reason: Error & { status: number; headers: Headers | Record<string, string> }) => reason,
  );
  // Some have an object in place of `Headers`.
  const headers = new Headers(error.headers);
  return {
    error,
    code: headers.get("x-cooldown-error") ?? undefined,
    status: error.status,
    retryAfter: Number(headers.get("retry-after") ?? Number.NaN),
  };
}

describe("official SDKs with nothing changed but the base URL", () => {
  const mocks = new Map<string, Mock>();
  let at: Folder;
  let proxy: Proxy;
  let unpaid: Upstream;

  const base = (host: string, path: string): string =>
    `http://localhost:${proxy.port}/proxy/${host}${path}`;

  beforeAll(async () => {
    at = folder();
    unpaid = startUpstream(() =>
      Response.json(
        { error: { message: "You exceeded your current quota", code: "insufficient_quota" } },
        { status: 429 },
      ),
    );
    const rows = sdks.flatMap(({ name, tiny }) => {
      const mock = startMock({
        profile: name,
        port: 0,
        latencyMs: 5,
        jitterMs: 0,
        chunkIntervalMs: 1,
        outputMean: 40,
        outputDeviation: 1,
      });
      mocks.set(name, mock);
      const row = (what: string, limits: string, upstream = mock.url): string =>
        `  - { name: ${what}-${name}, domain: ${what}.${name}.test, provider: ${name}, ${limits}, upstream: "${upstream}" }`;
      return [
        `  - { name: ${name}, domain: api.${name}.com, provider: ${name}, rpm: 1000, ${name === "anthropic" ? "input_tpm" : "tpm"}: 1000000, upstream: "${mock.url}" }`,
        row("timeout", "rpm: 1, request_timeout: 1s"),
        row("full", "max_concurrency: 1, max_queue_depth: 1"),
        row("tiny", tiny),
        row("gone", "rpm: 100", "http://127.0.0.1:1"),
        row("silent", "rpm: 100"),
        row("open", "rpm: 100", unpaid.url),
      ];
    });
    proxy = await startProxy(
      `default_upstream: ${mocks.get("openai")?.url}
upstream_timeouts: { first_byte: 500ms }
quotas:
${rows.join("\n")}
`,
      { at },
    );
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    await Promise.all([...mocks.values()].map((mock) => mock.stop()));
    await unpaid[Symbol.asyncDispose]();
    at[Symbol.dispose]();
  });

  test("openai: chat, streamed and not, by /proxy and by default_upstream", async () => {
    for (const baseURL of [base("api.openai.com", "/v1"), `http://localhost:${proxy.port}/v1`]) {
      const client = openai(baseURL);
      const what = { model: "gpt-4o-mini", messages, max_completion_tokens: 100 };
      const whole = await client.chat.completions.create(what);
      expect(whole.choices[0]?.message.content).toContain("the way of a river");
      expect(whole.usage?.completion_tokens).toBeGreaterThan(30);
      const stream = await client.chat.completions.create({
        ...what,
        stream: true,
        stream_options: { include_usage: true },
      });
      let said = "";
      let total = 0;
      for await (const chunk of stream) {
        said += chunk.choices[0]?.delta.content ?? "";
        total = chunk.usage?.total_tokens ?? total;
      }
      expect(said).toContain("the way of a river");
      expect(total).toBeGreaterThan(30);
    }
  });

  test("openai: responses, streamed and not, embeddings and models", async () => {
    const client = openai(base("api.openai.com", "/v1"));
    const what = { model: "gpt-4o-mini", input: "Say hello.", max_output_tokens: 100 };
    const whole = await client.responses.create(what);
    expect(whole.output_text).toContain("the way of a river");
    let said = "";
    let ended = "";
    for await (const event of await client.responses.create({ ...what, stream: true })) {
      if (event.type === "response.output_text.delta") said += event.delta;
      ended = event.type;
    }
    expect(said).toContain("the way of a river");
    expect(ended).toBe("response.completed");
    const { data } = await client.embeddings.create({
      model: "text-embedding-3-small",
      input: "x",
    });
    expect(data[0]?.embedding.length).toBeGreaterThan(0);
    expect((await client.models.list()).data.length).toBeGreaterThan(0);
  });

  test("anthropic: messages, streamed and not", async () => {
    const client = anthropic(base("api.anthropic.com", ""));
    const what = { model: "claude-sonnet-4-5", messages, max_tokens: 100 };
    const whole = await client.messages.create(what);
    expect(whole.content[0]).toMatchObject({ type: "text" });
    expect(whole.usage.output_tokens).toBeGreaterThan(30);
    const stream = client.messages.stream(what);
    const final = await stream.finalMessage();
    expect(final.stop_reason).toBe("end_turn");
    expect(final.usage.output_tokens).toBeGreaterThan(30);
    expect(await stream.finalText()).toContain("the way of a river");
  });

  test.each([
    ["cerebras", () => cerebras(base("api.cerebras.com", "")), "llama3.1-8b"],
    ["groq", () => groq(base("api.groq.com", "")), "llama-3.1-8b-instant"],
  ] as const)("%s: chat, streamed and not", async (_, make, model) => {
    const client = make();
    const create = client.chat.completions.create.bind(
      client.chat.completions,
    ) as Groq["chat"]["completions"]["create"];
    const what = { model, messages, max_completion_tokens: 100 };
    const whole = await create(what);
    expect(whole.choices[0]?.message.content).toContain("the way of a river");
    expect(whole.usage?.total_tokens).toBeGreaterThan(30);
    let said = "";
    for await (const chunk of await create({ ...what, stream: true })) {
      said += chunk.choices[0]?.delta.content ?? "";
    }
    expect(said).toContain("the way of a river");
  });

  describe.each(named)("%s raises its own errors", (name, { basePath, send, errors }) => {
    const to = (what: string): string => base(`${what}.${name}.test`, basePath);

    test("QUEUE_TIMEOUT", async () => {
      await send(to("timeout"));
      const thrown = await thrownBy(send(to("timeout")));
      expect(thrown.error).toBeInstanceOf(errors.limit);
      expect(thrown).toMatchObject({ status: 429, code: "QUEUE_TIMEOUT" });
      expect(thrown.retryAfter).toBeWithin(55, 62);
    });

    test("QUEUE_FULL", async () => {
      mocks.get(name)?.fault({ kind: "stall" });
      const first = send(to("full")).catch(() => {});
      const quota = (): Promise<Quota> => proxy.quota(`full-${name}`);
      await until(() => mocks.get(name)?.stats().in_flight === 1, "the first is under way");
      const second = send(to("full"));
      await until(async () => (await quota()).queue_depth === 1, "the second waits");
      const thrown = await thrownBy(send(to("full")));
      expect(thrown.error).toBeInstanceOf(errors.limit);
      expect(thrown).toMatchObject({ status: 429, code: "QUEUE_FULL" });
      await Promise.all([first, second]);
    });

    test("EXCEEDS_QUOTA", async () => {
      const thrown = await thrownBy(send(to("tiny")));
      expect(thrown.error).toBeInstanceOf(errors.bad);
      expect(thrown.code).toBe("EXCEEDS_QUOTA");
    });

    test("UPSTREAM_UNREACHABLE", async () => {
      const thrown = await thrownBy(send(to("gone")));
      expect(thrown.error).toBeInstanceOf(errors.server);
      expect(thrown).toMatchObject({ status: 502, code: "UPSTREAM_UNREACHABLE" });
    });

    test("UPSTREAM_TIMEOUT", async () => {
      mocks.get(name)?.fault({ kind: "stall" });
      const thrown = await thrownBy(send(to("silent")));
      expect(thrown.error).toBeInstanceOf(errors.server);
      expect(thrown).toMatchObject({ status: 504, code: "UPSTREAM_TIMEOUT" });
    });

    test("CIRCUIT_OPEN", async () => {
      for (let n = 0; n < 10; n++) {
        const host = `open.${name}.test`;
        expect(
          (await ask(proxy.port, { host, method: "POST", path: "/x", body: "{}" })).status,
        ).toBe(429);
      }
      const thrown = await thrownBy(send(to("open")));
      expect(thrown.error).toBeInstanceOf(errors.server);
      expect(thrown).toMatchObject({ status: 503, code: "CIRCUIT_OPEN" });
      expect(thrown.retryAfter).toBeWithin(55, 61);
    });
  });
});

test.each(named)("%s raises AuthenticationError where a key is required", async (name, sdk) => {
  using at = folder();
  const mock = startMock({ profile: name, port: 0, latencyMs: 0, jitterMs: 0 });
  try {
    await using proxy = await startProxy(
      `clients: { require_key: true, keys: [{ name: ci, key: virtual-1 }] }
quotas: [{ name: q, domain: api.test, provider: ${name}, rpm: 100, upstream: "${mock.url}" }]
`,
      { at },
    );
    const baseURL = `http://localhost:${proxy.port}/proxy/api.test${sdk.basePath}`;
    const thrown = await thrownBy(sdk.send(baseURL, "unknown"));
    expect(thrown.error).toBeInstanceOf(sdk.errors.unauthorized);
    expect(thrown).toMatchObject({ status: 401, code: "UNAUTHORIZED" });
    expect(mock.stats().requests).toBe(0);
    await sdk.send(baseURL, "virtual-1");
    expect(mock.stats().requests).toBe(1);
  } finally {
    await mock.stop();
  }
});
