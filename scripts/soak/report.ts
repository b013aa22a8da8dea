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

function round(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
