/** All there is to count with, by name: what Cooldown carries, what it estimates, and files that the operator names. */
import { readFileSync } from "node:fs";
import { UsageError } from "../errors.ts";
import { textCounter } from "./bpe.ts";
import { claudeTokens } from "./claude.ts";
import { loadClasses, loadVocabulary, type VocabularyName } from "./load.ts";
import { loadTokenizerJson, type Tokenizer } from "./tokenizer-json.ts";

/**
 * Names a tokenizer, in this thread and in the one for long texts: a vocabulary, an estimator, or a file by the hash
 * of what was in it and its path.
 */
export type TokenizerName = VocabularyName | "claude" | `file:${string}:${string}`;

const opened = new Map<TokenizerName, Tokenizer>();

/** What a file's name begins with before the hash, and the length of the hash. */
const filePrefix = "file:";
const hashLength = 16;

function pathOf(name: TokenizerName): string {
  return name.slice(filePrefix.length + hashLength + 1);
}

/**
 * Reads a `tokenizer.json` (0.1 to 1 s) and keeps it, instead of what was read from this path before.
 *
 * @throws UsageError where it cannot be read or used, saying why and which file.
 */
export function openTokenizer(path: string): TokenizerName {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new UsageError(
      `The tokenizer ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const hash = Bun.hash.wyhash(bytes).toString(16).padStart(hashLength, "0");
  const name: TokenizerName = `file:${hash}:${path}`;
  if (opened.has(name)) return name;
  let tokenizer: Tokenizer;
  try {
    tokenizer = loadTokenizerJson(bytes);
  } catch (error) {
    if (error instanceof UsageError)
      throw new UsageError(`The tokenizer ${path} cannot be used: ${error.message}`);
    throw error;
  }
  for (const other of opened.keys())
    if (other.startsWith(filePrefix) && pathOf(other) === path) opened.delete(other);
  opened.set(name, tokenizer);
  return name;
}

function build(name: VocabularyName | "claude"): Tokenizer {
  if (name === "claude") {
    const count = textCounter("o200k");
    return { count: (text) => claudeTokens(text, count), classes: loadVocabulary("o200k").classes };
  }
  const { classes } = loadVocabulary(name);
  // DeepSeek's classes are its scanner's own: texts are cut by everybody's.
  return { count: textCounter(name), classes: name === "deepseek" ? loadClasses("onig") : classes };
}

/**
 * The tokenizer of that name, loaded at the first call: a vocabulary in 15–50 ms.
 *
 * @throws UsageError for a file that can no longer be read, where it was not read before.
 */
export function tokenizerNamed(name: TokenizerName): Tokenizer {
  const known = opened.get(name);
  if (known !== undefined) return known;
  if (name.startsWith(filePrefix)) {
    // Another thread has opened it; should the file be another one by now, what it holds has to do.
    const now = openTokenizer(pathOf(name));
    const tokenizer = opened.get(now);
    if (tokenizer === undefined) throw new UsageError(`There is no tokenizer ${name}`);
    return tokenizer;
  }
  const tokenizer = build(name as VocabularyName | "claude");
  opened.set(name, tokenizer);
  return tokenizer;
}
