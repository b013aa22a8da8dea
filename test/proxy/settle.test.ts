import { expect, test } from "bun:test";
import { deflateRawSync, deflateSync } from "node:zlib";
import type { Usage } from "../../src/provider/dialect.ts";
import { dialectOf } from "../../src/provider/dialects.ts";
import type { Estimate } from "../../src/proxy/estimate.ts";
import { answerReader } from "../../src/proxy/settle.ts";
import { tokens } from "../ledger/costs.ts";

const reserved = tokens(500);
/** What was seen costs as many tokens as were seen. */
const estimate = {
  charge: ({ total }: Usage) => tokens(total),
  counted: ({ total }: Usage) => tokens(total),
  chargeSeen: (output: number) => tokens(output),
} as Estimate;

const json = JSON.stringify({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 } });
const event = (rest: unknown): string => `data: ${JSON.stringify(rest)}\n\n`;
const text = event({ choices: [{ delta: { content: "x".repeat(400) } }] });
const done = "data: [DONE]\n\n";
const zipped = Bun.gzipSync(json);
const withoutEnd = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, bytes.length - 8);

test.each<[string, string, string, string | Uint8Array, number]>([
  ["JSON", "application/json", "", json, 7],
  ["JSON, compressed", "application/json", "gzip", zipped, 7],
  ["JSON that is not compressed as it says", "application/json", "gzip", json, 500],
  ["JSON in zlib's form", "application/json", "deflate", deflateSync(json), 7],
  ["JSON in its bare form", "application/json", "deflate", deflateRawSync(json), 7],
  ["JSON in none of the forms", "application/json", "deflate", json, 500],
  ["JSON cut off in its compression", "application/json", "gzip", zipped.subarray(0, 20), 500],
  ["an unknown compression", "application/json", "lzw", json, 500],
  ["a stream", "text/event-stream", "", text + done, 100],
  [
    "a stream whose compression is never closed",
    "text/event-stream",
    "gzip",
    withoutEnd(Bun.gzipSync(text + done)),
    100,
  ],
  ["a stream that is not compressed as it says", "text/event-stream", "br", text + done, 500],
])(
  "%s is charged what it tells, as reserved where it cannot be read",
  async (_, type, encoding, body, charged) => {
    const headers = new Headers({ "content-type": type, "content-encoding": encoding });
    const dialect = dialectOf("openai", "/v1/chat/completions");
    const reader = answerReader(dialect, estimate, reserved, headers, type !== "application/json");
    reader.push(Buffer.from(body));
    const settlement = await reader.end();
    expect(settlement.charged.total_tokens).toBe(charged);
  },
);

const megabyte = "A".repeat(1 << 20);
const parts = (count: number): string[] => Array.from({ length: count }, () => megabyte);

test.each([
  ["at its end", 17, ['"}],"usage":{"prompt_tokens":123456,"total_tokens":123456}}'], 123_456],
  ["at its end, in pieces", 40, ['"}],"usage":{"prompt', '_tokens":3,"total_tokens":', "3}}"], 3],
  ["nowhere", 17, ['"}]}'], 500],
  ["before megabytes", 0, ['"}],"usage":{"total_tokens":3},"more":"', ...parts(17), '"}'], 500],
] as const)(
  "of an answer too large to be kept, usage is found %s",
  async (_, count, rest, charged) => {
    const dialect = dialectOf("openai", "/v1/embeddings");
    const reader = answerReader(dialect, estimate, reserved, new Headers(), false);
    for (const part of ['{"data":[{"embedding":"', ...parts(count), ...rest])
      reader.push(Buffer.from(part));
    expect((await reader.end()).charged.total_tokens).toBe(charged);
  },
);
