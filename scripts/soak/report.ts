/** What a scenario has found; every line is printed as it comes. */
export class Report {
  readonly failed: string[] = [];
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  /** A figure that nothing depends on. */
  note(text: string): void {
    console.log(`${this.#name.padEnd(8)}      ${text}`);
  }

  check(what: string, holds: boolean, found: string | number): void {
    const line = `${this.#name.padEnd(8)} ${holds ? "ok  " : "FAIL"} ${what}: ${found}`;
    console.log(line);
    if (!holds) this.failed.push(line);
  }

  atMost(what: string, found: number, most: number): void {
    this.check(`${what}, at most ${most}`, found <= most, round(found));
  }

  atLeast(what: string, found: number, least: number): void {
    this.check(`${what}, at least ${least}`, found >= least, round(found));
  }
}

/** Runs those of `scenarios` that the command line names, all where it names none, one after the other; sets the exit code. */
export async function runInTurn(
  scenarios: Readonly<Record<string, (report: Report) => Promise<void>>>,
): Promise<void> {
  const names = process.argv.slice(2);
  const failed: string[] = [];
  for (const [name, run] of Object.entries(scenarios)) {
    if (names.length > 0 && !names.includes(name)) continue;
    const report = new Report(name);
    await run(report);
    failed.push(...report.failed);
  }
  process.exitCode = failed.length > 0 ? 1 : 0;
}

function round(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
