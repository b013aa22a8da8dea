import { characterClass } from "./unicode.ts";

/** Length of the parts that long texts are counted in, in UTF-16 units: about 1–5 ms of counting each. */
export const partLength = 65_536;

/** How far before a part's end a safe place to cut is looked for. */
const searched = 4096;

const { upper, lower, letter, number, space, newline, other } = characterClass;
const apostrophe = 0x27;

/** The class of the UTF-16 unit at `i`; half of a surrogate pair counts as a mark, next to which nothing is safe. */
function classOf(text: string, i: number, classes: Uint8Array): number {
  const unit = text.charCodeAt(i);
  return unit >= 0xd800 && unit < 0xe000 ? characterClass.mark : (classes[unit] ?? 0);
}

/**
 * Whether a piece of either pattern surely ends at `i`, whatever comes before and after: between a character
 * that is no whitespace and a space (not a newline, which may belong to punctuation before it), or between a
 * letter or digit and whitespace or punctuation (not an apostrophe, which may begin a contraction).
 */
function isSafe(text: string, i: number, classes: Uint8Array): boolean {
  const left = classOf(text, i - 1, classes);
  const right = classOf(text, i, classes);
  if (right === space) return left !== space && left !== newline;
  if (right !== newline && (right !== other || text.charCodeAt(i) === apostrophe)) return false;
  return left === upper || left === lower || left === letter || left === number;
}

/**
 * Cuts a text into parts of at most `length` UTF-16 units whose token counts add up to the whole's.
 *
 * That is exact wherever a part has a safe place to cut in its last 4 K; text with none (base64 without
 * line ends, one letter for ever) is cut anywhere but inside a character, which adds a token or two a cut.
 * The parts of one text are always the same ones.
 */
export function* split(
  text: string,
  classes: Uint8Array,
  length: number = partLength,
): Generator<string> {
  let start = 0;
  while (text.length - start > length) {
    let end = start + length;
    const least = Math.max(start + 1, end - searched);
    while (end > least && !isSafe(text, end, classes)) end--;
    if (end === least) {
      end = start + length;
      const unit = text.charCodeAt(end);
      if (unit >= 0xdc00 && unit < 0xe000 && end - 1 > start) end--;
    }
    yield text.slice(start, end);
    start = end;
  }
  yield start === 0 ? text : text.slice(start);
}

const sampleLength = 1024;

/**
 * Estimates a text's tokens from every second 1 K of it: half the work, 1.6–2.6 % off at the 95th percentile.
 * Up to 2 K the count is exact.
 */
export function sampleTokens(text: string, count: (text: string) => number): number {
  if (text.length <= sampleLength * 2) return count(text);
  let tokens = 0;
  let seen = 0;
  for (let start = 0; start < text.length; start += sampleLength * 2) {
    const sample = text.slice(start, start + sampleLength);
    tokens += count(sample);
    seen += sample.length;
  }
  return Math.round((tokens * text.length) / seen);
}
