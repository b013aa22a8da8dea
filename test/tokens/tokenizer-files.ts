/** Small `tokenizer.json` files of every make that is supported, for tests and for `scripts/tokenizer-fixtures.ts`. */
import { byteCharacters } from "../../src/tokens/byte-level.ts";
import { samples } from "./samples.ts";

type Merge = [string, string];

interface Model {
  vocab: Record<string, number>;
  merges: Merge[];
}

/** Learns merges as BPE does: the most frequent neighbours become one, the first met of equals. */
function train(words: readonly string[][], base: readonly string[], count: number): Model {
  const vocab = Object.fromEntries(base.map((token, id) => [token, id]));
  const merges: Merge[] = [];
  let all = words;
  for (let next = base.length; merges.length < count; next++) {
    const pairs = new Map<string, { merge: Merge; times: number }>();
    for (const word of all) {
      for (let i = 0; i + 1 < word.length; i++) {
        const merge: Merge = [word[i] ?? "", word[i + 1] ?? ""];
        const pair = pairs.get(merge.join("\0")) ?? { merge, times: 0 };
        pair.times++;
        pairs.set(merge.join("\0"), pair);
      }
    }
    const best = [...pairs.values()].reduce((a, b) => (b.times > a.times ? b : a));
    const [left, right] = best.merge;
    merges.push(best.merge);
    vocab[left + right] ??= next;
    all = all.map((word) => {
      const merged: string[] = [];
      for (const symbol of word) {
        if (symbol === right && merged.at(-1) === left) merged[merged.length - 1] = left + right;
        else merged.push(symbol);
      }
      return merged;
    });
  }
  return { vocab, merges };
}

const text = samples.map(([, sample]) => sample);
const byteWords = text.flatMap((sample) =>
  (sample.match(/ ?\S+|\s+/g) ?? []).map((word) =>
    Array.from(Buffer.from(word), (byte) => byteCharacters[byte] ?? ""),
  ),
);
const characterWords = text.flatMap((sample) =>
  (sample.replaceAll(" ", "▁").match(/▁*[^▁]+/g) ?? []).map((word) => [...word]),
);

const bytes = train(byteWords, byteCharacters, 300);
/** The most frequent characters only, so that some are unknown. */
const characters = [...new Set(characterWords.flat())]
  .filter((character) => text.join("").split(character).length > 3 || character === "▁")
  .concat("<unk>");
const byteTokens = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);
const known = new Set(characters);
const knownWords = characterWords.filter((word) => word.every((symbol) => known.has(symbol)));
const pieces = train(knownWords, [...characters, ...byteTokens], 300);

const file = (normalizer: unknown, pre_tokenizer: unknown, model: object): object => ({
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer,
  pre_tokenizer,
  post_processor: null,
  decoder: null,
  model: { type: "BPE", ...model },
});

const byteLevel = (use_regex: boolean, add_prefix_space = false): object => ({
  type: "ByteLevel",
  add_prefix_space,
  trim_offsets: true,
  use_regex,
});
const sequence = (...pretokenizers: object[]): object => ({ type: "Sequence", pretokenizers });
const cut = (pattern: object, behavior = "Isolated", invert = false): object => ({
  type: "Split",
  pattern,
  behavior,
  invert,
});
const regex = (source: string): object => cut({ Regex: source });
const byPattern = (source: string): object => sequence(regex(source), byteLevel(false));

const end = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const uncased = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}${end}`;
const cased = (digits: string, suffix: string): string => {
  const [capitals, smalls] = [
    "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]",
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]",
  ];
  const prefix = "[^\\r\\n\\p{L}\\p{N}]?";
  return `${prefix}${capitals}*${smalls}+${suffix}|${prefix}${capitals}+${smalls}*${suffix}|${digits}${end.replace("[\\r\\n]*", "[\\r\\n/]*")}`;
};
const withBytes = { ...pieces, unk_token: "<unk>", fuse_unk: true, byte_fallback: true };
const withoutBytes = { ...pieces, unk_token: "<unk>", fuse_unk: false, byte_fallback: false };
const replaceSpaces = { type: "Replace", pattern: { String: " " }, content: "▁" };

export const tokenizerFiles = {
  gpt2: file(null, byteLevel(true), bytes),
  "gpt2, prefix, NFKC": file({ type: "NFKC" }, byteLevel(true, true), bytes),
  "llama 3": file(null, byPattern(uncased("\\p{N}{1,3}")), { ...bytes, ignore_merges: true }),
  qwen: file({ type: "NFC" }, byPattern(uncased("\\p{N}")), bytes),
  "o200k, merges as texts": file(null, byPattern(cased("\\p{N}{1,3}", `${contractions}?`)), {
    ...bytes,
    merges: bytes.merges.map((merge) => merge.join(" ")),
  }),
  tekken: file(null, byPattern(cased("\\p{N}", "")), { ...bytes, ignore_merges: true }),
  deepseek: file(
    { type: "Sequence", normalizers: [] },
    sequence(
      regex("\\p{N}{1,3}"),
      regex("[一-龥\u3040-ゟ゠-ヿ]+"),
      regex(
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
      ),
      byteLevel(false),
    ),
    bytes,
  ),
  "an unknown pattern": file(
    null,
    byPattern("[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,2}| ?[^\\s\\p{L}\\p{N}]++|\\s+"),
    bytes,
  ),
  "digits, then GPT-2": file(
    null,
    sequence({ type: "Digits", individual_digits: true }, byteLevel(true)),
    bytes,
  ),
  "digit runs and punctuation": file(
    null,
    sequence(
      { type: "Digits", individual_digits: false },
      { type: "Punctuation", behavior: "Contiguous" },
      byteLevel(false),
    ),
    bytes,
  ),
  "no accents": file(
    {
      type: "Sequence",
      normalizers: [
        { type: "NFD" },
        { type: "StripAccents" },
        { type: "Strip", strip_left: true, strip_right: true },
      ],
    },
    sequence({ type: "WhitespaceSplit" }, byteLevel(false)),
    bytes,
  ),
  "words only": file(null, sequence({ type: "Whitespace" }, byteLevel(false)), bytes),
  "merged with next": file(
    { type: "NFKD" },
    sequence(cut({ String: " " }, "MergedWithNext"), byteLevel(false)),
    bytes,
  ),
  "merged with previous, inverted": file(
    null,
    sequence(cut({ Regex: "[aeiou]+" }, "MergedWithPrevious", true), byteLevel(false)),
    bytes,
  ),
  "mistral 1": file(
    { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replaceSpaces] },
    null,
    withBytes,
  ),
  gemma: file(replaceSpaces, cut({ String: " " }, "MergedWithPrevious"), withBytes),
  "metaspace, first": file(
    { type: "Replace", pattern: { Regex: " {2,}" }, content: " " },
    { type: "Metaspace", replacement: "▁", prepend_scheme: "first", split: true },
    withoutBytes,
  ),
  "metaspace, always, unknown fused": file(
    null,
    { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: false },
    { ...withoutBytes, fuse_unk: true },
  ),
} satisfies Record<string, object>;
