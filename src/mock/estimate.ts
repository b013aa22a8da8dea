/**
 * About how many tokens a text has: a word of up to eight letters is one, three digits are one, every other
 * visible character is one. Linear, and close to a BPE vocabulary on English prose; the simulator must agree
 * with itself, not with any real tokenizer.
 */
export function estimateTokens(text: string): number {
  let tokens = 0;
  let letters = 0;
  let digits = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    const isLetter = (code >= 97 && code <= 122) || (code >= 65 && code <= 90);
    const isDigit = code >= 48 && code <= 57;
    letters = isLetter ? letters + 1 : 0;
    digits = isDigit ? digits + 1 : 0;
    if (isLetter) tokens += letters % 8 === 1 ? 1 : 0;
    else if (isDigit) tokens += digits % 3 === 1 ? 1 : 0;
    else if (code > 32) tokens++;
  }
  return tokens;
}

// Each with the space before it is one token in the usual vocabularies, so a text of n of them counts as n.
const words =
  " the way of a river is to find its own level and then go on with no wish for more".match(
    / \w+/g,
  ) ?? [" the"];

/** A piece of output text: the tokens from number `from` to before number `to`, one word each. */
export function outputText(from: number, to: number): string {
  let text = "";
  for (let index = from; index < to; index++) text += words[index % words.length] ?? "";
  return from === 0 ? text.trimStart() : text;
}
