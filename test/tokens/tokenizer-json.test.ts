import { describe, expect, test } from "bun:test";
import { UsageError } from "../../src/errors.ts";
import { textCounter } from "../../src/tokens/bpe.ts";
import { byteCharacters, bytesOfToken } from "../../src/tokens/byte-level.ts";
import { loadVocabulary } from "../../src/tokens/load.ts";
import { largestFile, loadTokenizerJson } from "../../src/tokens/tokenizer-json.ts";
import { fixtureTexts } from "./fixture-texts.ts";
import { tokenizerFiles } from "./tokenizer-files.ts";

const load = (file: unknown): unknown => loadTokenizerJson(Buffer.from(JSON.stringify(file)));
const model = { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: ["a b"] };

test("a whole vocabulary, written out as a tokenizer.json, counts the same", () => {
  const { offsets, arena, leftLengths } = loadVocabulary("qwen3");
  const vocab: Record<string, number> = {};
  const merges: [string, string][] = [];
  for (let rank = 0; rank + 1 < offsets.length; rank++) {
    const bytes = arena.subarray(offsets[rank], offsets[rank + 1]);
    const token = Array.from(bytes, (byte) => byteCharacters[byte]).join("");
    vocab[token] = rank;
    const left = leftLengths?.[rank] ?? 0;
    if (left > 0) merges.push([token.slice(0, left), token.slice(left)]);
  }
  const { count } = loadTokenizerJson(
    Buffer.from(JSON.stringify({ ...tokenizerFiles.qwen, model: { type: "BPE", vocab, merges } })),
  );
  const expected = textCounter("qwen3");
  for (const text of fixtureTexts) expect(count(text)).toBe(expected(text));
});

test("bytes and their characters are each other's", () => {
  expect([...bytesOfToken(byteCharacters.join(""))]).toEqual([...new Uint8Array(256).keys()]);
  expect(() => bytesOfToken("中")).toThrow(RangeError);
});

describe("what is not supported is said", () => {
  test.each<[string, unknown, RegExp]>([
    ["Unigram", { model: { type: "Unigram", vocab: [] } }, /model Unigram is not supported/],
    ["WordPiece", { model: { type: "WordPiece", vocab: {} } }, /model WordPiece/],
    ["no model", {}, /model is not an object/],
    ["an affix", { model: { ...model, end_of_word_suffix: "</w>" } }, /model\.end_of_word_suffix/],
    ["a strange merge", { model: { ...model, merges: ["a c"] } }, /model\.merges\[0\]/],
    ["a strange id", { model: { ...model, vocab: { a: -1 } } }, /no id for "a"/],
    ["a list as vocab", { model: { ...model, vocab: [] } }, /model\.vocab is not an object/],
    ["merges that are none", { model: { ...model, merges: 7 } }, /model\.merges is not a list/],
    ["Precompiled", { normalizer: { type: "Precompiled" }, model }, /normalizer Precompiled/],
    [
      "a normalizer's pattern",
      { normalizer: { type: "Replace", pattern: { Regex: "(a+)+$" }, content: "" }, model },
      /regular expression "\(a\+\)\+\$"/,
    ],
    [
      "scripts",
      { pre_tokenizer: { type: "UnicodeScripts" }, model },
      /pre_tokenizer UnicodeScripts/,
    ],
    [
      "a pattern that is none",
      { pre_tokenizer: { type: "Split", pattern: { Regex: "(" } }, model },
      /regular expression "\("/,
    ],
    [
      "a behavior",
      { pre_tokenizer: { type: "Split", pattern: { String: "a" }, behavior: "Shuffled" }, model },
      /behavior Shuffled/,
    ],
    [
      "steps after ByteLevel",
      {
        pre_tokenizer: {
          type: "Sequence",
          pretokenizers: [{ type: "ByteLevel", use_regex: false }, { type: "WhitespaceSplit" }],
        },
        model,
      },
      /after ByteLevel/,
    ],
    [
      "a prefix in the middle",
      {
        pre_tokenizer: {
          type: "Sequence",
          pretokenizers: [
            { type: "Split", pattern: { Regex: "b+" } },
            { type: "ByteLevel", use_regex: false, add_prefix_space: true },
          ],
        },
        model,
      },
      /a space before each match/,
    ],
    ["a type that is none", { normalizer: { type: 7 }, model }, /normalizer\.type is not a text/],
  ])("%s", (_, file, message) => {
    expect(() => load(file)).toThrow(UsageError);
    expect(() => load(file)).toThrow(message);
  });

  test("no JSON, and too much of it", () => {
    expect(() => loadTokenizerJson(Buffer.from("{"))).toThrow(/is not JSON/);
    expect(() => loadTokenizerJson(new Uint8Array(largestFile + 1))).toThrow(/at most 64 MB/);
  });
});

test.each<[string, object, string, number]>([
  ["what is unknown is dropped", { model }, "xabAab", 2],
  ["and its neighbours become neighbours", { model }, "aAb", 1],
  ["lower case", { normalizer: { type: "Lowercase" }, model }, "xabAab", 3],
  [
    "an empty pattern",
    { pre_tokenizer: { type: "Split", pattern: { String: "" } }, model },
    "abab",
    2,
  ],
])("the least that works: %s", (_, file, text, tokens) => {
  expect(loadTokenizerJson(Buffer.from(JSON.stringify(file))).count(text)).toBe(tokens);
});
