import { describe, expect, test } from "bun:test";
import { brotliCompressSync, gzipSync } from "node:zlib";
import fc from "fast-check";

import { cacheKey } from "../../src/cache/key.ts";
import { ResponseCache } from "../../src/cache/response-cache.ts";
import type { AnswerHead } from "../../src/cache/stored.ts";
import { dialectOf } from "../../src/provider/dialects.ts";
import { FakeClock } from "../clock.ts";

const mega = 1024 * 1024;
const ttlMs = 60_000;

function create(maxBytes = mega): { cache: ResponseCache; clock: FakeClock } {
  const clock = new FakeClock();
  return { cache: new ResponseCache({ clock, ttlMs, maxBytes }), clock };
}

function head(fields: Record<string, string> = {}, status = 200): AnswerHead {
  const headers = new Headers({ "content-type": "application/json", ...fields });
  return { status, statusText: "", headers };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const followChat = () => dialectOf("openai", "/v1/chat/completions").follow();
const followMessages = () => dialectOf("anthropic", "/v1/messages").follow();

/** Passes an answer by the cache; gives whether it was taken. */
async function pass(
  cache: ResponseCache,
  key: string,
  chunks: readonly Uint8Array[],
  answer = head(),
  follow: (() => ReturnType<typeof followChat>) | null = followChat,
  complete = true,
): Promise<boolean> {
  const recording = cache.record(key, "POST", answer, follow);
  for (const chunk of chunks) recording?.push(chunk);
  await recording?.end(complete);
  return cache.get(key) !== null;
}

async function bodyOf(cache: ResponseCache, key: string): Promise<Uint8Array> {
  return new Response(cache.get(key)!.body).bytes();
}

const events = [
  'data: {"choices":[{"index":0,"delta":{"content":"He"}}]}\n\n',
  'data: {"choices":[{"index":0,"delta":{"content":"llo"}}]}\n\ndata: {"cho',
  'ices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
  "data: [DONE]\n\n",
];
const stream = { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" };

describe("a hit", () => {
  test("has the bytes, status and fields of the first answer", async () => {
    const { cache, clock } = create();
    const storedAt = new Date(clock.now()).toISOString();
    const answer = head(
      {
        date: "Tue, 14 Nov 2023 22:13:20 GMT",
        "x-request-id": "up-1",
        "content-length": "11",
        age: "3",
        "x-ratelimit-remaining-requests": "7",
        "anthropic-ratelimit-tokens-remaining": "5",
        ratelimit: '"a";r=1',
        "retry-after": "3",
        "set-cookie": "__cf_bm=secret",
      },
      201,
    );
    expect(await pass(cache, "k", [bytes('{"a":'), bytes('"b"} ')], answer)).toBe(false);
    const right = { ...answer, headers: new Headers(answer.headers) };
    right.headers.set("content-length", "10");
    expect(await pass(cache, "k", [bytes('{"a":'), bytes('"b"} ')], right)).toBe(true);
    clock.advance(2_500);
    const hit = cache.get("k")!;
    expect(hit.status).toBe(201);
    expect(hit.body).toEqual(bytes('{"a":"b"} ') as Uint8Array<ArrayBuffer>);
    expect(hit.headers.toJSON() as Record<string, unknown>).toEqual({
      "content-type": "application/json",
      date: "Tue, 14 Nov 2023 22:13:20 GMT",
      "x-request-id": "up-1",
      "x-cache": "HIT",
      "x-cache-timestamp": storedAt,
      age: "2",
    });
  });

  test("may be changed without harm to the next", async () => {
    const { cache } = create();
    await pass(cache, "k", [bytes("{}")]);
    cache.get("k")!.headers.set("content-type", "x");
    expect(cache.get("k")!.headers.get("content-type")).toBe("application/json");
  });

  test("of a stream is a stream of the same bytes", async () => {
    const { cache } = create();
    expect(await pass(cache, "k", events.map(bytes), head(stream))).toBe(true);
    expect(cache.get("k")!.body).toBeInstanceOf(ReadableStream);
    expect(await bodyOf(cache, "k")).toEqual(bytes(events.join("")));
  });

  test("of a long stream has all of it", async () => {
    const { cache } = create(4 * mega);
    const long = `data: {"choices":[{"index":0,"delta":{"content":"${"x".repeat(200_000)}"}}]}\n\n`;
    await pass(cache, "k", [long, "data: [DONE]\n\n"].map(bytes), head(stream));
    expect(await bodyOf(cache, "k")).toEqual(bytes(`${long}data: [DONE]\n\n`));
  });

  test("without a body has none", async () => {
    const { cache } = create();
    await pass(cache, "k", [], head({ "content-length": "0" }));
    expect(cache.get("k")!.body).toBeNull();
  });

  test("keeps the content coding and its bytes", async () => {
    const { cache } = create();
    const coded = gzipSync("{}");
    await pass(cache, "k", [coded], head({ "content-encoding": "gzip" }));
    expect(cache.get("k")!.headers.get("content-encoding")).toBe("gzip");
    expect(await bodyOf(cache, "k")).toEqual(new Uint8Array(coded));
  });

  test("bytes are copied while they pass", async () => {
    const { cache } = create();
    const chunk = bytes("abc");
    const recording = cache.record("k", "GET", head(), null)!;
    recording.push(chunk);
    chunk.fill(0);
    void recording.end(true);
    expect(await bodyOf(cache, "k")).toEqual(bytes("abc"));
  });

  test("is never what somebody else was told", async () => {
    const { cache } = create();
    const keyOf = (authorization: string): string =>
      cacheKey({ method: "GET", host: "a", target: "/", fields: { authorization }, body: null });
    await pass(cache, keyOf("Bearer one"), [bytes("{}")]);
    expect(cache.get(keyOf("Bearer two"))).toBeNull();
    expect(cache.get(keyOf("Bearer one"))).not.toBeNull();
  });
});

describe("a stream is kept only after its last event", () => {
  const message = [
    'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":1}}}\n\n',
    'event: message_stop\ndata: {"type":"message_stop"}\n\n',
  ];
  test.each([
    ["whole", events, followChat, true, true],
    ["aborted at the end", events, followChat, false, false],
    ["cut off", events.slice(0, 3), followChat, true, false],
    ["empty", [], followChat, true, false],
    [
      "ended by an error",
      ['data: {"error":{"message":"x"}}\n\n', "data: [DONE]\n\n"],
      followChat,
      true,
      false,
    ],
    ["Anthropic, whole", message, followMessages, true, true],
    ["Anthropic, cut off", message.slice(0, 1), followMessages, true, false],
    ["of no known API", events.slice(0, 1), null, true, true],
  ] as const)("%s", async (_, chunks, follow, complete, kept) => {
    const { cache } = create();
    const taken = await pass(cache, "k", chunks.map(bytes), head(stream), follow, complete);
    expect(taken).toBe(kept);
  });

  test.each([
    ["gzip", gzipSync],
    ["br", brotliCompressSync],
  ] as const)("compressed with %s", async (coding, compress) => {
    const { cache } = create();
    const coded = head({ ...stream, "content-encoding": coding });
    expect(await pass(cache, "whole", [compress(events.join(""))], coded)).toBe(true);
    const cut = compress(events.slice(0, 3).join(""));
    expect(await pass(cache, "cut", [cut], coded)).toBe(false);
    expect(await pass(cache, "broken", [cut.subarray(0, 20)], coded)).toBe(false);
  });

  test("compressed in a way that cannot be read: not kept", async () => {
    const { cache } = create();
    const coded = head({ ...stream, "content-encoding": "zip" });
    expect(await pass(cache, "k", events.map(bytes), coded)).toBe(false);
  });
});

describe("what is not kept", () => {
  test("answers that forbid it, and failures", () => {
    const { cache } = create();
    expect(cache.record("k", "POST", head({}, 500), null)).toBeNull();
    expect(cache.record("k", "POST", head({}, 429), null)).toBeNull();
    expect(cache.record("k", "POST", head({ "cache-control": "private" }), null)).toBeNull();
  });

  test("broken-off answers", async () => {
    const { cache } = create();
    expect(await pass(cache, "k", [bytes("{")], head(), null, false)).toBe(false);
  });

  test("one that is shorter or longer than it said", async () => {
    const { cache } = create();
    const said = head({ "content-length": "3" });
    expect(await pass(cache, "k", [bytes("ab")], said)).toBe(false);
    expect(await pass(cache, "k", [bytes("ab"), bytes("cd")], said)).toBe(false);
    expect(await pass(cache, "k", [bytes("ab"), bytes("c")], said)).toBe(true);
  });

  test("one of more than a tenth of the cache, whether it says so or not", async () => {
    const { cache } = create(100_000);
    expect(cache.record("k", "GET", head({ "content-length": "10001" }), null)).toBeNull();
    expect(await pass(cache, "k", [new Uint8Array(9_000), new Uint8Array(1_001)])).toBe(false);
    expect(await pass(cache, "k", [new Uint8Array(5_000), new Uint8Array(4_000)])).toBe(true);
  });

  test("one of more than 16 MB in any cache", () => {
    const { cache } = create(1_000 * mega);
    const length = (value: number): AnswerHead => head({ "content-length": String(value) });
    expect(cache.record("k", "GET", length(16 * mega + 1), null)).toBeNull();
    const recording = cache.record("k", "GET", length(16 * mega), null);
    expect(recording).not.toBeNull();
    void recording!.end(false);
  });

  test("what is recorded at a time takes no more than a tenth of the cache", () => {
    const { cache } = create(100_000);
    const answer = head({ "content-length": "4000" });
    const running = [1, 2].map((key) => cache.record(`k${key}`, "GET", answer, null));
    expect(running).not.toContain(null);
    expect(cache.record("k3", "GET", answer, null)).toBeNull();
    void running[0]!.end(false);
    const next = cache.record("k3", "GET", answer, null);
    expect(next).not.toBeNull();
  });

  test("what was under way when the cache was cleared", () => {
    const { cache } = create();
    const recording = cache.record("k", "GET", head(), null)!;
    cache.clear();
    void recording.end(true);
    expect(cache.get("k")).toBeNull();
  });
});

describe("time", () => {
  test("an answer lives for the TTL", async () => {
    const { cache, clock } = create();
    await pass(cache, "k", [bytes("{}")]);
    clock.advance(ttlMs);
    expect(cache.get("k")).not.toBeNull();
    clock.advance(1);
    expect(cache.get("k")).toBeNull();
    expect(cache.stats().item_count).toBe(0);
  });

  test("being read does not prolong it", async () => {
    const { cache, clock } = create();
    await pass(cache, "k", [bytes("{}")]);
    for (let step = 0; step < 6; step++) {
      clock.advance(ttlMs / 6);
      expect(cache.get("k")).not.toBeNull();
    }
    clock.advance(1);
    expect(cache.get("k")).toBeNull();
  });

  test("the API's own max-age shortens that of a GET, from when it said so", () => {
    const { cache, clock } = create();
    const recording = cache.record("k", "GET", head({ "cache-control": "max-age=10" }), null)!;
    void recording.end(true);
    clock.advance(10_000);
    expect(cache.get("k")).not.toBeNull();
    clock.advance(1);
    expect(cache.get("k")).toBeNull();
  });

  test("a client may want a younger one", async () => {
    const { cache, clock } = create();
    await pass(cache, "k", [bytes("{}")]);
    clock.advance(5_001);
    expect(cache.get("k", 5_000)).toBeNull();
    expect(cache.get("k", 6_000)).not.toBeNull();
  });
});

test("counts hits, misses, items and bytes, and forgets all", async () => {
  const { cache } = create();
  expect(cache.stats()).toEqual({ item_count: 0, size_bytes: 0, ttl: 60, hits: 0, misses: 0 });
  cache.get("a");
  await pass(cache, "a", [bytes("{}")]);
  await pass(cache, "b", [bytes("{}")]);
  const { size_bytes: size, ...rest } = cache.stats();
  expect(rest).toEqual({ item_count: 2, ttl: 60, hits: 2, misses: 1 });
  expect(size).toBeGreaterThan(2 * 600);
  expect(cache.clear()).toBe(2);
  expect(cache.clear()).toBe(0);
  expect(cache.get("a")).toBeNull();
  expect(cache.stats()).toMatchObject({ item_count: 0, size_bytes: 0 });
});

test("property: never over its size, and the least recently used go first", () => {
  const maxBytes = 50_000;
  const step = fc.record({
    key: fc.nat(30).map(String),
    bytes: fc.nat(4_000),
    read: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const { cache } = create(maxBytes);
      /** Keys by their last use, the latest last, with the size that each was found to take. */
      const used = new Map<string, number>();
      const use = (key: string, size: number): void => {
        used.delete(key);
        used.set(key, size);
      };
      const total = (): number => [...used.values()].reduce((sum, size) => sum + size, 0);
      for (const { key, bytes, read } of steps) {
        if (read) {
          const size = used.get(key);
          expect(cache.get(key) !== null).toBe(size !== undefined);
          if (size !== undefined) use(key, size);
          continue;
        }
        const recording = cache.record(key, "GET", head(), null)!;
        recording.push(new Uint8Array(bytes));
        void recording.end(true);
        use(key, sizeOf(bytes));
        while (total() > maxBytes) used.delete(used.keys().next().value!);
        expect(cache.stats().size_bytes).toBe(total());
        expect(cache.stats().size_bytes).toBeLessThanOrEqual(maxBytes);
      }
    }),
    { numRuns: 20 },
  );
});

const measuring = create();

/** What an answer with a body of so many bytes takes. */
function sizeOf(bytes: number): number {
  const { cache } = measuring;
  cache.clear();
  const recording = cache.record("k", "GET", head(), null)!;
  recording.push(new Uint8Array(bytes));
  void recording.end(true);
  return cache.stats().size_bytes;
}
