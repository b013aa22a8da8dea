import { isAbsolute, posix, resolve, win32 } from "node:path";

const fileName = "cooldown.db";

/** Environment variables by name, as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Where usage is kept when the configuration names no file: `cooldown.db` in the directory that the platform
 * has for the state of programs (XDG Base Directory Specification, Apple's File System Programming Guide,
 * Windows' known folder LocalAppData).
 *
 * @param platform as `process.platform` has it
 * @param home the user's home directory
 */
export function defaultStorePath(env: Environment, platform: string, home: string): string {
  if (platform === "win32") {
    return win32.join(
      env["LOCALAPPDATA"] || win32.join(home, "AppData", "Local"),
      "cooldown",
      fileName,
    );
  }
  if (platform === "darwin")
    return posix.join(home, "Library", "Application Support", "cooldown", fileName);
  // The specification says that a relative path there is to be ignored.
  const state = env["XDG_STATE_HOME"];
  const base =
    state !== undefined && posix.isAbsolute(state) ? state : posix.join(home, ".local", "state");
  return posix.join(base, "cooldown", fileName);
}

/** An absolute path for one written in the configuration: `~/` is the home directory, the rest is under `base`. */
export function resolvePath(path: string, base: string, home: string): string {
  if (path.startsWith("~/")) return resolve(home, path.slice(2));
  return isAbsolute(path) ? path : resolve(base, path);
}
