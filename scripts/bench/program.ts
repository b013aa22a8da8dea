import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A server that runs in a process of its own. */
export interface Program {
  readonly url: string;
  /** User and system time of all its threads so far, ms, in steps of 10. */
  cpuMs(): number;
  /** Resident memory in bytes. */
  rssBytes(): number;
  /** Ends it and waits for that. */
  stop(): Promise<void>;
}

/** `/proc` counts time in these. It has been 100 a second on every Linux since 2.4. */
const tickMs = 10;
/** How long a server may take to say where it listens. */
const startMs = 10_000;
const main = fileURLToPath(import.meta.resolve("../../src/main.ts"));

/**
 * Starts a server and waits for the first URL on its standard output.
 *
 * @throws Error if it ends or says nothing for 10 s
 */
async function startProgram(command: readonly string[], env = process.env): Promise<Program> {
  const child = Bun.spawn([...command], { stdout: "pipe", stderr: "ignore", env });
  const timer = setTimeout(() => child.kill("SIGKILL"), startMs);
  let said = "";
  for await (const chunk of child.stdout) {
    said += Buffer.from(chunk).toString();
    const url = /https?:\/\/[^\s/]+(?=\s)/.exec(said)?.[0];
    if (url === undefined) continue;
    clearTimeout(timer);
    return programAt(url, child);
  }
  clearTimeout(timer);
  throw new Error(`${command.join(" ")} did not say where it listens.`);
}

/** Starts one of the servers of `servers.ts`, with what it is told on its command line. */
export function startServer(...told: readonly string[]): Promise<Program> {
  return startProgram([
    process.execPath,
    fileURLToPath(import.meta.resolve("./servers.ts")),
    ...told,
  ]);
}

/** Starts Cooldown from source with a configuration file, on a free port. */
export function startCooldown(config: string, ...flags: readonly string[]): Promise<Program> {
  return startProgram([process.execPath, main, "--config", config, "--port", "0", ...flags]);
}

/** The same with its heap open: see `heap-door.ts`. `heap` is the URL of that. */
export async function startOpenCooldown(config: string): Promise<Program & { heap: string }> {
  const port = freePort();
  const door = fileURLToPath(import.meta.resolve("./heap-door.ts"));
  const command = [process.execPath, "--preload", door, main, "--config", config, "--port", "0"];
  const program = await startProgram(command, { ...process.env, HEAP_DOOR: String(port) });
  return { ...program, heap: `http://127.0.0.1:${port}` };
}

/** The running `child` as a program that answers at `url`. */
export function programAt(url: string, child: Bun.Subprocess): Program {
  const { pid } = child;
  return {
    url,
    cpuMs() {
      // The name in brackets may hold anything; after it, times are fields 14 and 15 of proc_pid_stat(5).
      const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(/\) (?!.*\) )/);
      const [user, system] = fields.split(" ").slice(11, 13);
      return (Number(user) + Number(system)) * tickMs;
    },
    rssBytes() {
      const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
      return Number(kilobytes?.[1]) * 1024;
    },
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 2_000);
      await child.exited;
      clearTimeout(timer);
    },
  };
}

/** A port of the loopback interface that nobody listens on now. */
export function freePort(): number {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { port } = server;
  server.stop(true);
  return port;
}
