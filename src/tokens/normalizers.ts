/** The `normalizer` of a `tokenizer.json`: what happens to a text before it is split. */
import { type Fields, fieldsOf, listOf, textOf, unsupported } from "./tokenizer-fields.ts";
import { normalise } from "./normalise.ts";

export type Normaliser = (text: string) => string;

const nothing: Normaliser = (text) => text;

/** Regular expressions are run on texts of strangers: only one that cannot take long is let through. */
const knownPatterns = new Map([[" {2,}", / {2,}/g]]);

function replace(fields: Fields): Normaliser {
  const content = textOf(fields["content"], "normalizer.content");
  const pattern = fieldsOf(fields["pattern"], "normalizer.pattern");
  if ("String" in pattern) {
    const searched = textOf(pattern["String"], "normalizer.pattern.String");
    // As a function, or `$` would mean something.
    return searched === "" ? nothing : (text) => text.replaceAll(searched, () => content);
  }
  const source = textOf(pattern["Regex"], "normalizer.pattern.Regex");
  const known = knownPatterns.get(source);
  if (known === undefined)
    throw unsupported(`The normalizer's regular expression ${JSON.stringify(source)}`);
  return (text) => text.replace(known, () => content);
}

const space = /\p{White_Space}/u;

/** White space as Unicode has it, all of which is in the first plane; JavaScript's `trim` goes by another list. */
function strip(text: string, left: boolean, right: boolean): string {
  let start = 0;
  let end = text.length;
  while (left && start < end && space.test(text.charAt(start))) start++;
  while (right && end > start && space.test(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}

/** The function that a normalizer stands for. Throws UsageError where it is not supported. */
export function normaliserOf(value: unknown): Normaliser {
  if (value === null || value === undefined) return nothing;
  const fields = fieldsOf(value, "normalizer");
  const type = textOf(fields["type"], "normalizer.type");
  switch (type) {
    case "Sequence": {
      const all = listOf(fields["normalizers"], "normalizer.normalizers").map(normaliserOf);
      return (text) => all.reduce((normalised, each) => each(normalised), text);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => normalise(text, type);
    case "Lowercase":
      return (text) => text.toLowerCase();
    case "Strip": {
      const left = fields["strip_left"] !== false;
      const right = fields["strip_right"] !== false;
      return (text) => strip(text, left, right);
    }
    case "StripAccents":
      return (text) => text.replace(/\p{M}/gu, "");
    case "Prepend": {
      const before = textOf(fields["prepend"], "normalizer.prepend");
      return (text) => (text === "" ? text : before + text);
    }
    case "Replace":
      return replace(fields);
    default:
      throw unsupported(`The normalizer ${type}`);
  }
}
