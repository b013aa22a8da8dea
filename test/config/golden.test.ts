import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import { UsageError } from "../../src/errors.ts";

/**
 * Each file in golden/ is a configuration, a line `----`, and what comes of it: the error message, or lines
 * `path = value` of the effective configuration. Lines `# env NAME=value` and `# flag --name value` at its top
 * say what is given besides.
 */
const directory = join(import.meta.dir, "golden");

interface Golden {
  input: string;
  expected: string;
  env: Record<string, string>;
  flags: Record<string, string>;
}

function readGolden(name: string): Golden {
  const [input = "", expected = ""] = readFileSync(join(directory, name), "utf8").split(/^----\n/m);
  const env = Object.fromEntries(
    [...input.matchAll(/^# env (\w+)=(.*)$/gm)].map(([, key = "", value = ""]) => [key, value]),
  );
  const flags = Object.fromEntries(
    [...input.matchAll(/^# flag --(\S+) (.*)$/gm)].map(([, key = "", value = ""]) => [key, value]),
  );
  return { input, expected: expected.trimEnd(), env, flags };
}

function outcome({ input, expected, env, flags }: Golden): string {
  try {
    const { config, warnings } = loadConfig({
      cwd: "/work",
      home: "/home/me",
      platform: "linux",
      env,
      flags,
      readFile: () => input,
    });
    const paths = expected
      .split("\n")
      .filter((line) => line.includes(" = "))
      .map((line) => line.split(" = ")[0] ?? "");
    const values = paths.map((path) => `${path} = ${JSON.stringify(valueAt(config, path))}`);
    return [...values, ...warnings.map((warning) => `warning: ${warning}`)].join("\n");
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
}

function valueAt(config: unknown, path: string): unknown {
  return path
    .split(/[.[\]]+/)
    .filter(Boolean)
    .reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], config);
}

describe("what comes of a configuration", () => {
  for (const name of readdirSync(directory).toSorted()) {
    test(name, () => {
      const golden = readGolden(name);
      expect(outcome(golden)).toBe(golden.expected);
    });
  }
});
