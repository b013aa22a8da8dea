import { Command } from "commander";
import type { Io } from "./io.ts";

/** placeholder, replaced below */
export function demoCommand(io: Io): Command {
  return new Command("demo").action(() => io.out("demo\n"));
}
