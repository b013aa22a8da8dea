import { Command } from "commander";
import { loadConfig } from "../config/load.ts";
import { printConfig } from "../config/print.ts";
import type { Config } from "../config/schema.ts";
import { readCertificate } from "../server/tls.ts";
import { openTokenizer } from "../tokens/tokenizer.ts";
import { authoritiesWith } from "../upstream/outgoing-proxy.ts";
import type { Io } from "./io.ts";

/**
 * `cooldown check`: says whether a configuration is good, and what it comes to.
 *
 * Its action throws UsageError that lists everything that is wrong; where the file itself is good, the first of the
 * files that it names which `serve` could not use.
 *
 * @param cwd working directory, where a relative path starts
 */
export function checkCommand(
  io: Pick<Io, "out" | "err" | "env">,
  cwd: string = process.cwd(),
): Command {
  return new Command("check")
    .description("validate the configuration and print the effective one, secrets as ***")
    .option("-c, --config [PATH]", "configuration file (./config.yaml where no path is given)")
    .action((options: { config?: string | true }) => {
      const loaded = loadConfig({ path: options.config ?? null, cwd, env: io.env });
      openFiles(loaded.config);
      for (const warning of loaded.warnings) io.err(`warning: ${warning}\n`);
      io.out(`# effective configuration, from ${loaded.source}\n${printConfig(loaded.config)}`);
    });
}

function openFiles({ server, extra_ca: extraCa, tokenizers }: Config): void {
  readCertificate(server);
  if (extraCa !== null) authoritiesWith(extraCa);
  for (const { file } of tokenizers) openTokenizer(file);
}
