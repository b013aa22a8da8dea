import * as v from "valibot";
import { durationForms, parseDuration } from "./duration.ts";
import { readCidr, readDomain, readUrl } from "./domain.ts";
import type { Reading } from "./domain.ts";
import { quote } from "./redact.ts";
import { parseSize, sizeForms } from "./size.ts";
import { closest, didYouMean } from "./suggest.ts";

/** What `expected` says in the issue of an unknown key that nothing at its level resembles. */
export const strangerKey = "a known key";

/** A value read by one function: what it returns is the value or the problem. */
function field<T>(read: (input: unknown) => Reading<T>) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      const reading = read(dataset.value);
      if ("value" in reading) return reading.value;
      addIssue({ message: reading.problem });
      return NEVER;
    }),
  );
}

function isMap(input: unknown): input is Record<string, unknown> {
  return typeof input === "object" && input !== null && !Array.isArray(input);
}

/**
 * A map with these keys and no others. Every unknown key is reported, not only the first, and the values
 * beside it are still checked: valibot's own strict object stops at the first.
 */
export function section<const E extends v.ObjectEntries>(entries: E): v.ObjectSchema<E, undefined> {
  const known = Object.keys(entries);
  const schema = v.pipe(
    v.custom(isMap, (issue) => `must be a map of keys, not ${quote(issue.input)}`),
    v.looseObject(entries, "is required"),
    v.rawCheck(({ dataset, addIssue }) => {
      const input = dataset.value as Record<string, unknown>;
      for (const key of Object.keys(input).filter((name) => !known.includes(name))) {
        const meant = closest(key, known);
        const message = `unknown key${meant === null ? `; allowed here: ${known.join(", ")}` : didYouMean(key, known)}`;
        const path = [
          { type: "object" as const, origin: "key" as const, input, key, value: input[key] },
        ];
        addIssue({
          message,
          path: path as never,
          ...(meant === null ? { expected: strangerKey } : {}),
        });
      }
    }),
  );
  return { ...schema, entries } as unknown as v.ObjectSchema<E, undefined>;
}

/** A list of `item`. */
export function list<const S extends v.GenericSchema>(
  item: S,
): v.ArraySchema<S, v.ErrorMessage<v.ArrayIssue>> {
  return v.array(item, (issue) => `must be a list, as in [a, b], not ${quote(issue.input)}`);
}

/** A map whose keys are names of the user's own. */
export function named<const S extends v.GenericSchema>(
  read: (name: string) => Reading<string>,
  item: S,
) {
  const name = v.pipe(
    v.string(),
    v.rawCheck(({ dataset, addIssue }) => {
      const reading = dataset.typed ? read(dataset.value) : { value: "" };
      if ("problem" in reading) addIssue({ message: `${quote(dataset.value)} ${reading.problem}` });
    }),
  );
  const schema = v.pipe(
    v.custom(isMap, (issue) => `must be a map of names, not ${quote(issue.input)}`),
    v.record(name, item),
  );
  return { ...schema, value: item };
}

/** One text or a list of at least one, as a list. */
export function oneOrMore(read: (text: string) => Reading<string>, what: string) {
  return field<string[]>((input) => {
    const items: unknown[] = Array.isArray(input) ? input : [input];
    if (items.length === 0) return { problem: `must have at least one ${what}` };
    const values: string[] = [];
    for (const item of items) {
      if (typeof item !== "string" || item === "")
        return { problem: `must be a ${what} or a list of them, not ${quote(item)}` };
      const reading = read(item);
      if ("problem" in reading) return { problem: `${quote(item)} ${reading.problem}` };
      if (values.includes(reading.value)) return { problem: `has ${quote(reading.value)} twice` };
      values.push(reading.value);
    }
    return { value: values };
  });
}

interface NumberForm {
  min: number;
  max?: number;
  /** The smallest value itself is not allowed. */
  exclusive?: boolean;
}

/** A finite number within bounds. */
export function decimal(form: NumberForm) {
  return field<number>((input) => readNumber(input, "a number", form, Number.isFinite));
}

/** A whole number within bounds. */
export function whole(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  return field<number>((input) =>
    readNumber(input, "a whole number", { min, max }, Number.isSafeInteger),
  );
}

