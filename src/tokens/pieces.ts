/**
 * Splitting text into pieces as the split patterns of cl100k_base and o200k_base do, without a regular
 * expression: each function answers where the piece that begins at `start` ends. Input is valid UTF-8;
 * every piece has at least one byte; time is linear, as a character is looked at a few times at most.
 *
 * The patterns (`@dqbd/tiktoken/encoders/*.json`) are alternatives tried in order, with backtracking; the
 * comments below say which alternative a line stands for and why no other can win there. Other models took
 * one of the two over, whole or with another number of digits.
 */
import { before, characterLength, classAt, type PieceEnd, runEnd } from "./scan.ts";
import { characterClass } from "./unicode.ts";

const { other, upper, lower, letter, mark, number, space, newline } = characterClass;

const lettersMask = (1 << upper) | (1 << lower) | (1 << letter);
const wordStartMask = (1 << upper) | (1 << letter) | (1 << mark);
const wordEndMask = (1 << lower) | (1 << letter) | (1 << mark);
const wordMask = lettersMask | (1 << mark);
const symbolMask = (1 << other) | (1 << mark);
const spaceMask = (1 << space) | (1 << newline);

const apostrophe = 0x27;
const slash = 0x2f;

/** `(?i:'s|'t|'re|'ve|'m|'ll|'d)?` at `i`: its end, `i` where there is none. Case folding makes U+017F an s. */
function contractionEnd(bytes: Uint8Array, i: number, end: number): number {
  if (i + 1 >= end || bytes[i] !== apostrophe) return i;
  const first = (bytes[i + 1] ?? 0) | 0x20;
  const second = i + 2 < end ? (bytes[i + 2] ?? 0) : 0;
  switch (first) {
    case 0x73: // s
    case 0x74: // t
    case 0x6d: // m
    case 0x64: // d
      return i + 2;
    case 0x72: // re
    case 0x76: // ve
      return (second | 0x20) === 0x65 ? i + 3 : i;
    case 0x6c: // ll
      return (second | 0x20) === 0x6c ? i + 3 : i;
    default:
      return bytes[i + 1] === 0xc5 && second === 0xbf ? i + 3 : i;
  }
}

/**
 * Most pieces there are, in a loop of their own: a space, perhaps, and small ASCII letters, before something that all
 * patterns end a word at. Its end; 0 where it is something else.
 */
function plainWordEnd(bytes: Uint8Array, start: number, end: number): number {
  const word = bytes[start] === 0x20 ? start + 1 : start;
  let i = word;
  let byte = 0;
  while (i < end && (byte = bytes[i] ?? 0) >= 0x61 && byte <= 0x7a) i++;
  if (i === word) return 0;
  // Another letter may follow, or a contraction.
  return i === end || (byte < 0x41 && byte !== apostrophe) ? i : 0;
}

/** A word's contraction at `i`, where the pattern has them: its end, `i` where there is none. */
function suffixEnd(bytes: Uint8Array, i: number, end: number, contractions: boolean): number {
  return contractions ? contractionEnd(bytes, i, end) : i;
}

/** `\p{N}{1,most}` */
export function numberEnd(
  bytes: Uint8Array,
  start: number,
  end: number,
  classes: Uint8Array,
  most: number,
): number {
  let i = start + characterLength(bytes[start] ?? 0);
  for (
    let digits = 1;
    digits < most && i < end && classAt(bytes, i, classes) === number;
    digits++
  ) {
    i += characterLength(bytes[i] ?? 0);
  }
  return i;
}

/** `\s*[\r\n]+|\s+(?!\S)|\s+`: through the last newline of the run; else all of it but the last character. */
function whitespaceEnd(bytes: Uint8Array, start: number, end: number, classes: Uint8Array): number {
  const stop = runEnd(bytes, start, end, classes, spaceMask);
  for (let i = stop; i > start; i--) {
    const byte = bytes[i - 1];
    if (byte === 0x0a || byte === 0x0d) return i;
  }
  if (stop === end) return stop;
  const last = before(bytes, stop);
  return last > start ? last : stop;
}

/**
 * The end of `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+` at `i`, else that of
 * `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+` negated (the first alternative has failed), else 0.
 */
function wordEnd(bytes: Uint8Array, i: number, end: number, classes: Uint8Array): number {
  const stop = runEnd(bytes, i, end, classes, wordStartMask);
  if (stop < end && classAt(bytes, stop, classes) === lower) {
    return runEnd(bytes, stop, end, classes, wordEndMask);
  }
  // Backtracking: the first class gives back characters until one is in the second class too.
  for (let last = stop; last > i;) {
    const previous = before(bytes, last);
    if (classAt(bytes, previous, classes) !== upper) return last;
    last = previous;
  }
  return stop > i ? -stop : 0;
}

/** ` ?[^\s\p{L}\p{N}]+[\r\n]*`, with the slash among the last for o200k: the end of what follows the space. */
function symbolsEnd(
  bytes: Uint8Array,
  i: number,
  end: number,
  classes: Uint8Array,
  slashes: boolean,
): number {
  i = runEnd(bytes, i, end, classes, symbolMask);
  while (i < end && (bytes[i] === 0x0a || bytes[i] === 0x0d || (slashes && bytes[i] === slash)))
    i++;
  return i;
}

