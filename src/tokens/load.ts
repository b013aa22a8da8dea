import { readFileSync } from "node:fs";
import cl100kPath from "./data/cl100k.bin.zst" with { type: "file" };
import o200kPath from "./data/o200k.bin.zst" with { type: "file" };
import { cl100kPieceEnd, o200kPieceEnd, type PieceEnd } from "./pieces.ts";
import { buildVocabulary, type Vocabulary } from "./vocabulary.ts";

/** The vocabularies that Cooldown carries. */
export type VocabularyName = "o200k" | "cl100k";

const sources = {
  o200k: { path: o200kPath, pieceEnd: o200kPieceEnd },
  cl100k: { path: cl100kPath, pieceEnd: cl100kPieceEnd },
} satisfies Record<VocabularyName, { path: string; pieceEnd: PieceEnd }>;

const loaded = new Map<VocabularyName, Vocabulary>();

/**
 * The vocabulary of that name: read, uncompressed and built at the first call (13–35 ms), then kept.
 * Synchronous, also in the compiled executable, where the path names a file inside it.
 */
export function loadVocabulary(name: VocabularyName): Vocabulary {
  let vocabulary = loaded.get(name);
  if (vocabulary === undefined) {
    const { path, pieceEnd } = sources[name];
    vocabulary = buildVocabulary(Bun.zstdDecompressSync(readFileSync(path)), pieceEnd);
    loaded.set(name, vocabulary);
  }
  return vocabulary;
}
