/**
 * The `pre_tokenizer` of a `tokenizer.json`: how a text is cut into the pieces within which pairs merge.
 *
 * Patterns that are known are read by the hand-written scanners, in linear time. Any other regular expression is
 * the runtime's own to match, on at most 512 characters at a time, so that one that backtracks costs hostile text
 * no more than a bounded factor. The file is the operator's, but the texts are not.
 */
import { UsageError } from "../errors.ts";
import { type ClassesName, loadClasses } from "./load.ts";
import { deepseekPieceEnd } from "./pieces-deepseek.ts";
import {
  cl100kPieceEnd,
  gpt2PieceEnd,
  o200kPieceEnd,
  qwenPieceEnd,
  tekkenPieceEnd,
} from "./pieces.ts";
import type { PieceEnd } from "./scan.ts";
import { split } from "./split.ts";
import { type Fields, fieldsOf, listOf, textOf, unsupported } from "./tokenizer-fields.ts";

/** Cuts pieces into smaller ones. Empty ones may be among them. */
export type CutPieces = (pieces: readonly string[]) => readonly string[];

export interface PreTokenizer {
  /** Pieces are written in the byte-level alphabet: a symbol is a byte, not a character. */
  readonly byteLevel: boolean;
  /** The scanner that does all of it on UTF-8 bytes, and its classes; null where the pattern is not known. */
  readonly scanner: { readonly pieceEnd: PieceEnd; readonly classes: Uint8Array } | null;
  /** The steps that come before the scanner, or all of them where there is none. */
  readonly cut: CutPieces;
}

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const uncased = (digits: string): string =>
  `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
const cased = (digits: string, suffix: string): string => {
  const capitals = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
  const smalls = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
  const prefix = "[^\\r\\n\\p{L}\\p{N}]?";
  return `${prefix}${capitals}*${smalls}+${suffix}|${prefix}${capitals}+${smalls}*${suffix}|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
};
const gpt2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const deepseek = [
  "\\p{N}{1,3}",
  "[一-龥\u3040-ゟ゠-ヿ]+",
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
];

interface Known {
  readonly pieceEnd: PieceEnd;
  readonly classes: ClassesName;
}

/** The scanner for each pattern that is known; several in a row are joined by a line feed. */
const known = new Map<string, Known>([
  [uncased("\\p{N}{1,3}"), { pieceEnd: cl100kPieceEnd, classes: "onig" }],
  [uncased("\\p{N}"), { pieceEnd: qwenPieceEnd, classes: "onig" }],
  [cased("\\p{N}{1,3}", `${contractions}?`), { pieceEnd: o200kPieceEnd, classes: "onig" }],
  [cased("\\p{N}", ""), { pieceEnd: tekkenPieceEnd, classes: "onig" }],
  [gpt2, { pieceEnd: gpt2PieceEnd, classes: "onig" }],
  [deepseek.join("\n"), { pieceEnd: deepseekPieceEnd, classes: "deepseek" }],
]);

/** Characters that an unknown regular expression is run on at a time. */
const matchedAtOnce = 512;

/** Oniguruma's syntax in JavaScript's, as far as it is another. */
function regexOf(source: string): RegExp {
  const translated = source
    .replace(/\\p\{(Han|Hiragana|Katakana|Hangul|Latin|Cyrillic|Thai|Arabic)\}/g, "\\p{sc=$1}")
    .replaceAll("\\h", "[0-9A-Fa-f]")
    // JavaScript's own \s has U+FEFF and lacks U+0085.
    .replaceAll("\\s", "\\p{White_Space}")
    .replaceAll("\\S", "\\P{White_Space}")
    .replaceAll("\\A", "^")
    .replaceAll("\\z", "$")
    // Possessive and greedy differ where backtracking would give something back, which split patterns avoid.
    .replace(/(?<!\\)([+*?])\+/g, "$1");
  for (const flags of ["gu", "gv"]) {
    try {
      return new RegExp(translated, flags);
    } catch {
      // The other flag may take it.
    }
  }
  throw unsupported(`The pre_tokenizer's regular expression ${JSON.stringify(source)}`);
}

