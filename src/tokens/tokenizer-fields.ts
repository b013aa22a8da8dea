/** Reading the fields of a `tokenizer.json`, which may hold anything. */
import { UsageError } from "../errors.ts";

export type Fields = Readonly<Record<string, unknown>>;

/** The object `value`; throws UsageError where it is none. */
export function fieldsOf(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new UsageError(`${what} is not an object`);
  return value as Fields;
}

/** The list `value`; throws UsageError where it is none. */
export function listOf(value: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new UsageError(`${what} is not a list`);
  return value;
}

/** The text `value`; throws UsageError where it is none. */
export function textOf(value: unknown, what: string): string {
  if (typeof value !== "string") throw new UsageError(`${what} is not a text`);
  return value;
}

/** Says that a tokenizer asks for something that is not built. */
export function unsupported(what: string): UsageError {
  return new UsageError(
    `${what} is not supported. Supported are byte-level and SentencePiece-style BPE; leave the tokenizer out to count with the nearest vocabulary and a learned ratio`,
  );
}
