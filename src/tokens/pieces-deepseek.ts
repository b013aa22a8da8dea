/**
 * Splitting text as DeepSeek V3 does, whose tokenizer applies three patterns one after the other, each to what
 * the one before has left: digits by threes; runs of Chinese characters and Japanese kana; and
 *
 *     [!-/:-@[-`{-~][A-Za-z]+ | [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+ | ?[\p{P}\p{S}]+[\r\n]* | \s*[\r\n]+
 *     | \s+(?!\S) | \s+
 *
 * What no alternative matches (controls, unassigned characters) becomes a piece up to the next match.
 * One scan does all three: to the third pattern, digits and kana are where its text ends.
 */
import { numberEnd } from "./pieces.ts";
import { before, characterLength, classAt, type PieceEnd, runEnd } from "./scan.ts";
import { deepseekClass } from "./unicode.ts";

const { other, symbol, kana, letter, mark, number, space, newline } = deepseekClass;

const wordMask = (1 << letter) | (1 << mark);
const spaceMask = (1 << space) | (1 << newline);
const kanaMask = 1 << kana;
const symbolMask = 1 << symbol;

function isAsciiLetter(byte: number): boolean {
  const folded = byte | 0x20;
  return folded >= 0x61 && folded <= 0x7a;
}

/** ` ?[\p{P}\p{S}]+[\r\n]*`: the end of what follows the space. */
function symbolsEnd(bytes: Uint8Array, i: number, end: number, classes: Uint8Array): number {
  i = runEnd(bytes, i, end, classes, symbolMask);
  while (i < end && (bytes[i] === 0x0a || bytes[i] === 0x0d)) i++;
  return i;
}

/** `\s*[\r\n]+|\s+(?!\S)|\s+`, where digits and kana are the text's end. */
function whitespaceEnd(bytes: Uint8Array, start: number, end: number, classes: Uint8Array): number {
  const stop = runEnd(bytes, start, end, classes, spaceMask);
  for (let i = stop; i > start; i--) {
    const byte = bytes[i - 1];
    if (byte === 0x0a || byte === 0x0d) return i;
  }
  if (stop === end) return stop;
  const next = classAt(bytes, stop, classes);
  if (next === number || next === kana) return stop;
  const last = before(bytes, stop);
  return last > start ? last : stop;
}

/** The end of what no alternative matches: the last character of the run may be a word's prefix. */
function unmatchedEnd(bytes: Uint8Array, start: number, end: number, classes: Uint8Array): number {
  const stop = runEnd(bytes, start, end, classes, 1 << other);
  if (stop === end || ((wordMask >> classAt(bytes, stop, classes)) & 1) === 0) return stop;
  return before(bytes, stop);
}

/** The split patterns of DeepSeek V3. Its classes are those of `deepseekClass`. */
export const deepseekPieceEnd: PieceEnd = (bytes, start, end, classes) => {
  const lead = bytes[start] ?? 0;
  const kind = classAt(bytes, start, classes);
  if ((wordMask >> kind) & 1) return runEnd(bytes, start, end, classes, wordMask);
  if (kind === number) return numberEnd(bytes, start, end, classes, 3);
  if (kind === kana) return runEnd(bytes, start, end, classes, kanaMask);
  const next = start + characterLength(lead);
  const nextKind = next < end ? classAt(bytes, next, classes) : newline;
  if (kind === symbol) {
    if (lead >= 0x80 || next === end || !isAsciiLetter(bytes[next] ?? 0))
      return symbolsEnd(bytes, start, end, classes);
    let i = next + 1;
    while (i < end && isAsciiLetter(bytes[i] ?? 0)) i++;
    return i;
  }
  if (kind !== newline && (wordMask >> nextKind) & 1)
    return runEnd(bytes, next, end, classes, wordMask);
  if (lead === 0x20 && nextKind === symbol) return symbolsEnd(bytes, next, end, classes);
  if (kind === other) return unmatchedEnd(bytes, start, end, classes);
  return whitespaceEnd(bytes, start, end, classes);
};
