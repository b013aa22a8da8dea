import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask } from "./client.ts";

const main = join(import.meta.dir, "../../src/main.ts");

/** How a program ended, and all that it said. */
interface Ended {
  code: number;
  out: string;
  err: string;
}

/** A process of the real program. */
export interface Program extends AsyncDisposable {
  readonly pid: number;
  /** What it has written so far. */
  readonly out: string;
  readonly err: string;
  readonly ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
  /** Resolves when it has written what matches, on either stream; rejects when it ended without. */
  said(what: RegExp): Promise<RegExpExecArray>;
}

const running = new Set<Bun.Subprocess>();
// What a test that was cut off has left behind must not outlive it.
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts the program with `args`; it is killed when disposed of. */
export function startProgram(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; preload?: string } = {},
): Program {
  const before = options.preload === undefined ? [] : ["--preload", options.preload];
  const child = Bun.spawn([process.execPath, ...before, main, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    cwd: options.cwd ?? tmpdir(),
    // Nothing of the machine's own settings: they could well be for a Cooldown.
    env: { PATH: process.env["PATH"] ?? "", HOME: tmpdir(), ...options.env },
  });
  running.add(child);
  let out = "";
  let err = "";
  let wake = Promise.withResolvers<void>();
  const follow = async (stream: ReadableStream<Uint8Array>, add: (text: string) => void) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      add(decoder.decode(bytes, { stream: true }));
      wake.resolve();
      wake = Promise.withResolvers();
    }
  };
  const streams = Promise.all([
    follow(child.stdout, (text) => void (out += text)),
    follow(child.stderr, (text) => void (err += text)),
  ]);
  let isOver = false;
  const ended = child.exited.then(async (code) => {
    running.delete(child);
    await streams;
    isOver = true;
    wake.resolve();
    return { code, out, err };
  });
  return {
    pid: child.pid,
    get out() {
      return out;
    },
    get err() {
      return err;
    },
    ended,
    kill: (signal) => child.kill(signal),
    async said(what) {
      for (;;) {
        const next = wake.promise;
        const match = what.exec(out) ?? what.exec(err);
        if (match !== null) return match;
        if (isOver) throw new Error(`The program ended without saying ${what}:\n${out}${err}`);
        await next;
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs the program to its end. */
export async function runProgram(
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Ended> {
  await using program = startProgram(args, options);
  return await program.ended;
}

/** A folder for one test, removed when disposed of. */
export interface Folder extends Disposable {
  readonly path: string;
  file(name: string): string;
  write(name: string, text: string): string;
}

export function folder(): Folder {
  const path = mkdtempSync(join(tmpdir(), "cooldown-e2e-"));
  const file = (name: string): string => join(path, name);
  return {
    path,
    file,
    write(name, text) {
      writeFileSync(file(name), text);
      return file(name);
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

/** One window of a quota as `/stats` has it. */
export interface Window {
  unit: string;
  window: string;
  limit: number;
  used: number;
  reserved: number;
  remaining: number;
}

export interface Quota {
  name: string;
  windows: Window[];
  queue_depth: number;
}

/** A running proxy with a configuration file of its own. */
export interface Proxy extends Program {
  readonly port: number;
  /** Changes the file; the program sees that by itself. */
  configure(yaml: string): void;
  /** A quota of `/stats` by name; throws where there is none. */
  quota(name: string): Promise<Quota>;
}

export interface ProxyOptions {
  /** Where `config.yaml` and the store are; a folder that stays makes a restart. */
  at: Folder;
  args?: readonly string[];
  env?: Record<string, string>;
  /** A module that is loaded into the program before its own. */
  preload?: string;
}

/** Starts the proxy on a free port with `yaml` as its configuration; resolves when it accepts connections. */
export async function startProxy(yaml: string, options: ProxyOptions): Promise<Proxy> {
  const { at, args = [], env = {}, preload } = options;
  const path = at.write("config.yaml", yaml);
  const program = startProgram(
    ["--config", path, "--port", "0", "--store", at.file("cooldown.db"), ...args],
    { env, ...(preload === undefined ? {} : { preload }) },
  );
  try {
    const [, port] = await program.said(/listens on https?:\/\/\S+:(\d+)\n/);
    return Object.defineProperties(program, {
      port: { value: Number(port) },
      configure: { value: (text: string) => void at.write("config.yaml", text) },
      quota: { value: (name: string) => quotaOf(Number(port), name) },
    }) as Proxy;
  } catch (error) {
    await program[Symbol.asyncDispose]();
    throw error;
  }
}

async function quotaOf(port: number, name: string): Promise<Quota> {
  const stats = (await ask(port, { path: "/stats" })).json() as { quotas: Quota[] };
  const quota = stats.quotas.find((one) => one.name === name);
  if (quota === undefined) throw new Error(`/stats has no quota ${name}`);
  return quota;
}

/** Memory of a process in bytes: now, and the most it ever was. Linux only. */
export function memoryOf(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const read = (name: string): number =>
    1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]);
  return { now: read("VmRSS"), peak: read("VmHWM") };
}

/** Resolves when `holds` does, looked at every few milliseconds; rejects after `ms`. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what: string,
  ms = 5_000,
): Promise<void> {
  const end = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`Not within ${ms} ms: ${what}`);
    await Bun.sleep(5);
  }
}