type Behavior = "Removed" | "Isolated" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

const behaviors: readonly string[] = [
  "Removed",
  "Isolated",
  "MergedWithPrevious",
  "MergedWithNext",
  "Contiguous",
] satisfies Behavior[];

function behaviorOf(value: unknown): Behavior {
  const name = textOf(value ?? "Isolated", "pre_tokenizer.behavior");
  if (!behaviors.includes(name)) throw unsupported(`The pre_tokenizer's behavior ${name}`);
  return name as Behavior;
}

interface Section {
  text: string;
  matched: boolean;
}

/** A text as matches and what lies between them. */
function* sections(text: string, pattern: RegExp, invert: boolean): Generator<Section> {
  let at = 0;
  for (const { 0: match, index } of text.matchAll(pattern)) {
    if (match === "") continue;
    if (index > at) yield { text: text.slice(at, index), matched: invert };
    yield { text: match, matched: !invert };
    at = index + match.length;
  }
  if (at < text.length) yield { text: text.slice(at), matched: invert };
}

/** What `behavior` makes of the sections of a text. */
function arrange(all: Iterable<Section>, behavior: Behavior): string[] {
  const arranged: Section[] = [];
  for (const section of all) {
    const last = arranged.at(-1);
    const joins =
      last !== undefined &&
      ((behavior === "Contiguous" && last.matched === section.matched) ||
        (behavior === "MergedWithPrevious" && section.matched && !last.matched) ||
        (behavior === "MergedWithNext" && last.matched && !section.matched));
    if (behavior === "Removed" && section.matched) continue;
    if (!joins) {
      arranged.push({ ...section });
      continue;
    }
    last.text += section.text;
    // A match that has joined its neighbour ends the section, for another match to begin a new one.
    last.matched = behavior === "MergedWithPrevious" ? true : section.matched;
  }
  return arranged.map(({ text }) => text);
}

function cutBy(pattern: RegExp, behavior: Behavior, invert: boolean, bounded: boolean): CutPieces {
  const classes = bounded ? loadClasses("onig") : null;
  return (pieces) =>
    pieces.flatMap((piece) => {
      const parts = classes === null ? [piece] : [...split(piece, classes, matchedAtOnce)];
      return parts.flatMap((part) => arrange(sections(part, pattern, invert), behavior));
    });
}

/** The pattern of a `Split` as a regular expression, and whether it is one that may take long. */
function patternOf(fields: Fields): { source: string; plain: boolean } {
  const pattern = fieldsOf(fields["pattern"], "pre_tokenizer.pattern");
  if ("String" in pattern) {
    const text = textOf(pattern["String"], "pre_tokenizer.pattern.String");
    return { source: text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), plain: true };
  }
  return { source: textOf(pattern["Regex"], "pre_tokenizer.pattern.Regex"), plain: false };
}

function metaspace(fields: Fields): CutPieces {
  const replacement = textOf(fields["replacement"] ?? "▁", "pre_tokenizer.replacement");
  const scheme =
    fields["prepend_scheme"] ?? (fields["add_prefix_space"] === false ? "never" : "always");
  const parted = fields["split"] !== false;
  return (pieces) =>
    pieces.flatMap((piece, i) => {
      let text = piece.replaceAll(" ", () => replacement);
      const prepends = scheme === "always" || (scheme === "first" && i === 0);
      if (prepends && text !== "" && !text.startsWith(replacement)) text = replacement + text;
      if (!parted) return [text];
      const [first = "", ...rest] = text.split(replacement);
      return [first, ...rest.map((word) => replacement + word)].filter(Boolean);
    });
}

/** A step of a sequence, or the pattern of one that a scanner may do. */
type Step =
  | { readonly kind: "pattern"; readonly source: string }
  | { readonly kind: "bytes"; readonly prefix: boolean }
  | { readonly kind: "cut"; readonly cut: CutPieces };

const spaces = /\p{White_Space}+/gu;
/** `\w+` as Unicode has it (UTS 18, annex C). */
const words = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]+/gu;

