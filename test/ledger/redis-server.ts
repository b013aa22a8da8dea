import { RedisClient } from "bun";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether the program is there. */
export const hasRedis = Bun.which("redis-server") !== null;

export interface Server {
  readonly url: string;
  client(): RedisClient;
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts a redis-server of our own, on a free port of this machine, that keeps nothing; with a certificate that is its
 * own authority, it speaks TLS alone.
 */
export async function startRedis(tls?: { cert: string; key: string }): Promise<Server> {
  const port = await freePort();
  const folder = mkdtempSync(join(tmpdir(), "cooldown-redis-"));
  const url = tls === undefined ? `redis://127.0.0.1:${port}` : `rediss://localhost:${port}`;
  const secure: string[] = [];
  for (const [name, text] of Object.entries(tls ?? {})) {
    writeFileSync(join(folder, name), text);
    secure.push(`--tls-${name}-file`, join(folder, name));
  }
  const clients: RedisClient[] = [];
  let process: Bun.Subprocess | null = null;
  const server: Server = {
    url,
    client() {
      const client = new RedisClient(url);
      clients.push(client);
      return client;
    },
    async start() {
      const flags = ["--bind", "127.0.0.1", "--save", "", "--dir", folder];
      if (tls === undefined) flags.push("--port", `${port}`);
      else
        flags.push("--port", "0", "--tls-port", `${port}`, "--tls-auth-clients", "no", ...secure);
      process = Bun.spawn(["redis-server", ...flags], { stdout: "ignore", stderr: "ignore" });
      while (!(await answers(port)));
    },
    async kill() {
      process?.kill("SIGKILL");
      await process?.exited;
    },
    async stop() {
      for (const client of clients) client.close();
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const address = probe.address();
      const port = typeof address === "object" && address !== null ? address.port : 0;
      probe.close(() => resolve(port));
    });
  });
}

async function answers(port: number): Promise<boolean> {
  try {
    const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
    socket.end();
    return true;
  } catch {
    return false;
  }
}
