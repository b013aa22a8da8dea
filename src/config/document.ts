import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import type { Alias, Document, Node, Pair } from "yaml";
import type { Environment } from "./paths.ts";

/** The way to a value: keys and list positions from the root. */
export type Path = readonly (string | number)[];

/** Something wrong in the file, and where: an offset into its text. */
interface Problem {
  path: Path;
  offset: number;
  message: string;
}

/** A YAML file as plain values, and where in the text each of them stands. */
export interface SourceDocument {
  value: unknown;
  problems: Problem[];
  /** Whether the text is no YAML at all, so that `value` means nothing. */
  broken: boolean;
  /** Offset of the key or the value at `path`, or of the nearest thing around it that is there. */
  locate(path: Path, part: "key" | "value"): number;
  position(offset: number): { line: number; column: number };
  /** The text as written, by path, where it may stand for a number: `${NAME}` replaced in it, or `1_000`. */
  written: ReadonlyMap<string, string>;
}

/** `rate_limits[0].domain`, as messages and maps of this folder name a path. */
export function pathText(path: Path): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number" ? `${text}[${part}]` : text === "" ? part : `${text}.${part}`,
    "",
  );
}

/** How many values a file may have, counting what each alias stands for again: a bound on alias bombs. */
const mostValues = 50_000;
const deepest = 50;

/** Keys that mean something else on a JavaScript object; no key or name of ours. */
const forbiddenKeys = new Set(["__proto__", "constructor", "prototype"]);

/** Reads YAML text and replaces `${NAME}` in its strings by environment variables. Never throws. */
export function readDocument(text: string, env: Environment): SourceDocument {
  const lines = new LineCounter();
  const position = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const reader = new Reader(env, position);
  const broken = (problems: Problem[]): SourceDocument => ({
    value: {},
    problems,
    written: new Map(),
    broken: true,
    locate: () => 0,
    position,
  });

  let document: Document.Parsed;
  try {
    const options = {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
      logLevel: "error",
    } as const;
    document = parseDocument(text, options);
  } catch (error) {
    // The parser recurses: a million brackets overflow its stack.
    const message =
      error instanceof RangeError ? "is nested too deeply" : `is not YAML: ${String(error)}`;
    return broken([{ path: [], offset: 0, message }]);
  }
  const syntax = [...document.errors, ...document.warnings];
  if (syntax.length > 0) {
    return broken(
      syntax.map(({ code, pos, message }) => {
        const plain =
          code === "MULTIPLE_DOCS"
            ? "a second document begins here; there can be only one"
            : message;
        return { path: [], offset: pos[0], message: `not valid YAML: ${plain}` };
      }),
    );
  }
  const value = reader.read(document.contents, [], document);
  return {
    value: value ?? {},
    problems: reader.problems,
    broken: reader.gaveUp,
    locate: (path, part) => reader.locate(path, part),
    position,
    written: reader.written,
  };
}

/** Turns YAML nodes into plain values, noting where each stands. */
class Reader {
  readonly problems: Problem[] = [];
  readonly written = new Map<string, string>();
  gaveUp = false;
  readonly #keys = new Map<string, number>();
  readonly #values = new Map<string, number>();
  readonly #env: Environment;
  readonly #position: (offset: number) => { line: number };
  #count = 0;
  /** Aliases that are being followed. */
  readonly #following = new Set<Node>();

  constructor(env: Environment, position: (offset: number) => { line: number }) {
    this.#env = env;
    this.#position = position;
  }

  locate(path: Path, part: "key" | "value"): number {
    const name = pathText(path);
    const [first, second] =
      part === "key" ? [this.#keys, this.#values] : [this.#values, this.#keys];
    const offset = first.get(name) ?? second.get(name);
    if (offset !== undefined) return offset;
    return path.length === 0 ? 0 : this.locate(path.slice(0, -1), "value");
  }

  read(node: unknown, path: Path, document: Document): unknown {
    const offset = isNode(node) ? (node.range?.[0] ?? 0) : 0;
    if (isNode(node) && !(isScalar(node) && node.value === null && node.source === ""))
      this.#values.set(pathText(path), offset);
    if (this.gaveUp) return null;
    if (++this.#count > mostValues || path.length > deepest) {
      this.gaveUp = true;
      const reason =
        path.length > deepest
          ? "is nested too deeply"
          : `has more than ${mostValues} values, aliases counted`;
      return this.#complain([], offset, reason);
    }
    if (isAlias(node)) return this.#follow(node, path, document);
    if (isMap(node)) return this.#readMap(node.items, path, document);
    if (isSeq(node))
      return node.items.map((item, index) => this.read(item, [...path, index], document));
    if (!isScalar(node)) return null;
    if (typeof node.value !== "string") return node.value;
    // YAML 1.2 knows no digit groups, people do.
    if (node.type === "PLAIN" && /^\d{1,3}(_\d{3})+$/.test(node.value))
      this.written.set(pathText(path), node.value);
    return this.#expand(node.value, path, offset);
  }

  #follow(alias: Alias, path: Path, document: Document): unknown {
    const offset = alias.range?.[0] ?? 0;
    const target = alias.resolve(document);
    if (target === undefined) {
      return this.#complain(
        path,
        offset,
        `*${alias.source} is the alias of nothing; an anchor &${alias.source} must come before it`,
      );
    }
    if (this.#following.has(target))
      return this.#complain(path, offset, `*${alias.source} is used inside itself`);
    this.#following.add(target);
    const value = this.read(target, path, document);
    this.#following.delete(target);
    return value;
  }

  #readMap(items: readonly Pair[], path: Path, document: Document): Record<string, unknown> {
    const map: Record<string, unknown> = {};
    for (const { key, value } of items) {
      const offset = isNode(key) ? (key.range?.[0] ?? 0) : 0;
      const name = keyName(key);
      if (name === null) {
        this.#complain(path, offset, "has a key that is not a name");
        continue;
      }
      const own = [...path, name];
      if (Object.hasOwn(map, name)) {
        const { line } = this.#position(this.locate(own, "key"));
        this.#complain(own, offset, `duplicate key; it was first given on line ${line}`);
        continue;
      }
      this.#keys.set(pathText(own), offset);
      map[name] = this.read(value, own, document);
    }
    return map;
  }

  /** `${NAME}` is an environment variable, `$${` a literal `${`. */
  #expand(text: string, path: Path, offset: number): string {
    if (!text.includes("${")) return text;
    this.written.set(pathText(path), text);
    return text.replaceAll(
      /\$\$\{|\$\{([^}]*)(\}?)/g,
      (match, name: string | undefined, end: string) => {
        if (name === undefined) return "${";
        if (end === "" || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
          this.#complain(
            path,
            offset,
            `"${match}" is not the name of an environment variable as in \${NAME}; write $\${ for a literal \${`,
          );
          return "";
        }
        const value = this.#env[name];
        if (value === undefined)
          this.#complain(path, offset, `the environment variable ${name} is not set`);
        return value ?? "";
      },
    );
  }

  #complain(path: Path, offset: number, message: string): null {
    this.problems.push({ path, offset, message });
    return null;
  }
}

/** The name that a key is, numbers included, or null where it is none. */
function keyName(key: unknown): string | null {
  const value: unknown = isScalar(key) ? key.value : null;
  const name = typeof value === "number" || typeof value === "boolean" ? String(value) : value;
  return typeof name === "string" && !forbiddenKeys.has(name) ? name : null;
}

function isNode(node: unknown): node is Node {
  return isAlias(node) || isMap(node) || isSeq(node) || isScalar(node);
}
