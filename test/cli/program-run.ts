import { run } from "../../src/cli/program.ts";
import type { Io } from "../../src/cli/io.ts";

/** A run of the program in this process: what it wrote so far, and the signals it can be sent. */
export interface ProgramRun {
  readonly code: Promise<number>;
  out(): string;
  err(): string;
  /** As SIGTERM: asks it to stop. */
  stop(): void;
  /** As SIGHUP: asks it to read its configuration again. */
  hangUp(): void;
  /** Resolves with the first match in what it writes to standard output; rejects if it ends without. */
  said(pattern: RegExp): Promise<RegExpExecArray>;
}

/** Starts the program with `args`. */
export function startProgram(
  args: readonly string[],
  env: Record<string, string | undefined> = {},
): ProgramRun {
  let out = "";
  let err = "";
  let check = (): void => undefined;
  const stops: (() => void)[] = [];
  const hangUps: (() => void)[] = [];
  const io: Io = {
    out(text) {
      out += text;
      check();
    },
    err: (text) => void (err += text),
    env,
    onSignal: (action) => void stops.push(action),
    onHangUp: (action) => void hangUps.push(action),
  };
  const code = run(args, io);
  return {
    code,
    out: () => out,
    err: () => err,
    stop: () => stops.forEach((action) => action()),
    hangUp: () => hangUps.forEach((action) => action()),
    said: (pattern) =>
      new Promise((resolve, reject) => {
        check = () => {
          const match = pattern.exec(out);
          if (match !== null) resolve(match);
        };
        check();
        void code.then((ended) =>
          reject(new Error(`ended with ${ended} without saying ${pattern}: ${out}${err}`)),
        );
      }),
  };
}

/** Runs the program with `args` to its end. */
export async function runProgram(
  args: readonly string[],
  env: Record<string, string | undefined> = {},
): Promise<{ code: number; out: string; err: string }> {
  const started = startProgram(args, env);
  const code = await started.code;
  return { code, out: started.out(), err: started.err() };
}
