import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, dirname, join, relative, resolve, sep } from "node:path";

/**
 * The layers of `src/`, the lowest first. A file imports from its own part and from parts above its own in
 * this list; parts of one row never import each other. A new part gets a row, or this test fails.
 */
const layers: readonly (readonly string[])[] = [
  ["clock.ts", "errors.ts", "header-fields.ts"],
  ["observe"],
  ["storage"],
  ["limit"],
  ["ledger"],
  ["queue"],
  ["tokens"],
  ["provider"],
  ["cache"],
  ["client"],
  ["routing"],
  ["upstream"],
  ["breaker.ts"],
  ["admission"],
  ["inference"],
  ["config"],
  ["store.ts"],
  ["runtime.ts"],
  ["proxy"],
  ["control"],
  ["server"],
  // Judges the limiter from outside, so it must not share its code.
  ["mock"],
  ["cli"],
  ["main.ts"],
];
/** Parts that may use less than what is above them. */
const only: Readonly<Record<string, readonly string[]>> = { mock: ["clock.ts", "errors.ts"] };
/** Parts that get time from an injected clock alone. */
const timeless = ["limit", "ledger", "queue", "admission", "breaker.ts"];
/** Names that say nothing, and so attract everything. */
const empty = [
  "utils",
  "util",
  "helpers",
  "helper",
  "common",
  "shared",
  "misc",
  "types",
  "services",
  "constants",
];
const mostLines = 400;

const root = resolve(import.meta.dir, "..");
const source = join(root, "src");

interface Module {
  /** Path under `src/`, with `/`. */
  path: string;
  part: string;
  text: string;
}

const modules: readonly Module[] = readdirSync(source, { recursive: true, encoding: "utf8" })
  .filter(
    (path) =>
      path.endsWith(".ts") && !path.endsWith(".d.ts") && statSync(join(source, path)).isFile(),
  )
  .map((path) => path.split(sep).join("/"))
  .sort()
  .map((path) => ({
    path,
    part: path.split("/")[0] ?? path,
    text: readFileSync(join(source, path), "utf8"),
  }));

/** The modules of `src/` that `module` names in an import or export, for types too. */
function imports(module: Module): string[] {
  const named = module.text.matchAll(/\b(?:from|import)\s*\(?\s*["'](\.[^"']+)["']/g);
  return [...named].map(([, to = ""]) =>
    relative(source, resolve(source, dirname(module.path), to))
      .split(sep)
      .join("/"),
  );
}

/** Without comments and types: what runs. */
function code(module: Module): string {
  return new Bun.Transpiler({ loader: "ts" }).transformSync(module.text);
}

const rank = (part: string): number => layers.findIndex((row) => row.includes(part));

/** Why `part` must not import from `target`, or null. */
function objection(part: string, target: string): string | null {
  if (part === target) return null;
  const allowed = only[part];
  if (allowed !== undefined && !allowed.includes(target))
    return `may only use ${allowed.join(", ")}`;
  if (rank(target) === rank(part)) return "stands beside it";
  return rank(target) > rank(part) ? "is above it" : null;
}

describe("layers", () => {
  test("every file of src/ has a place in them", () => {
    expect(modules.length).toBeGreaterThan(0);
    expect(modules.filter(({ part }) => rank(part) < 0).map(({ path }) => path)).toEqual([]);
  });

  test("no file imports from above, beside, or outside of src/", () => {
    const wrong = modules.flatMap((module) =>
      imports(module).flatMap((to) => {
        const why = to.startsWith("..")
          ? "is outside"
          : objection(module.part, to.split("/")[0] ?? to);
        return why === null ? [] : [`${module.path} imports ${to}, which ${why}`];
      }),
    );
    // `package.json` is outside of src/, but is data: the version.
    expect(wrong.filter((line) => !line.includes(" ../package.json,"))).toEqual([]);
  });

  test("the rule itself", () => {
    expect(objection("ledger", "limit")).toBeNull();
    expect(objection("limit", "limit")).toBeNull();
    expect(objection("limit", "ledger")).toBe("is above it");
    expect(objection("clock.ts", "errors.ts")).toBe("stands beside it");
    expect(objection("mock", "limit")).toBe("may only use clock.ts, errors.ts");
    expect(objection("cli", "mock")).toBeNull();
  });
});

test("no name that says nothing, and no barrel", () => {
  const names = [...empty, "index"];
  const wrong = modules.filter(({ path }) =>
    path.split("/").some((name) => names.includes(name.replace(/\.ts$/, ""))),
  );
  expect(wrong.map(({ path }) => path)).toEqual([]);
});

test(`no file over ${mostLines} lines`, () => {
  const long = modules
    .filter(({ path }) => !path.includes("/data/"))
    .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ lines }) => lines > mostLines);
  expect(long).toEqual([]);
});

test("the algorithms have no clock of their own", () => {
  const own =
    /\b(?:Date\.now|new Date\(\)|performance\.now|setTimeout|setInterval|Bun\.sleep|Bun\.nanoseconds|hrtime)\b/;
  const wrong = modules
    .filter(({ part }) => timeless.includes(part))
    .map((module) => ({ path: module.path, found: own.exec(code(module))?.[0] ?? null }))
    .filter(({ found }) => found !== null);
  expect(wrong).toEqual([]);
});

test("only main.ts ends the process", () => {
  const wrong = modules.filter(
    (module) =>
      module.path !== "main.ts" && /\bprocess\.(exit|reallyExit|abort)\b/.test(code(module)),
  );
  expect(wrong.map(({ path }) => path)).toEqual([]);
});

test("test/ mirrors src/", () => {
  const besides = ["e2e", "contract", "scripts", "architecture.test.ts"];
  const strangers = readdirSync(join(root, "test"))
    .filter((name) => !besides.includes(name))
    .filter((name) => !existsSync(join(source, basename(name).replace(/\.test\.ts$/, ".ts"))));
  expect(strangers).toEqual([]);
});
