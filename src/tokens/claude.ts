/** Estimating Claude's tokens, whose tokenizer is not public, from those of o200k. */
import type { CountText } from "./count-text.ts";

/** Longer texts are looked at in this many places only, evenly spread. */
const mostLookedAt = 4096;

/** By how much the ratio rises where all of a text is in these characters: `from` code unit to `to`. */
interface Script {
  readonly from: number;
  readonly to: number;
  readonly more: number;
}

/** In order. Half of a surrogate pair, a symbol, what is not named: as ASCII letters. */
const scripts: readonly Script[] = [
  { from: 0x370, to: 0x3ff, more: 2.5 }, // Greek
  { from: 0x400, to: 0x52f, more: 0.7 }, // Cyrillic
  { from: 0x590, to: 0x7ff, more: 2.1 }, // Hebrew, Arabic
  { from: 0x900, to: 0xeff, more: 3.8 }, // India, Thailand
  { from: 0x3000, to: 0x9fff, more: 0.33 }, // China, Japan
  { from: 0xac00, to: 0xd7af, more: 1 }, // Korea
  { from: 0xff00, to: 0xffef, more: 0.33 }, // full width
];

/** Accented Latin letters weigh more than their number, up to this share: the words around them are foreign, too. */
const accented = { more: 6, most: 0.2 };

const letters = 1.15;
const punctuation = 0.85;
const digits = -1.1;
const spaces = -0.4;

function moreFor(unit: number): number {
  for (const { from, to, more } of scripts) {
    if (unit < from) return 0;
    if (unit <= to) return more;
  }
  return 0;
}

/** What to multiply o200k's count of `text` by. */
function ratioOf(text: string): number {
  const step = Math.max(1, Math.ceil(text.length / mostLookedAt));
  let seen = 0;
  let accents = 0;
  let sum = 0;
  for (let i = 0; i < text.length; i += step) {
    seen++;
    const unit = text.charCodeAt(i);
    if (unit >= 0x80) {
      if (unit < 0x250 || (unit >= 0x1e00 && unit < 0x1f00)) accents++;
      else sum += moreFor(unit);
    } else if (unit === 0x20 || unit === 0x09) {
      sum += spaces;
    } else if (unit >= 0x30 && unit <= 0x39) {
      sum += digits;
    } else if (unit > 0x20 && ((unit | 0x20) < 0x61 || (unit | 0x20) > 0x7a)) {
      sum += punctuation;
    }
  }
  if (seen === 0) return 1;
  const foreign = accented.more * Math.min(accented.most, accents / seen);
  return Math.max(1, letters + sum / seen + foreign);
}

/**
 * Tokens that Claude makes of `text`: o200k's count times a ratio by kind of text, 1.0 for numbers to 1.3 for code,
 * 1.5 for Chinese, and more for scripts that its vocabulary has few words of.
 *
 * The weights are fitted to Claude 2's published vocabulary times 1.10, which is what later models count: on English
 * prose, code and JSON off by 1.6 % at the median and 4.8 % at the 95th percentile, where one ratio for all is off
 * by 2.4 and 7.5 %. What is wrong for a newer model, the learned ratio mends.
 *
 * @param count o200k's counter
 */
export function claudeTokens(text: string, count: CountText): number {
  return Math.ceil(count(text) * ratioOf(text));
}
