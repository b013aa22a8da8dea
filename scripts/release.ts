/**
 * `bun run release`: the executable for each platform, archived with what a user needs beside it, and the
 * checksums. Needs the network once for each platform, for its runtime.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";

import { tarGz, zip } from "./archive.ts";
import { compile } from "./compile.ts";

const platforms: readonly { name: string; target: Bun.Build.CompileTarget }[] = [
  { name: "linux-x64", target: "bun-linux-x64" },
  { name: "linux-x64-musl", target: "bun-linux-x64-musl" },
  { name: "linux-arm64", target: "bun-linux-arm64" },
  { name: "linux-arm64-musl", target: "bun-linux-arm64-musl" },
  { name: "darwin-x64", target: "bun-darwin-x64" },
  { name: "darwin-arm64", target: "bun-darwin-arm64" },
  { name: "windows-x64", target: "bun-windows-x64" },
];
const companions = [
  "LICENSE",
  "README.md",
  "config.yaml.example",
  // The vocabularies inside the executable come under licences of their own, which ask for these.
  "src/tokens/data/NOTICE.md",
  "src/tokens/data/LICENSE-APACHE-2.0.txt",
  "src/tokens/data/LICENSE-LLAMA-3.1.txt",
];

const { values } = parseArgs({
  options: {
    entry: { type: "string", default: "src/main.ts" },
    outdir: { type: "string", default: "dist" },
    /** Some of the platforms, by name, separated by commas. */
    only: { type: "string", default: platforms.map(({ name }) => name).join(",") },
  },
});

const fail = (message: string): never => {
  console.error(message);
  process.exit(1);
};

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };
const changelog = existsSync("CHANGELOG.md") ? readFileSync("CHANGELOG.md", "utf8") : "";
if (!changelog.split("\n").some((line) => line.startsWith(`## [${version}]`))) {
  fail(`CHANGELOG.md has no section "## [${version}]". Say there what is new, then release.`);
}
for (const file of companions)
  if (!existsSync(file)) fail(`${file} is missing: it belongs into each archive.`);
const names = values.only.split(",");
for (const name of names) {
  if (!platforms.some((platform) => platform.name === name)) {
    fail(
      `There is no platform ${name}. There are: ${platforms.map((platform) => platform.name).join(", ")}.`,
    );
  }
}

// One moment for all files: the same sources released twice make the same archives if it is given.
const modified = Number(process.env["SOURCE_DATE_EPOCH"] ?? Math.floor(Date.now() / 1000));
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;

await mkdir(values.outdir, { recursive: true });
const workshop = mkdtempSync(join(values.outdir, ".release-"));
const sums: string[] = [];
try {
  for (const [index, name] of names.entries()) {
    const platform = platforms.find((each) => each.name === name);
    if (platform === undefined) continue;
    const started = performance.now();
    process.stdout.write(`[${index + 1}/${names.length}] ${name}: compiling …`);
    const windows = name.startsWith("windows");
    const executable = windows ? "cooldown.exe" : "cooldown";
    const size = await compile({
      entry: values.entry,
      outfile: join(workshop, name, "cooldown"),
      target: platform.target,
    });
    process.stdout.write(` ${megabytes(size)}, packing …`);
    const files = [
      { name: executable, path: join(workshop, name, executable), executable: true },
      ...companions.map((file) => ({ name: basename(file), path: file, executable: false })),
    ].map(({ path, ...file }) => ({ ...file, content: readFileSync(path) }));
    const archive = `cooldown-${version}-${name}.${windows ? "zip" : "tar.gz"}`;
    const bytes = windows ? zip(files, modified) : tarGz(files, modified);
    await Bun.write(join(values.outdir, archive), bytes);
    rmSync(join(workshop, name), { recursive: true });
    sums.push(`${new Bun.CryptoHasher("sha256").update(bytes).digest("hex")}  ${archive}`);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(` ${archive}, ${megabytes(bytes.length)}, ${seconds} s\n`);
  }
} finally {
  rmSync(workshop, { recursive: true, force: true });
}
await Bun.write(join(values.outdir, "SHA256SUMS"), `${sums.join("\n")}\n`);
console.log(`${sums.length} archives and SHA256SUMS in ${values.outdir}`);