/** The split pattern of o200k_base, but for the most digits in a piece, and contractions only where asked for. */
function casedEnd(
  bytes: Uint8Array,
  start: number,
  end: number,
  classes: Uint8Array,
  digits: number,
  contractions: boolean,
): number {
  const plain = plainWordEnd(bytes, start, end);
  if (plain > 0) return plain;
  const lead = bytes[start] ?? 0;
  const kind = classAt(bytes, start, classes);
  if ((lettersMask >> kind) & 1) {
    return suffixEnd(bytes, Math.abs(wordEnd(bytes, start, end, classes)), end, contractions);
  }
  if (kind === number) return numberEnd(bytes, start, end, classes, digits);
  const next = start + characterLength(lead);
  const nextKind = next < end ? classAt(bytes, next, classes) : newline;
  if (kind !== newline && (wordMask >> nextKind) & 1) {
    const word = wordEnd(bytes, next, end, classes);
    // A mark is both a prefix and a word by itself: the latter wins over the second alternative.
    if (word > 0 || kind !== mark) return suffixEnd(bytes, Math.abs(word), end, contractions);
  }
  if (kind === mark) return suffixEnd(bytes, next, end, contractions);
  if (kind === other) return symbolsEnd(bytes, start, end, classes, true);
  if (lead === 0x20 && nextKind === other) return symbolsEnd(bytes, next, end, classes, true);
  return whitespaceEnd(bytes, start, end, classes);
}

/** The split pattern of o200k_base. */
export const o200kPieceEnd: PieceEnd = (bytes, start, end, classes) =>
  casedEnd(bytes, start, end, classes, 3, true);

/** Mistral's split pattern (Tekken): o200k_base's without contractions and with each digit by itself. */
export const tekkenPieceEnd: PieceEnd = (bytes, start, end, classes) =>
  casedEnd(bytes, start, end, classes, 1, false);

/** The split pattern of cl100k_base, but for the most digits in a piece. */
function uncasedEnd(
  bytes: Uint8Array,
  start: number,
  end: number,
  classes: Uint8Array,
  digits: number,
): number {
  const plain = plainWordEnd(bytes, start, end);
  if (plain > 0) return plain;
  const lead = bytes[start] ?? 0;
  const contraction = contractionEnd(bytes, start, end);
  if (contraction > start) return contraction;
  const kind = classAt(bytes, start, classes);
  if ((lettersMask >> kind) & 1) return runEnd(bytes, start, end, classes, lettersMask);
  if (kind === number) return numberEnd(bytes, start, end, classes, digits);
  const next = start + characterLength(lead);
  const nextKind = next < end ? classAt(bytes, next, classes) : newline;
  if (kind !== newline && (lettersMask >> nextKind) & 1)
    return runEnd(bytes, next, end, classes, lettersMask);
  if ((symbolMask >> kind) & 1) return symbolsEnd(bytes, start, end, classes, false);
  if (lead === 0x20 && (symbolMask >> nextKind) & 1)
    return symbolsEnd(bytes, next, end, classes, false);
  return whitespaceEnd(bytes, start, end, classes);
}

/** The split pattern of cl100k_base, which Llama 3 took over as it is. */
export const cl100kPieceEnd: PieceEnd = (bytes, start, end, classes) =>
  uncasedEnd(bytes, start, end, classes, 3);

/** Qwen's split pattern: cl100k_base's with each digit by itself. */
export const qwenPieceEnd: PieceEnd = (bytes, start, end, classes) =>
  uncasedEnd(bytes, start, end, classes, 1);

/** `'s|'t|'re|'ve|'m|'ll|'d` at `i`, in lower case only: its end, `i` where there is none. */
function lowerContractionEnd(bytes: Uint8Array, i: number, end: number): number {
  const stop = contractionEnd(bytes, i, end);
  for (let at = i + 1; at < stop; at++) {
    const byte = bytes[at] ?? 0;
    if (byte < 0x61 || byte > 0x7a) return i;
  }
  return stop;
}

/** `\s+(?!\S)|\s+`: all of the run but its last character, unless the text ends with it. */
function plainWhitespaceEnd(
  bytes: Uint8Array,
  start: number,
  end: number,
  classes: Uint8Array,
): number {
  const stop = runEnd(bytes, start, end, classes, spaceMask);
  if (stop === end) return stop;
  const last = before(bytes, stop);
  return last > start ? last : stop;
}

/** GPT-2's split pattern, which `ByteLevel` means by `use_regex`: a space belongs to any kind of run after it. */
export const gpt2PieceEnd: PieceEnd = (bytes, start, end, classes) => {
  const contraction = lowerContractionEnd(bytes, start, end);
  if (contraction > start) return contraction;
  const from = bytes[start] === 0x20 && start + 1 < end ? start + 1 : start;
  const kind = classAt(bytes, from, classes);
  if ((lettersMask >> kind) & 1) return runEnd(bytes, from, end, classes, lettersMask);
  if (kind === number) return runEnd(bytes, from, end, classes, 1 << number);
  if ((symbolMask >> kind) & 1) return runEnd(bytes, from, end, classes, symbolMask);
  return plainWhitespaceEnd(bytes, start, end, classes);
};
