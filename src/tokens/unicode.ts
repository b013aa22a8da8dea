/**
 * The classes of characters that the split patterns of OpenAI's tokenizers tell apart. Every code point is
 * in exactly one; `\p{L}` is upper + lower + letter, `\s` is space + newline.
 */
export const characterClass = {
  /** Punctuation, symbols, controls, unassigned. */
  other: 0,
  /** `\p{Lu}`, `\p{Lt}` */
  upper: 1,
  /** `\p{Ll}` */
  lower: 2,
  /** `\p{Lm}`, `\p{Lo}` */
  letter: 3,
  /** `\p{M}` */
  mark: 4,
  /** `\p{N}` */
  number: 5,
  /** `\s` but CR and LF */
  space: 6,
  /** CR and LF */
  newline: 7,
} as const;

/**
 * The classes that DeepSeek's patterns tell apart, where they differ from the above. Numbers are shared as far as
 * the meaning is: `number` is a number in both.
 */
export const deepseekClass = {
  /** Controls, unassigned. */
  other: 0,
  /** `\p{P}`, `\p{S}` */
  symbol: 1,
  /** `[一-龥぀-ゟ゠-ヿ]`, whatever else these are */
  kana: 2,
  /** Any other `\p{L}` */
  letter: 3,
  mark: 4,
  number: 5,
  space: 6,
  newline: 7,
} as const;

/** One past the largest code point. */
export const codePoints = 0x110000;

/**
 * Unpacks the class of every code point from run lengths: LEB128 numbers, each `length << 3 | class`.
 * The runs come from the oracles' own regular expressions (`scripts/vocabulary.ts`), not from this
 * runtime's `\p{…}`: the two know different Unicode versions, and 4,600 letters would be counted otherwise.
 *
 * @returns one byte a code point, indexed by code point. Its pages of class 0 are never touched.
 */
export function unpackClasses(runs: Uint8Array): Uint8Array {
  const classes = new Uint8Array(codePoints);
  let codePoint = 0;
  let value = 0;
  let shift = 0;
  for (const byte of runs) {
    value += (byte & 0x7f) * 2 ** shift;
    shift += 7;
    if (byte & 0x80) continue;
    const length = Math.floor(value / 8);
    const kind = value % 8;
    if (kind !== 0) classes.fill(kind, codePoint, codePoint + length);
    codePoint += length;
    value = 0;
    shift = 0;
  }
  return classes;
}

/** The opposite of `unpackClasses`: run lengths of a table with one class a code point. */
export function packClasses(classes: Uint8Array): Uint8Array {
  const bytes: number[] = [];
  for (let start = 0; start < classes.length;) {
    let end = start + 1;
    while (end < classes.length && classes[end] === classes[start]) end++;
    let value = (end - start) * 8 + (classes[start] ?? 0);
    for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) | 0x80);
    bytes.push(value);
    start = end;
  }
  return Uint8Array.from(bytes);
}
