/**
 * Counting by a Hugging Face `tokenizer.json` that the operator names.
 *
 * Supported is BPE, over bytes (`ByteLevel`) or over characters as SentencePiece has it (`byte_fallback`), with the
 * normalizers and pre-tokenizers of `normalizers.ts` and `pre-tokenizers.ts`. Names of special and added tokens in
 * a text are ordinary text, since it comes from users; what a template adds around it is `family.ts`'s.
 */
import { UsageError } from "../errors.ts";
import { byteCharacters } from "./byte-level.ts";
import type { CountText } from "./count-text.ts";
import { loadClasses } from "./load.ts";
import { type Normaliser, normaliserOf } from "./normalizers.ts";
import { createPairMerger, type Pair } from "./pair-merge.ts";
import { type PreTokenizer, preTokenizerOf } from "./pre-tokenizers.ts";
import { type Fields, fieldsOf, listOf, textOf, unsupported } from "./tokenizer-fields.ts";

/** A larger file is a mistake: the largest tokenizer known has 33 MB. */
export const largestFile = 64 * 1024 * 1024;

/** Pieces kept with their count … */
const keptPieces = 16_384;
/** … if at most this long, in UTF-16 units or bytes. */
const longestKept = 24;

export interface Tokenizer {
  readonly count: CountText;
  /** Classes of characters by which long texts may be cut into parts (`split.ts`). */
  readonly classes: Uint8Array;
}

interface Model {
  readonly vocab: ReadonlyMap<string, number>;
  readonly pairs: readonly Pair[];
  /** Pieces that are tokens are not merged, even where no merges lead there. */
  readonly wholeFirst: boolean;
  readonly byteFallback: boolean;
  /** Whether there is a token for characters that are none, and whether a run of them is one token. */
  readonly unknown: "dropped" | "each" | "fused";
}

function vocabularyOf(value: unknown): Map<string, number> {
  const vocab = new Map<string, number>();
  for (const [token, id] of Object.entries(fieldsOf(value, "model.vocab"))) {
    if (!Number.isInteger(id) || (id as number) < 0)
      throw new UsageError(`model.vocab has no id for ${JSON.stringify(token)}`);
    vocab.set(token, id as number);
  }
  return vocab;
}

function pairsOf(value: unknown, vocab: ReadonlyMap<string, number>): Pair[] {
  return listOf(value, "model.merges").map((merge, i) => {
    const parts: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    if (Array.isArray(parts) && parts.length === 2) {
      const left: unknown = parts[0];
      const right: unknown = parts[1];
      if (typeof left === "string" && typeof right === "string") {
        const [first, second, merged] = [
          vocab.get(left),
          vocab.get(right),
          vocab.get(left + right),
        ];
        if (first !== undefined && second !== undefined && merged !== undefined)
          return [first, second, merged] as const;
      }
    }
    throw new UsageError(`model.merges[${i}] is not about two tokens of model.vocab`);
  });
}

function modelOf(value: unknown): Model {
  const fields: Fields = fieldsOf(value, "model");
  const type = textOf(fields["type"] ?? ("merges" in fields ? "BPE" : "?"), "model.type");
  if (type !== "BPE") throw unsupported(`The model ${type}`);
  for (const affix of ["continuing_subword_prefix", "end_of_word_suffix"]) {
    if (typeof fields[affix] === "string" && fields[affix] !== "")
      throw unsupported(`model.${affix}`);
  }
  const vocab = vocabularyOf(fields["vocab"]);
  const hasUnknown = typeof fields["unk_token"] === "string" && vocab.has(fields["unk_token"]);
  return {
    vocab,
    pairs: pairsOf(fields["merges"], vocab),
    wholeFirst: fields["ignore_merges"] === true,
    byteFallback: fields["byte_fallback"] === true,
    unknown: !hasUnknown ? "dropped" : fields["fuse_unk"] === true ? "fused" : "each",
  };
}

