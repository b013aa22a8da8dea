/**
 * Packs the vocabularies of `@dqbd/tiktoken` into the files that Cooldown carries:
 * `bun scripts/vocabulary.ts` writes `src/tokens/data/*.bin.zst`. Run it again when the package's version
 * changes, and commit what it wrote.
 */
import { Tiktoken } from "@dqbd/tiktoken";
import cl100k from "@dqbd/tiktoken/encoders/cl100k_base.json";
import o200k from "@dqbd/tiktoken/encoders/o200k_base.json";
import { characterClass, codePoints, packClasses } from "../src/tokens/unicode.ts";
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

/** Asks the oracle which code points match `pattern`: a vocabulary of single bytes gives back what matched. */
function codePointsMatching(pattern: string): number[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => Buffer.from([byte]).toString("base64"));
  const oracle = new Tiktoken(`! 0 ${bytes.join(" ")}`, {}, pattern);
  const matching: number[] = [];
  for (let base = 0; base < codePoints; base += 0x1000) {
    if (base >= 0xd800 && base < 0xe000) continue; // surrogates
    const text = String.fromCodePoint(...Array.from({ length: 0x1000 }, (_, i) => base + i));
    const matched = Buffer.from(Uint8Array.from(oracle.encode_ordinary(text))).toString();
    for (const character of matched) matching.push(character.codePointAt(0) ?? 0);
  }
  oracle.free();
  return matching;
}

/** The class of every code point, as the oracle's regular expressions see it. */
function oracleClasses(): Uint8Array {
  const classes = new Uint8Array(codePoints);
  const rows = [
    ["[\\p{Lu}\\p{Lt}]", characterClass.upper],
    ["\\p{Ll}", characterClass.lower],
    ["[\\p{Lm}\\p{Lo}]", characterClass.letter],
    ["\\p{M}", characterClass.mark],
    ["\\p{N}", characterClass.number],
    ["\\s", characterClass.space],
    ["[\\r\\n]", characterClass.newline],
  ] as const;
  for (const [pattern, kind] of rows) {
    for (const codePoint of codePointsMatching(pattern)) classes[codePoint] = kind;
  }
  return classes;
}

const classes = packClasses(oracleClasses());
for (const [name, source] of [
  ["o200k", o200k],
  ["cl100k", cl100k],
] as const) {
  const packed = packVocabulary(tokensOf(source.bpe_ranks), classes);
  const path = new URL(`../src/tokens/data/${name}.bin.zst`, import.meta.url).pathname;
  const size = await Bun.write(path, Bun.zstdCompressSync(packed, { level: 22 }));
  console.log(
    `${name}: ${packed.length.toLocaleString("en")} bytes, packed ${size.toLocaleString("en")}`,
  );
}
