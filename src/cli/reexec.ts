/**
 * `fetch` has at most 256 calls in flight unless this says otherwise, and it is read before any code of ours runs.
 * Thousands of slow answers at once are what a proxy is for.
 */
const variable = "BUN_CONFIG_MAX_HTTP_REQUESTS";
const most = "65336";

/** Starts this very program again, in the same process, with room for many calls; returns where that is done. */
export function reexecForManyCalls(): void {
  if (process.env[variable] !== undefined || process.execve === undefined) return;
  process.execve(process.execPath, commandLine(), { ...process.env, [variable]: most });
}

/** The arguments that start this program again: an executable brings its own main file, `bun` is told it. */
function commandLine(): string[] {
  const own = process.argv.slice(2);
  return Bun.isStandaloneExecutable
    ? [process.execPath, ...own]
    : [process.execPath, ...process.execArgv, Bun.main, ...own];
}
