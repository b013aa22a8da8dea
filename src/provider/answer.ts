import type { Dialect, Usage } from "./dialect.ts";
import { objectAt, parsed } from "./scan.ts";

/** Answers up to this size, in characters, are parsed whole; of larger ones only the usage at their end is. */
const largestParsed = 256 * 1024;

/** What a JSON answer tells. */
export interface AnswerEnd {
  /** Null where the answer reports none. */
  usage: Usage | null;
  /** Whether it stopped because its cap on output was reached; false where the answer is too large to look. */
  stoppedForLength: boolean;
}

/**
 * Reads a JSON answer. Embeddings and images can be megabytes with the usage behind them: parsing all that
 * would hold everything else up.
 * @param bytes not compressed
 * @param isWhole whether that is all; else it is the end
 */
export function readAnswer(dialect: Dialect, bytes: Uint8Array, isWhole = true): AnswerEnd {
  const text = new TextDecoder().decode(bytes);
  if (isWhole && text.length <= largestParsed) {
    const answer = parsed(text);
    return { usage: dialect.usageOf(answer), stoppedForLength: dialect.stoppedForLength(answer) };
  }
  const found = objectAt(text, dialect.usageKey);
  return {
    usage: found === null ? null : dialect.usageOf({ [dialect.usageKey]: found }),
    stoppedForLength: false,
  };
}
