import { closeSync, openSync, readSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, resolve } from "node:path";
import { UsageError } from "../errors.ts";
import { checkConfig } from "./validate.ts";
import { readDocument } from "./document.ts";
import type { Environment } from "./paths.ts";
import { defaultStorePath, resolvePath } from "./paths.ts";
import type { Config } from "./schema.ts";
import { overrides } from "./settings.ts";
import type { Flags, Override } from "./settings.ts";

/** The largest configuration file that is read, in characters. */
const longestFile = 1_000_000;

export interface LoadOptions {
  /** Value of `--config`; true where the flag stands without one, null or absent where there is no flag. */
  path?: string | true | null;
  /** Working directory; absolute. */
  cwd: string;
  env: Environment;
  /** Values of the flags of `serve` that were given, by their name. */
  flags?: Flags;
  /** Reads a text file, or throws an error with a `code` as `node:fs` does. */
  readFile?: (path: string) => string;
  /** As `process.platform`; which directory is the default for the store depends on it. */
  platform?: string;
  /** The user's home directory. */
  home?: string;
}

export interface Loaded {
  config: Config;
  /** What to tell the user: the file's path, or `built-in defaults`. */
  source: string;
  /** Absolute path of the file, or null where there is none. */
  path: string | null;
  /** What is allowed but hardly meant, a sentence each. */
  warnings: string[];
}

/**
 * The effective configuration: flags over environment over file over defaults.
 *
 * @throws UsageError that lists everything that is wrong, a line each, with file, line and column
 */
export function loadConfig(options: LoadOptions): Loaded {
  const { cwd, env, home = homedir(), platform = process.platform } = options;
  const file = readConfigFile(options);
  const document = readDocument(file?.text ?? "", env);
  const given = overrides(options.flags ?? {}, env);
  const { config: checked, warnings } = checkConfig(document, file?.shown ?? "", given);

  const base = file === null ? cwd : dirname(file.path);
  const inFile = (path: string | null): string | null =>
    path === null ? null : resolvePath(path, base, home);
  const stored = checked.storage.path ?? defaultStorePath(env, platform, home);
  const config: Config = {
    ...checked,
    server: {
      ...checked.server,
      tls: { cert: inFile(checked.server.tls.cert), key: inFile(checked.server.tls.key) },
    },
    extra_ca: inFile(checked.extra_ca),
    tokenizers: checked.tokenizers.map(({ match, file }) => ({
      match,
      file: resolvePath(file, base, home),
    })),
    storage: {
      ...checked.storage,
      path:
        stored === ":memory:"
          ? stored
          : resolvePath(stored, isGiven(given, "storage.path") ? cwd : base, home),
    },
  };
  return { config, source: file?.path ?? "built-in defaults", path: file?.path ?? null, warnings };
}

/** Paths on the command line are relative to where the user stands, those in the file to the file: was this one given there? */
function isGiven(given: readonly Override[], key: string): boolean {
  return given.some((override) => override.key === key);
}

interface ConfigFile {
  text: string;
  /** Absolute. */
  path: string;
  /** As the user wrote it, for messages. */
  shown: string;
}

function readConfigFile(options: LoadOptions): ConfigFile | null {
  const { cwd, env, readFile = readBounded } = options;
  const fromEnv = env["COOLDOWN_CONFIG"] || null;
  const asked = options.path ?? fromEnv;
  const shown = typeof asked === "string" ? asked : "config.yaml";
  if (shown === "")
    throw new UsageError("--config: the path is empty; leave it out for ./config.yaml");
  const path = resolve(cwd, shown);
  const origin =
    options.path === undefined || options.path === null
      ? "environment variable COOLDOWN_CONFIG"
      : "--config";
  let text: string;
  try {
    text = readFile(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (asked === null && code === "ENOENT") return null;
    throw new UsageError(`${asked === null ? "" : `${origin}: `}${shown}: ${reason(code, error)}`);
  }
  if (text.length > longestFile)
    throw new UsageError(`${shown}: is larger than 1 MB; this is not a configuration file`);
  return { text, path, shown };
}

function reason(code: unknown, error: unknown): string {
  if (code === "ENOENT") return "there is no such file; config.yaml.example is one to start from";
  if (code === "EISDIR") return "is a directory; give the path of a file";
  if (code === "EACCES" || code === "EPERM") return "may not be read by this user";
  return `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}

/** Reads a file, but no more than one byte over the bound: the path may be that of a device or a huge log. */
function readBounded(path: string): string {
  const descriptor = openSync(path, "r");
  try {
    const bytes = Buffer.alloc(longestFile + 1);
    let length = 0;
    for (let read = 1; read > 0 && length < bytes.length; length += read) {
      read = readSync(descriptor, bytes, length, bytes.length - length, null);
    }
    return bytes.toString("utf8", 0, length);
  } finally {
    closeSync(descriptor);
  }
}