function stepsOf(value: unknown): Step[] {
  if (value === null || value === undefined) return [];
  const fields = fieldsOf(value, "pre_tokenizer");
  const type = textOf(fields["type"], "pre_tokenizer.type");
  const cut = (pattern: RegExp, behavior: Behavior, bounded = false): Step[] => [
    { kind: "cut", cut: cutBy(pattern, behavior, false, bounded) },
  ];
  switch (type) {
    case "Sequence":
      return listOf(fields["pretokenizers"], "pre_tokenizer.pretokenizers").flatMap(stepsOf);
    case "Split": {
      const { source, plain } = patternOf(fields);
      const behavior = behaviorOf(fields["behavior"]);
      const invert = fields["invert"] === true;
      if (source === "") return [];
      // To isolate what does not match cuts at the same places.
      if (!plain && behavior === "Isolated") return [{ kind: "pattern", source }];
      const pattern = plain ? new RegExp(source, "g") : regexOf(source);
      return [{ kind: "cut", cut: cutBy(pattern, behavior, invert, !plain) }];
    }
    case "ByteLevel": {
      const bytes = { kind: "bytes", prefix: fields["add_prefix_space"] === true } as const;
      return fields["use_regex"] === false ? [bytes] : [bytes, { kind: "pattern", source: gpt2 }];
    }
    case "Digits":
      return cut(/\p{N}/gu, fields["individual_digits"] === true ? "Isolated" : "Contiguous");
    case "Punctuation":
      return cut(/[\p{P}!-/:-@[-`{-~]/gu, behaviorOf(fields["behavior"]));
    case "Whitespace":
      return cut(spaces, "Removed").concat(cut(words, "Isolated"));
    case "WhitespaceSplit":
      return cut(spaces, "Removed");
    case "Metaspace":
      return [{ kind: "cut", cut: metaspace(fields) }];
    default:
      throw unsupported(`The pre_tokenizer ${type}`);
  }
}

/** Escapes of line ends may be written out, or be the line ends themselves. */
const escaped = (source: string): string =>
  source.replaceAll("\r", () => "\\r").replaceAll("\n", () => "\\n");

/** How a `tokenizer.json` cuts texts into pieces. Throws UsageError where that is not supported. */
export function preTokenizerOf(value: unknown): PreTokenizer {
  const steps = stepsOf(value);
  const cuts: CutPieces[] = [];
  const bytes = steps.findIndex(({ kind }) => kind === "bytes");
  const byteLevel = bytes >= 0;
  const after = steps.slice(bytes + 1);
  if (byteLevel && !after.every(({ kind }) => kind === "pattern"))
    throw new UsageError("The pre_tokenizer has steps after ByteLevel, which is not supported");
  const firstPattern = steps.findIndex(({ kind }) => kind === "pattern");
  const rest = firstPattern < 0 ? [] : steps.slice(firstPattern);
  for (const step of firstPattern < 0 ? steps : steps.slice(0, firstPattern)) {
    if (step.kind === "cut") cuts.push(step.cut);
    if (step.kind === "bytes" && step.prefix)
      cuts.push((pieces) => pieces.map((piece) => piece.replace(/^(?=[^ ])/, " ")));
  }
  if (rest.some((step) => step.kind === "bytes" && step.prefix))
    throw unsupported("A pre_tokenizer that puts a space before each match");
  const patterns = rest.flatMap((step) => (step.kind === "pattern" ? [escaped(step.source)] : []));
  const scanned = byteLevel && rest.every(({ kind }) => kind !== "cut");
  const scanner = scanned ? known.get(patterns.join("\n")) : undefined;
  if (scanner === undefined) {
    for (const step of rest) {
      if (step.kind === "cut") cuts.push(step.cut);
      if (step.kind === "pattern") cuts.push(cutBy(regexOf(step.source), "Isolated", false, true));
    }
  }
  return {
    byteLevel,
    scanner:
      scanner === undefined
        ? null
        : { pieceEnd: scanner.pieceEnd, classes: loadClasses(scanner.classes) },
    cut: (pieces) => cuts.reduce((all, cut) => cut(all), pieces),
  };
}
