import { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import { serveFlags } from "../config/settings.ts";
import { createLog } from "../observe/log.ts";
import { start } from "../server/lifecycle.ts";
import type { Io } from "./io.ts";
import { version } from "./version.ts";

const examples = `
Every flag wins over its environment variable, that over the file, that over the default.
All keys of the file: docs/configuration.md. A file to start from: config.yaml.example.

Examples:
  $ cooldown
      ./config.yaml if there is one, else built-in defaults: OpenAI on http://localhost:8080/v1
  $ cooldown --config cooldown.yaml --port 0
      another file, a free port
  $ curl -H 'Host: api.github.com' http://localhost:8080/zen
      any API by its Host header; or without one: http://localhost:8080/proxy/api.github.com/zen

Signals: SIGTERM and SIGINT finish what can be finished (a second one ends at once); SIGHUP reads the file again.
`;

/** `cooldown serve`, the default command: runs the proxy until a signal. */
export function serveCommand(io: Io, cwd: string = process.cwd()): Command {
  const command = new Command("serve")
    .description("run the proxy (the default command)")
    .option("-c, --config [PATH]", "configuration file (./config.yaml where no path is given)")
    .addHelpText("after", examples);
  for (const { flag, argument, description, env } of serveFlags) {
    command.option(`${flag} <${argument}>`, env === null ? description : `${description} (${env})`);
  }
  return command.action(
    async ({ config: path, ...flags }: { config?: string | true } & Record<string, string>) => {
      const reread = () => loadConfig({ path: path ?? null, cwd, env: io.env, flags });
      const loaded = reread();
      const { log_level: level, log_format: format } = loaded.config.server;
      const log = createLog({ level, format });
      const running = await start({ loaded, log, version, reread });
      log.info(`configuration: ${loaded.source}`);
      // Before anybody is told that it runs: a signal that nobody listens for would end the process.
      io.onHangUp(() => running.reload());
      const signalled = new Promise<void>((resolve) => io.onSignal(resolve));
      io.out(`cooldown ${version} listens on ${running.url}\n`);

      await signalled;
      await running.stop();
    },
  );
}
