import { Command, CommanderError } from "commander";
import { UsageError } from "../errors.ts";
import { checkCommand } from "./check.ts";
import { demoCommand } from "./demo.ts";
import type { Io } from "./io.ts";
import { mockCommand } from "./mock.ts";
import { serveCommand } from "./serve.ts";
import { version } from "./version.ts";

/** Every command; a further one is a file and a row here. */
const commands: Readonly<Record<string, (io: Io) => Command>> = {
  serve: serveCommand,
  check: checkCommand,
  mock: mockCommand,
  demo: demoCommand,
  version: (io) =>
    new Command("version")
      .description("print the version")
      .action(() => io.out(`cooldown ${version}\n`)),
};

/**
 * Runs the program with `args` (those after its name) and resolves with its exit code: 0 done, 1 failed while
 * running, 2 wrong usage or configuration. What went wrong is one message on standard error.
 */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const normal = args.map(withTwoDashes);
  try {
    await program(io).parseAsync(withCommand(normal), { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const debug = normal.some(
      (arg, i) =>
        arg === "--log-level=debug" || (arg === "--log-level" && normal[i + 1] === "debug"),
    );
    const message = error instanceof Error ? error.message : String(error);
    io.err(
      `${debug && error instanceof Error ? (error.stack ?? message) : `cooldown: ${message}`}\n`,
    );
    return error instanceof UsageError || error instanceof CommanderError ? 2 : 1;
  }
}

function program(io: Io): Command {
  const top = new Command("cooldown")
    .description(
      "Holds the traffic to each API's quota: requests wait their turn instead of being refused.\n" +
        'Without a command it is "cooldown serve".',
    )
    .version(`cooldown ${version}`, "-v, --version")
    .addHelpText(
      "after",
      '\nHelp on a command and all its flags: "cooldown serve --help", "cooldown mock --help" …',
    );
  for (const create of Object.values(commands)) top.addCommand(create(io));
  for (const command of [top, ...top.commands]) {
    command.configureOutput({ writeOut: (text) => io.out(text), writeErr: () => undefined });
    command.exitOverride((error) => {
      if (error.exitCode === 0) throw error;
      const name = command === top ? "cooldown" : `cooldown ${command.name()}`;
      throw new UsageError(`${error.message.replace(/^error: /, "")}\nSee "${name} --help".`);
    });
    command.allowExcessArguments(false).showHelpAfterError(false);
  }
  return top;
}

/** Puts `serve` in front where no command is named. */
function withCommand(args: readonly string[]): string[] {
  const [first, second] = args;
  const named = first === "help" && second !== undefined ? second : first;
  const isOwn =
    named !== undefined &&
    (Object.hasOwn(commands, named) || ["help", "-h", "--help", "-v", "--version"].includes(named));
  if (isOwn) return [...args];
  if (named !== undefined && !named.startsWith("-")) {
    throw new UsageError(
      `unknown command "${named}"; there are ${Object.keys(commands).join(", ")}.\nSee "cooldown --help".`,
    );
  }
  return ["serve", ...args];
}

/** `-config` means `--config`: long flags also work with one dash. */
function withTwoDashes(arg: string): string {
  return /^-[a-z][a-z-]+(=|$)/i.test(arg) ? `-${arg}` : arg;
}