function readNumber(
  input: unknown,
  kind: string,
  form: NumberForm,
  accepts: (n: unknown) => boolean,
): Reading<number> {
  const { min, max = Number.MAX_SAFE_INTEGER, exclusive = false } = form;
  const number = typeof input === "number" ? input : Number.NaN;
  if (accepts(number) && number <= max && (exclusive ? number > min : number >= min))
    return { value: number };
  const upTo = max === Number.MAX_SAFE_INTEGER ? "" : `to ${max}`;
  const range = exclusive
    ? `above ${min}${upTo && `, up ${upTo}`}`
    : upTo
      ? `from ${min} ${upTo}`
      : `of at least ${min}`;
  const quoted =
    typeof input === "string" && /^\d+(\.\d+)?$/.test(input) ? "; take off the quotes" : "";
  return { problem: `must be ${kind} ${range}, not ${quote(input)}${quoted}` };
}

/** The number of a TCP port; 0, where allowed, means any free one. */
export function port(min: 0 | 1) {
  return whole(min, 65_535);
}

/** true or false. */
export function flag() {
  return field<boolean>((input) =>
    typeof input === "boolean"
      ? { value: input }
      : { problem: `must be true or false, not ${quote(input)}` },
  );
}

/** One of a few words, in any case. */
export function oneOf<const W extends string>(words: readonly W[]) {
  return field<W>((input) => {
    const word = words.find(
      (candidate) => typeof input === "string" && candidate === input.trim().toLowerCase(),
    );
    if (word !== undefined) return { value: word };
    const hint = typeof input === "string" ? didYouMean(input, words) : "";
    return {
      problem: `must be ${words.length === 1 ? "" : "one of "}${words.join(", ")}, not ${quote(input)}${hint}`,
    };
  });
}

/** Text of at least one character on one line; `read` may change or refuse it. */
export function text(read: (input: string) => Reading<string> = (input) => ({ value: input })) {
  return field<string>((input) => {
    if (typeof input === "number" || typeof input === "boolean") {
      return { problem: `must be text; put it in quotes: "${input}"` };
    }
    if (typeof input !== "string") return { problem: `must be text, not ${quote(input)}` };
    if (input.trim() === "") return { problem: "is empty" };
    if (hasControl(input)) return { problem: "must be on one line, without control characters" };
    const reading = read(input);
    return "problem" in reading ? { problem: `${quote(input)} ${reading.problem}` } : reading;
  });
}

/** Text that no message may quote: a key, a token. */
export function secret(read: (input: string) => Reading<string> = (input) => ({ value: input })) {
  return field<string>((input) => {
    if (typeof input !== "string") return { problem: "must be text; put it in quotes" };
    if (input.trim() === "") return { problem: "is empty" };
    if (hasControl(input)) return { problem: "must be on one line, without control characters" };
    return read(input);
  });
}

function hasControl(input: string): boolean {
  return /\p{Cc}/u.test(input);
}

/** The longest duration that is taken as meant: a year. */
const longestMs = 8_784 * 3_600_000;

/** A duration in milliseconds. */
export function duration(zero: "zero" | "above zero" = "above zero") {
  return field<number>((input) => {
    const ms = parseDuration(input);
    if (ms === null) return { problem: `must be ${durationForms}, not ${quote(input)}` };
    if (ms === 0 && zero === "above zero") return { problem: "must be longer than 0" };
    return ms <= longestMs
      ? { value: ms }
      : { problem: `must be a year at most, not ${quote(input)}` };
  });
}

/** A size in bytes, above zero. */
export function size() {
  return field<number>((input) => {
    const bytes = parseSize(input);
    if (bytes === null) return { problem: `must be ${sizeForms}, not ${quote(input)}` };
    return bytes > 0 ? { value: bytes } : { problem: "must be more than 0" };
  });
}

/** An exact host name, or one that may be a wildcard. */
export function domain(form: "exact" | "wildcard") {
  return text((input) => readDomain(input, { wildcard: form === "wildcard" }));
}

/** An address or a range of addresses. */
export function cidr() {
  return text(readCidr);
}

/** Where requests are sent: an http or https URL that may have a path. */
export function upstreamUrl() {
  return text((input) => readUrl(input, { schemes: ["http", "https"], path: true }));
}
