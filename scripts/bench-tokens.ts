/**
 * What counting tokens costs by kind and size of text, beside `@dqbd/tiktoken`: `bun scripts/bench-tokens.ts`.
 * Only o200k; medians. The oracle is left out above 10 KB: its merge is quadratic.
 */
import { get_encoding } from "@dqbd/tiktoken";
import { textCounter } from "../src/tokens/bpe.ts";
import { createTokenCounter } from "../src/tokens/counter.ts";
import { loadVocabulary } from "../src/tokens/load.ts";
import type { Prompt } from "../src/tokens/prompt.ts";

/** One measurement. Times in milliseconds; null where it was not made. */
export interface Row {
  /** Kind of text. */
  readonly text: string;
  /** UTF-8 bytes. */
  readonly bytes: number;
  /** Counting the text, none of it cached as a whole, on this thread. */
  readonly countMs: number;
  /** `encode_ordinary` of `@dqbd/tiktoken`. */
  readonly oracleMs: number | null;
  /** A prompt of such a text, never seen, until its count is known: from 16 KB on in the other thread. */
  readonly promptMs: number;
  /** The longest time meanwhile in which no timer ran on this thread. */
  readonly pauseMs: number;
  /** The worst of these times: it has in it whatever else the machine did. */
  readonly worstPauseMs: number;
}

const unit = {
  prose:
    "Cooldown holds each request until the provider's own quota has room for it, then lets it go; ",
  code: "export function take(bucket: Bucket, now: number): boolean {\n  return bucket.level + 1 <= bucket.limit;\n}\n",
  json: '{"id":"chatcmpl-8f2","choices":[{"index":0,"message":{"role":"assistant","content":null}}],"n":17.25},',
  chinese: "请求在配额有空间之前会一直等待，然后按照顺序发送。人工智能正在改变我们的生活方式。",
  "one letter": "a",
} as const;

type Kind = keyof typeof unit;

const kinds = ["prose", "code", "json", "chinese", "one letter"] as const satisfies Kind[];

/** How many prompts of each kind and size are counted, an odd number. */
const prompts = 9;

/**
 * Text of `bytes` bytes that repeats `kind` with changing words and numbers, so that it does not just hit caches; each
 * `variant` of it is another.
 */
function textOf(kind: Kind, bytes: number, variant = 0): string {
  if (kind === "one letter") return "abcdefghijk".charAt(variant).repeat(bytes);
  const lines: string[] = [];
  for (let length = 0, i = variant * 10_007; length < bytes; i++) {
    const line = `${unit[kind]}${(i * 2_654_435_761) % 1_000_003} ${(i * 40_503).toString(36)} `;
    lines.push(line);
    length += Buffer.byteLength(line);
  }
  return Buffer.from(lines.join("")).subarray(0, bytes).toString();
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** Median time of a call in milliseconds, of as many calls as fit in about 60 ms, at least three. */
function time(run: () => void): number {
  const times: number[] = [];
  const begin = performance.now();
  do {
    const start = performance.now();
    run();
    times.push(performance.now() - start);
  } while (times.length < 3 || performance.now() - begin < 60);
  return median(times);
}

/** Runs `work` and notices the longest time in which a timer of 1 ms did not run. */
async function pauseDuring(work: () => Promise<unknown>): Promise<{ ms: number; pauseMs: number }> {
  let pauseMs = 0;
  let last = performance.now();
  const beat = (): void => {
    const now = performance.now();
    pauseMs = Math.max(pauseMs, now - last - 1);
    last = now;
  };
  const timer = setInterval(beat, 1);
  const start = performance.now();
  await work();
  const ms = performance.now() - start;
  beat();
  clearInterval(timer);
  return { ms, pauseMs };
}

/** All measurements; takes about ten seconds. */
export async function benchTokens(): Promise<Row[]> {
  const count = textCounter("o200k");
  const oracle = get_encoding("o200k_base");
  const counter = createTokenCounter();
  await counter.warmUp();
  const prompt = (text: string): Prompt => ({
    model: "gpt-4o",
    messages: [{ role: "user", name: null, text: [text], images: [] }],
    texts: [],
    tokenIds: 0,
    tools: [],
  });
  await counter.count(prompt(textOf("prose", 50_000))); // starts the thread
  const rows: Row[] = [];
  for (const kind of kinds) {
    for (const bytes of [100, 1024, 10_240, 102_400, 1_048_576]) {
      const text = textOf(kind, bytes);
      const oracleMs =
        bytes <= (kind === "one letter" ? 1024 : 10_240)
          ? time(() => oracle.encode_ordinary(text))
          : null;
      const countMs = time(() => count(text));
      const runs: { ms: number; pauseMs: number }[] = [];
      for (let variant = 1; variant <= prompts; variant++) {
        const unseen = prompt(textOf(kind, bytes, variant));
        Bun.gc(true);
        runs.push(await pauseDuring(async () => counter.count(unseen)));
      }
      rows.push({
        text: kind,
        bytes: Buffer.byteLength(text),
        countMs,
        oracleMs,
        promptMs: median(runs.map(({ ms }) => ms)),
        pauseMs: median(runs.map(({ pauseMs }) => pauseMs)),
        worstPauseMs: Math.max(...runs.map(({ pauseMs }) => pauseMs)),
      });
    }
  }
  oracle.free();
  counter.close();
  return rows;
}

if (import.meta.main) {
  const start = performance.now();
  loadVocabulary("o200k");
  const loadedMs = performance.now() - start;
  textCounter("o200k")("Hello");
  console.log(
    `cold: o200k loaded in ${loadedMs.toFixed(1)} ms, first count after ${(performance.now() - start).toFixed(1)} ms`,
  );
  const shown = (ms: number | null): string => (ms === null ? "" : ms.toFixed(3));
  console.table(
    (await benchTokens()).map((row) => ({
      text: row.text,
      bytes: row.bytes,
      "count ms": shown(row.countMs),
      "tiktoken ms": shown(row.oracleMs),
      "prompt ms": shown(row.promptMs),
      "pause ms": shown(row.pauseMs),
      "worst pause ms": shown(row.worstPauseMs),
    })),
  );
}
