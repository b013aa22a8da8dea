import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { inflateRawSync } from "node:zlib";

import { tarGz, zip } from "../../scripts/archive.ts";
import type { ArchivedFile } from "../../scripts/archive.ts";

const scripts = resolve(import.meta.dir, "../../scripts");
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cooldown-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const files: readonly ArchivedFile[] = [
  {
    name: "cooldown",
    content: new Uint8Array(5000).map((_, index) => index % 7),
    executable: true,
  },
  { name: "empty", content: new Uint8Array(), executable: false },
  { name: "README.md", content: Buffer.from("# Cooldown\n"), executable: false },
];
const modified = Date.UTC(2020, 4, 6, 7, 8, 10) / 1000;

describe("archives", () => {
  test.skipIf(Bun.which("tar") === null)("tar unpacks a tar.gz, modes and times kept", () => {
    writeFileSync(join(folder, "a.tar.gz"), tarGz(files, modified));
    const { exitCode, stderr } = Bun.spawnSync(["tar", "xzf", "a.tar.gz"], { cwd: folder });
    expect([exitCode, stderr.toString()]).toEqual([0, ""]);
    for (const { name, content, executable } of files) {
      expect(new Uint8Array(readFileSync(join(folder, name)))).toEqual(new Uint8Array(content));
      expect(statSync(join(folder, name)).mode & 0o777).toBe(executable ? 0o755 : 0o644);
      expect(statSync(join(folder, name)).mtimeMs).toBe(modified * 1000);
    }
  });

  test("the same files make the same bytes", () => {
    expect(Bun.hash(tarGz(files, modified))).toBe(Bun.hash(tarGz(files, modified)));
    expect(Bun.hash(zip(files, modified))).toBe(Bun.hash(zip(files, modified)));
  });

  test("a zip's entries are where its directory says", () => {
    const bytes = Buffer.from(zip(files, modified));
    const end = bytes.length - 22;
    expect(bytes.toString("latin1", end, end + 4)).toBe("PK\u0005\u0006");
    let at = bytes.readUInt32LE(end + 16);
    for (const file of files) {
      expect(bytes.toString("latin1", at, at + 4)).toBe("PK\u0001\u0002");
      const [packed, size, nameLength] = [
        bytes.readUInt32LE(at + 20),
        bytes.readUInt32LE(at + 24),
        bytes.readUInt16LE(at + 28),
      ];
      expect(bytes.toString("utf8", at + 46, at + 46 + nameLength)).toBe(file.name);
      expect((bytes.readUInt32LE(at + 38) >>> 16) & 0o777).toBe(file.executable ? 0o755 : 0o644);
      const local = bytes.readUInt32LE(at + 42);
      expect(bytes.toString("latin1", local, local + 4)).toBe("PK\u0003\u0004");
      const data = local + 30 + nameLength;
      expect(new Uint8Array(inflateRawSync(bytes.subarray(data, data + packed)))).toEqual(
        new Uint8Array(file.content),
      );
      expect(size).toBe(file.content.length);
      at += 46 + nameLength;
    }
    expect(at).toBe(end);
  });

  test.skipIf(Bun.which("unzip") === null)("unzip finds no fault in a zip", () => {
    writeFileSync(join(folder, "a.zip"), zip(files, modified));
    const { exitCode, stdout } = Bun.spawnSync(["unzip", "-t", "a.zip"], { cwd: folder });
    expect([exitCode, stdout.toString()]).toEqual([
      0,
      expect.stringContaining("No errors detected"),
    ]);
  });
});

const script = (name: string, ...options: string[]) => {
  const { exitCode, stdout, stderr } = Bun.spawnSync(
    [process.execPath, join(scripts, name), ...options],
    { cwd: folder },
  );
  return { exitCode, out: stdout.toString(), err: stderr.toString() };
};
const project = (changelog: string): void => {
  writeFileSync(join(folder, "package.json"), '{"version":"1.2.3"}');
  for (const file of ["LICENSE", "README.md", "config.yaml.example"])
    writeFileSync(join(folder, file), file);
  const data = join(folder, "src", "tokens", "data");
  mkdirSync(data, { recursive: true });
  for (const file of ["NOTICE.md", "LICENSE-APACHE-2.0.txt", "LICENSE-LLAMA-3.1.txt"])
    writeFileSync(join(data, file), file);
  writeFileSync(join(folder, "CHANGELOG.md"), changelog);
  mkdirSync(join(folder, "src", "tokens"), { recursive: true });
  writeFileSync(
    join(folder, "src", "main.ts"),
    `const worker = new Worker(new URL("./tokens/worker.js", import.meta.url));
     worker.onmessage = ({ data }) => { console.log(data, process.env["STRAY"] ?? "clean"); worker.terminate(); };`,
  );
  writeFileSync(
    join(folder, "src", "tokens", "worker.ts"),
    'declare const self: Worker; self.postMessage("counted");',
  );
};

describe("release", () => {
  test.each(["", "# Changes\n\n## [1.2.30] - 2030-01-01\n", "## [Unreleased]\n1.2.3\n"])(
    "refuses a version without its section in %j",
    (changelog) => {
      project(changelog);
      const { exitCode, err } = script("release.ts");
      expect(exitCode).toBe(1);
      expect(err).toContain("## [1.2.3]");
      expect(existsSync(join(folder, "dist"))).toBe(false);
    },
  );

  test("refuses without the files that belong into an archive, and an unknown platform", () => {
    project("## [1.2.3]\n");
    expect(script("release.ts", "--only", "amiga").err).toContain(
      "There are: linux-x64, linux-x64-musl",
    );
    rmSync(join(folder, "LICENSE"));
    expect(script("release.ts").err).toContain("LICENSE is missing");
  });
});

const native = `${process.platform}-${process.arch}`;
test.skipIf(!["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"].includes(native))(
  "an archive for this platform holds a program that runs anywhere, its worker included",
  () => {
    project("## [1.2.3] - 2030-01-01\n");
    const { exitCode, out, err } = script("release.ts", "--only", native);
    expect([exitCode, err]).toEqual([0, ""]);
    expect(out).toContain(`[1/1] ${native}`);
    const dist = join(folder, "dist");
    const archive = `cooldown-1.2.3-${native}.tar.gz`;
    expect(readdirSync(dist).sort()).toEqual(["SHA256SUMS", archive]);
    const digest = new Bun.CryptoHasher("sha256")
      .update(readFileSync(join(dist, archive)))
      .digest("hex");
    expect(readFileSync(join(dist, "SHA256SUMS"), "utf8")).toBe(`${digest}  ${archive}\n`);

    const elsewhere = mkdtempSync(join(tmpdir(), "cooldown-"));
    Bun.spawnSync(["tar", "xzf", join(dist, archive)], { cwd: elsewhere });
    expect(readdirSync(elsewhere).sort()).toEqual([
      "LICENSE",
      "LICENSE-APACHE-2.0.txt",
      "LICENSE-LLAMA-3.1.txt",
      "NOTICE.md",
      "README.md",
      "config.yaml.example",
      "cooldown",
    ]);
    writeFileSync(join(elsewhere, ".env"), "STRAY=1\n");
    writeFileSync(join(elsewhere, "bunfig.toml"), 'preload = ["./missing.ts"]\n');
    const ran = Bun.spawnSync(["./cooldown"], { cwd: elsewhere });
    expect([ran.stdout.toString(), ran.stderr.toString()]).toEqual(["counted clean\n", ""]);
    rmSync(elsewhere, { recursive: true });
  },
  60_000,
);
