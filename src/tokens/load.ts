import { readFileSync } from "node:fs";
import cl100kPath from "./data/cl100k.bin.zst" with { type: "file" };
import classesPath from "./data/classes.bin.zst" with { type: "file" };
import deepseekPath from "./data/deepseek.bin.zst" with { type: "file" };
import deepseekClassesPath from "./data/deepseek-classes.bin.zst" with { type: "file" };
import llama3Path from "./data/llama3.bin.zst" with { type: "file" };
import o200kPath from "./data/o200k.bin.zst" with { type: "file" };
import qwen3Path from "./data/qwen3.bin.zst" with { type: "file" };
import type { NormalForm } from "./normalise.ts";
import { deepseekPieceEnd } from "./pieces-deepseek.ts";
import { cl100kPieceEnd, o200kPieceEnd, qwenPieceEnd } from "./pieces.ts";
import type { PieceEnd } from "./scan.ts";
import { unpackClasses } from "./unicode.ts";
import { buildVocabulary, type Vocabulary } from "./vocabulary.ts";

/** The vocabularies that Cooldown carries. Their licences: `data/NOTICE.md`. */
export type VocabularyName = "o200k" | "cl100k" | "llama3" | "qwen3" | "deepseek";

interface Source {
  readonly path: string;
  readonly pieceEnd: PieceEnd;
  /** Where the classes of characters are: with the vocabulary, or in a file of their own. */
  readonly classes: ClassesName | null;
  /** What the tokenizer does to a text before it splits it. */
  readonly form: NormalForm | null;
}

const sources = {
  o200k: { path: o200kPath, pieceEnd: o200kPieceEnd, classes: null, form: null },
  cl100k: { path: cl100kPath, pieceEnd: cl100kPieceEnd, classes: null, form: null },
  llama3: { path: llama3Path, pieceEnd: cl100kPieceEnd, classes: "onig", form: null },
  qwen3: { path: qwen3Path, pieceEnd: qwenPieceEnd, classes: "onig", form: "NFC" },
  deepseek: { path: deepseekPath, pieceEnd: deepseekPieceEnd, classes: "deepseek", form: null },
} satisfies Record<VocabularyName, Source>;

/**
 * Classes of characters as Oniguruma knows them, whose Unicode version is another than that of OpenAI's
 * tokenizers: for the patterns of those, and for DeepSeek's.
 */
export type ClassesName = "onig" | "deepseek";

const classPaths = {
  onig: classesPath,
  deepseek: deepseekClassesPath,
} satisfies Record<ClassesName, string>;

const loadedClasses = new Map<ClassesName, Uint8Array>();
const loaded = new Map<VocabularyName, Vocabulary>();

const read = (path: string): Uint8Array => Bun.zstdDecompressSync(readFileSync(path));

/** The class of every code point, read at the first call, then kept: a megabyte. */
export function loadClasses(name: ClassesName): Uint8Array {
  let classes = loadedClasses.get(name);
  if (classes === undefined) {
    classes = unpackClasses(read(classPaths[name]));
    loadedClasses.set(name, classes);
  }
  return classes;
}

/**
 * The vocabulary of that name: read, uncompressed and built at the first call (13–35 ms), then kept.
 * Synchronous, also in the compiled executable, where the path names a file inside it.
 */
export function loadVocabulary(name: VocabularyName): Vocabulary {
  let vocabulary = loaded.get(name);
  if (vocabulary === undefined) {
    const { path, pieceEnd, classes, form }: Source = sources[name];
    vocabulary = buildVocabulary(
      read(path),
      pieceEnd,
      form,
      classes === null ? null : loadClasses(classes),
    );
    loaded.set(name, vocabulary);
  }
  return vocabulary;
}
