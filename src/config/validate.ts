import * as v from "valibot";
import { UsageError } from "../errors.ts";
import { checkTogether, warningsFor } from "./together.ts";
import { pathText } from "./document.ts";
import type { Path, SourceDocument } from "./document.ts";
import { strangerKey } from "./fields.ts";
import { quote } from "./redact.ts";
import { configSchema, schemaKeys } from "./schema.ts";
import type { Override } from "./settings.ts";

type Checked = v.InferOutput<typeof configSchema>;

/** One thing that is wrong: where it stands in the file, or by what it was given outside it. */
interface Finding {
  offset: number;
  /** Flag or variable, or null for the file. */
  origin: string | null;
  path: Path;
  message: string;
}

/** No more problems are listed than a screen takes. */
const mostShown = 50;

/**
 * Checks a parsed file with what flags and environment put over it.
 *
 * @param shown the file's name for messages
 * @throws UsageError that lists everything that is wrong, in the order of the file, a line each
 */
export function checkConfig(
  document: SourceDocument,
  shown: string,
  given: readonly Override[],
): { config: Checked; warnings: string[] } {
  const origins = new Map(given.map(({ key, origin }) => [key, origin]));
  const findings: Finding[] = document.problems.map((problem) => ({ ...problem, origin: null }));
  const doubtful = new Set(document.problems.map(({ path }) => pathText(path)));
  const report = (path: Path, message: string, part: "key" | "value" = "value"): void => {
    if (doubtful.has(pathText(path))) return;
    const origin = path
      .map((_, index) => origins.get(pathText(path.slice(0, index + 1))))
      .find((name) => name !== undefined);
    findings.push({
      offset: origin === undefined ? document.locate(path, part) : 0,
      origin: origin ?? null,
      path,
      message,
    });
  };

  const input = structuredClone(document.value);
  if (!document.broken) {
    for (const { key, value } of given) put(input, key.split("."), value);
    const result = parse(input, new Set([...origins.keys(), ...document.written.keys()]));
    for (const issue of result.issues ?? []) {
      const path = (issue.path ?? []).map(({ key }) => key as string | number);
      const written = document.written.get(pathText(path));
      // What came from the environment may be secret: say the variable's name, not its value.
      const message =
        written === undefined
          ? issue.message
          : issue.message.replaceAll(quote(issue.input), quote(written));
      report(path, explain(message, issue), issue.path?.at(-1)?.origin === "key" ? "key" : "value");
    }
    checkTogether(result.output, report);
    if (result.success && findings.length === 0)
      return { config: result.output, warnings: warningsFor(result.output) };
  }
  throw new UsageError(listing(findings, document, shown));
}

/**
 * Values from the environment are text; where the schema wants a number or true and false, and the text is
 * one, it is taken as one. So is a number with `_` between its digits, which YAML 1.2 reads as text.
 */
function parse(
  input: unknown,
  fromText: ReadonlySet<string>,
): v.SafeParseResult<typeof configSchema> {
  const first = v.safeParse(configSchema, input);
  let changed = false;
  for (const issue of first.issues ?? []) {
    const path = (issue.path ?? []).map(({ key }) => key as string | number);
    if (typeof issue.input !== "string" || issue.path?.at(-1)?.origin === "key") continue;
    const word = issue.input
      .trim()
      .toLowerCase()
      .replaceAll(/(?<=\d)_(?=\d)/g, "");
    if (!fromText.has(pathText(path)) || !/^(true|false|-?\d+(\.\d+)?)$/.test(word)) continue;
    put(input, path, word === "true" || word === "false" ? word === "true" : Number(word));
    changed = true;
  }
  return changed ? v.safeParse(configSchema, input) : first;
}

/** Sets a value inside maps and lists, making maps on the way; leaves it where something else is in the way. */
function put(root: unknown, path: Path, value: unknown): void {
  let inner = root;
  for (const [index, part] of path.entries()) {
    if (
      typeof inner !== "object" ||
      inner === null ||
      (Array.isArray(inner) && typeof part === "string")
    )
      return;
    const holder = inner as Record<string | number, unknown>;
    if (index === path.length - 1) holder[part] = value;
    else inner = holder[part] ??= {};
  }
}

/** Adds where a key belongs that is unknown where it stands. */
function explain(
  message: string,
  issue: { expected: string | null; path?: readonly { key: unknown }[] | undefined },
): string {
  if (issue.expected !== strangerKey) return message;
  const key = String(issue.path?.at(-1)?.key);
  const homes = schemaKeys().filter((path) => path.endsWith(`.${key}`));
  return homes.length === 0
    ? message
    : `unknown key; did you mean ${homes.slice(0, 3).join(" or ")}?`;
}

function listing(findings: Finding[], document: SourceDocument, shown: string): string {
  const ordered = findings.toSorted(
    (a, b) => Number(a.origin === null) - Number(b.origin === null) || a.offset - b.offset,
  );
  const lines = ordered.map(({ offset, origin, path, message }) => {
    if (origin !== null) return `${origin}: ${message}`;
    const { line, column } = document.position(offset);
    return `${shown}:${line}:${column}: ${path.length === 0 ? "" : `${pathText(path)}: `}${message}`;
  });
  const unique = [...new Set(lines)];
  const rest = unique.length - mostShown;
  return [...unique.slice(0, mostShown), ...(rest > 0 ? [`and ${rest} more`] : [])].join("\n");
}