/** Symbols of a piece: ids, or -1 for what is unknown. */
interface Symbols {
  ids: Int32Array;
  length: number;
}

/** Counts the symbols that are left after merging. It owns scratch memory; no reentrance. */
function createSymbolCounter(model: Model): (symbols: Symbols) => number {
  const merge = createPairMerger(model.pairs);
  return (symbols) => {
    const { ids } = symbols;
    if (model.unknown === "dropped") {
      let length = 0;
      for (let i = 0; i < symbols.length; i++) {
        const id = ids[i] ?? -1;
        if (id >= 0) ids[length++] = id;
      }
      return length === 0 ? 0 : merge(ids, length);
    }
    // What is unknown is sorted out first: it merges with nothing, but parts what is on its two sides.
    let tokens = 0;
    for (let start = 0; start < symbols.length;) {
      let end = start;
      while (end < symbols.length && (ids[end] ?? 0) >= 0) end++;
      if (end > start) tokens += merge(ids.subarray(start, end), end - start);
      start = end;
      while (end < symbols.length && (ids[end] ?? 0) < 0) end++;
      if (model.unknown === "each") tokens += end - start;
      else if (end > start) tokens++;
      start = end;
    }
    return tokens;
  };
}

/** Counts the tokens of a piece over bytes: `bytes[start..end)`. */
function createBytesCounter(
  model: Model,
): (bytes: Uint8Array, start: number, end: number) => number {
  const countSymbols = createSymbolCounter(model);
  const idOf = Int32Array.from(byteCharacters, (character) => model.vocab.get(character) ?? -1);
  const symbols: Symbols = { ids: new Int32Array(1024), length: 0 };
  const longestToken = model.wholeFirst
    ? [...model.vocab.keys()].reduce((longest, { length }) => Math.max(longest, length), 0)
    : 0;
  return (bytes, start, end) => {
    const length = end - start;
    if (length <= longestToken) {
      let text = "";
      for (let i = start; i < end; i++) text += byteCharacters[bytes[i] ?? 0] ?? "";
      if (model.vocab.has(text)) return 1;
    }
    if (symbols.ids.length < length) symbols.ids = new Int32Array(length * 2);
    for (let i = 0; i < length; i++) symbols.ids[i] = idOf[bytes[start + i] ?? 0] ?? -1;
    symbols.length = length;
    return countSymbols(symbols);
  };
}

