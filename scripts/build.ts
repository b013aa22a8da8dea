/** `bun run build`: the executable for this machine, `dist/cooldown`. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";

import { compile } from "./compile.ts";

const { values } = parseArgs({
  options: {
    entry: { type: "string", default: "src/main.ts" },
    outfile: { type: "string", default: "dist/cooldown" },
  },
});

const started = performance.now();
const bytes = await compile(values);
const seconds = ((performance.now() - started) / 1000).toFixed(1);
console.log(`${resolve(values.outfile)}: ${(bytes / 1e6).toFixed(0)} MB, built in ${seconds} s`);
