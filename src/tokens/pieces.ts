/**
 * Splitting text into pieces as the split patterns of cl100k_base and o200k_base do, without a regular
 * expression: each function answers where the piece that begins at `start` ends. Input is valid UTF-8;
 * every piece has at least one byte; time is linear, as a character is looked at a few times at most.
 *
 * The patterns (`@dqbd/tiktoken/encoders/*.json`) are alternatives tried in order, with backtracking; the
 * comments below say which alternative a line stands for and why no other can win there.
 */
import { characterClass } from "./unicode.ts";

/** Where the piece ends that starts at `start`; `start < end`, the text being `bytes[0..end)`. */
export type PieceEnd = (
  bytes: Uint8Array,
  start: number,
  end: number,
  classes: Uint8Array,
) => number;

const { other, upper, lower, letter, mark, number, space, newline } = characterClass;

const lettersMask = (1 << upper) | (1 << lower) | (1 << letter);
const wordStartMask = (1 << upper) | (1 << letter) | (1 << mark);
const wordEndMask = (1 << lower) | (1 << letter) | (1 << mark);
const wordMask = lettersMask | (1 << mark);
const symbolMask = (1 << other) | (1 << mark);
const spaceMask = (1 << space) | (1 << newline);

const apostrophe = 0x27;
const slash = 0x2f;

/** Bytes of the character that starts with `lead`. */
function characterLength(lead: number): number {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** The code point at `i`, whose lead byte is not ASCII. */
function codePointAt(bytes: Uint8Array, i: number, lead: number): number {
  const second = (bytes[i + 1] ?? 0) & 0x3f;
  if (lead < 0xe0) return ((lead & 0x1f) << 6) | second;
  const third = (bytes[i + 2] ?? 0) & 0x3f;
  if (lead < 0xf0) return ((lead & 0x0f) << 12) | (second << 6) | third;
  return ((lead & 0x07) << 18) | (second << 12) | (third << 6) | ((bytes[i + 3] ?? 0) & 0x3f);
}

/** The class of the character at `i`. */
function classAt(bytes: Uint8Array, i: number, classes: Uint8Array): number {
  const lead = bytes[i] ?? 0;
  return classes[lead < 0x80 ? lead : codePointAt(bytes, i, lead)] ?? 0;
}

/** The end of the run of characters from `i` on whose class is in `mask`. */
function runEnd(
  bytes: Uint8Array,
  i: number,
  end: number,
  classes: Uint8Array,
  mask: number,
): number {
  while (i < end) {
    const lead = bytes[i] ?? 0;
    const kind = classes[lead < 0x80 ? lead : codePointAt(bytes, i, lead)] ?? 0;
    if (((mask >> kind) & 1) === 0) return i;
    i += characterLength(lead);
  }
  return end;
}

/** The start of the character before `i`. */
function before(bytes: Uint8Array, i: number): number {
  do i--;
  while (((bytes[i] ?? 0) & 0xc0) === 0x80);
  return i;
}

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

/** `\p{N}{1,3}` */
function numberEnd(bytes: Uint8Array, start: number, end: number, classes: Uint8Array): number {
  let i = start + characterLength(bytes[start] ?? 0);
  for (let digits = 1; digits < 3 && i < end && classAt(bytes, i, classes) === number; digits++) {
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

/** The split pattern of o200k_base. */
export const o200kPieceEnd: PieceEnd = (bytes, start, end, classes) => {
  const lead = bytes[start] ?? 0;
  const kind = classAt(bytes, start, classes);
  if ((lettersMask >> kind) & 1) {
    return contractionEnd(bytes, Math.abs(wordEnd(bytes, start, end, classes)), end);
  }
  if (kind === number) return numberEnd(bytes, start, end, classes);
  const next = start + characterLength(lead);
  const nextKind = next < end ? classAt(bytes, next, classes) : newline;
  if (kind !== newline && (wordMask >> nextKind) & 1) {
    const word = wordEnd(bytes, next, end, classes);
    // A mark is both a prefix and a word by itself: the latter wins over the second alternative.
    if (word > 0 || kind !== mark) return contractionEnd(bytes, Math.abs(word), end);
  }
  if (kind === mark) return contractionEnd(bytes, next, end);
  if (kind === other) return symbolsEnd(bytes, start, end, classes, true);
  if (lead === 0x20 && nextKind === other) return symbolsEnd(bytes, next, end, classes, true);
  return whitespaceEnd(bytes, start, end, classes);
};

/** The split pattern of cl100k_base. */
export const cl100kPieceEnd: PieceEnd = (bytes, start, end, classes) => {
  const lead = bytes[start] ?? 0;
  const contraction = contractionEnd(bytes, start, end);
  if (contraction > start) return contraction;
  const kind = classAt(bytes, start, classes);
  if ((lettersMask >> kind) & 1) return runEnd(bytes, start, end, classes, lettersMask);
  if (kind === number) return numberEnd(bytes, start, end, classes);
  const next = start + characterLength(lead);
  const nextKind = next < end ? classAt(bytes, next, classes) : newline;
  if (kind !== newline && (lettersMask >> nextKind) & 1)
    return runEnd(bytes, next, end, classes, lettersMask);
  if ((symbolMask >> kind) & 1) return symbolsEnd(bytes, start, end, classes, false);
  if (lead === 0x20 && (symbolMask >> nextKind) & 1)
    return symbolsEnd(bytes, next, end, classes, false);
  return whitespaceEnd(bytes, start, end, classes);
};