/** Counts the tokens of a piece over characters. */
function createCharactersCounter(model: Model): (piece: string) => number {
  const { vocab, wholeFirst, byteFallback } = model;
  const countSymbols = createSymbolCounter(model);
  const symbols: Symbols = { ids: new Int32Array(1024), length: 0 };
  const encoder = new TextEncoder();
  const byteIds = Int32Array.from(
    { length: 256 },
    (_, byte) => vocab.get(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`) ?? -1,
  );
  const idsOf = (character: string): readonly number[] => {
    const id = vocab.get(character);
    if (id !== undefined) return [id];
    if (!byteFallback) return [-1];
    const ids = [...encoder.encode(character)].map((byte) => byteIds[byte] ?? -1);
    return ids.includes(-1) ? [-1] : ids;
  };
  /** What each character of the first plane is, once it was met. */
  const known: (readonly number[] | undefined)[] = [];
  return (piece) => {
    if (wholeFirst && vocab.has(piece)) return 1;
    if (symbols.ids.length < piece.length * 3) symbols.ids = new Int32Array(piece.length * 6);
    let length = 0;
    for (let i = 0; i < piece.length; i++) {
      const unit = piece.charCodeAt(i);
      let ids = known[unit];
      if (ids === undefined) {
        const codePoint = piece.codePointAt(i) ?? 0;
        ids = idsOf(String.fromCodePoint(codePoint));
        if (codePoint > 0xffff) i++;
        else known[unit] = ids;
      }
      for (const id of ids) symbols.ids[length++] = id;
    }
    symbols.length = length;
    return countSymbols(symbols);
  };
}

/** Keeps the counts of short pieces: a map that is emptied when it is full. */
function kept(count: (piece: string) => number): (piece: string) => number {
  const counts = new Map<string, number>();
  return (piece) => {
    if (piece.length > longestKept) return count(piece);
    let tokens = counts.get(piece);
    if (tokens === undefined) {
      tokens = count(piece);
      if (counts.size >= keptPieces) counts.clear();
      counts.set(piece, tokens);
    }
    return tokens;
  };
}

function createCounter(
  model: Model,
  normaliser: Normaliser,
  { byteLevel, scanner, cut }: PreTokenizer,
): CountText {
  // What is no Unicode is read as U+FFFD, by encoders to UTF-8 and so here.
  const prepare = (text: string): readonly string[] => cut([normaliser(text.toWellFormed())]);
  if (!byteLevel) {
    const countPiece = kept(createCharactersCounter(model));
    return (text) => prepare(text).reduce((sum, piece) => sum + countPiece(piece), 0);
  }
  const countBytes = createBytesCounter(model);
  const encoder = new TextEncoder();
  if (scanner === null) {
    const countPiece = kept((piece) => {
      const bytes = encoder.encode(piece);
      return countBytes(bytes, 0, bytes.length);
    });
    return (text) => prepare(text).reduce((sum, piece) => sum + countPiece(piece), 0);
  }
  const countKept = keptBytes(countBytes);
  return (text) => {
    let tokens = 0;
    for (const piece of prepare(text)) {
      const bytes = encoder.encode(piece);
      for (let start = 0; start < bytes.length;) {
        const end = scanner.pieceEnd(bytes, start, bytes.length, scanner.classes);
        tokens += countKept(bytes, start, end);
        start = end;
      }
    }
    return tokens;
  };
}

/** Like `kept`, of bytes: a direct-mapped cache. A piece is kept whole: a count must never be another piece's. */
function keptBytes(
  count: (bytes: Uint8Array, start: number, end: number) => number,
): (bytes: Uint8Array, start: number, end: number) => number {
  const pieces = new Uint8Array(keptPieces * longestKept);
  const lengths = new Uint8Array(keptPieces);
  const counts = new Uint8Array(keptPieces);
  return (bytes, start, end) => {
    const length = end - start;
    if (length > longestKept) return count(bytes, start, end);
    let hash = 0;
    for (let i = start; i < end; i++)
      hash = (Math.imul(hash, 0x2c9277b5) + (bytes[i] ?? 0) + 1) | 0;
    const place = (Math.imul(hash, 0x85ebca6b) >>> 16) & (keptPieces - 1);
    const at = place * longestKept;
    if (lengths[place] === length) {
      let i = 0;
      while (i < length && pieces[at + i] === bytes[start + i]) i++;
      if (i === length) return counts[place] ?? 0;
    }
    const tokens = count(bytes, start, end);
    lengths[place] = length;
    counts[place] = tokens;
    pieces.set(bytes.subarray(start, end), at);
    return tokens;
  };
}

/**
 * The tokenizer of a `tokenizer.json`: 0.1 to 1 s of work and a few tens of megabytes.
 *
 * Counts equal those of Hugging Face's `tokenizers` for the same text, but for the names of added tokens and for
 * regular expressions that are not known here, which are matched on 512 characters at a time.
 *
 * @throws UsageError where the file is no tokenizer, or asks for something that is not supported, saying what.
 */
export function loadTokenizerJson(bytes: Uint8Array): Tokenizer {
  if (bytes.length > largestFile)
    throw new UsageError(`has ${bytes.length >> 20} MB; at most 64 MB are read`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new UsageError(`is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const file = fieldsOf(parsed, "The file");
  const preTokenizer = preTokenizerOf(file["pre_tokenizer"]);
  const normaliser = normaliserOf(file["normalizer"]);
  return {
    count: createCounter(modelOf(file["model"]), normaliser, preTokenizer),
    classes: loadClasses("onig"),
  };
}
