import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { checkCommand } from "../../src/cli/check.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { LoadOptions } from "../../src/config/load.ts";
import { printConfig } from "../../src/config/print.ts";
import { schemaKeys } from "../../src/config/schema.ts";
import { serveFlags, settings } from "../../src/config/settings.ts";
import { UsageError } from "../../src/errors.ts";

const cwd = realpathSync(mkdtempSync(join(tmpdir(), "config-")));
afterAll(() => rmSync(cwd, { recursive: true }));
const root = join(import.meta.dir, "..", "..");

/** Reads from these files alone. */
function filesOnly(files: Record<string, string>): (path: string) => string {
  return (path) => {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
    return text;
  };
}

function loadText(text: string, options: Partial<LoadOptions> = {}) {
  return loadConfig({
    cwd: "/work",
    env: {},
    home: "/home/me",
    platform: "linux",
    readFile: () => text,
    ...options,
  });
}

function message(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return "no error";
}

describe("which file is read", () => {
  const files = {
    "/work/config.yaml": "server: {port: 1}",
    "/work/b.yaml": "server: {port: 2}",
    "/etc/c.yaml": "server: {port: 3}",
  };
  const cases: [string, LoadOptions["path"], Record<string, string>, string, number][] = [
    ["./config.yaml where nothing is said", undefined, {}, "/work/config.yaml", 1],
    ["./config.yaml for --config alone", true, {}, "/work/config.yaml", 1],
    ["the path of --config", "b.yaml", {}, "/work/b.yaml", 2],
    ["the path of COOLDOWN_CONFIG", null, { COOLDOWN_CONFIG: "/etc/c.yaml" }, "/etc/c.yaml", 3],
    [
      "--config before COOLDOWN_CONFIG",
      "b.yaml",
      { COOLDOWN_CONFIG: "/etc/c.yaml" },
      "/work/b.yaml",
      2,
    ],
    [
      "--config alone before COOLDOWN_CONFIG",
      true,
      { COOLDOWN_CONFIG: "/etc/c.yaml" },
      "/work/config.yaml",
      1,
    ],
    ["no file for an empty COOLDOWN_CONFIG", null, { COOLDOWN_CONFIG: "" }, "/work/config.yaml", 1],
  ];
  for (const [what, path, env, source, port] of cases) {
    test(what, () => {
      const loaded = loadConfig({
        path: path ?? null,
        env,
        cwd: "/work",
        readFile: filesOnly(files),
      });
      expect({ source: loaded.source, path: loaded.path, port: loaded.config.server.port }).toEqual(
        { source, path: source, port },
      );
    });
  }

  test("built-in defaults where there is no file", () => {
    const loaded = loadConfig({ env: {}, cwd: "/work", readFile: filesOnly({}) });
    expect([loaded.source, loaded.path]).toEqual(["built-in defaults", null]);
  });

  const missing: [LoadOptions["path"], Record<string, string>, string][] = [
    [
      "x.yaml",
      {},
      "--config: x.yaml: there is no such file; config.yaml.example is one to start from",
    ],
    [
      true,
      {},
      "--config: config.yaml: there is no such file; config.yaml.example is one to start from",
    ],
    [
      null,
      { COOLDOWN_CONFIG: "/x" },
      "environment variable COOLDOWN_CONFIG: /x: there is no such file; config.yaml.example is one to start from",
    ],
    ["", {}, "--config: the path is empty; leave it out for ./config.yaml"],
  ];
  for (const [path, env, expected] of missing) {
    test(`a file that is asked for must be there: ${path}`, () => {
      expect(
        message(() =>
          loadConfig({ path: path ?? null, env, cwd: "/work", readFile: filesOnly({}) }),
        ),
      ).toBe(expected);
    });
  }

  test("real files: a directory, one that is too large, one that never ends", () => {
    mkdirSync(join(cwd, "d"));
    writeFileSync(join(cwd, "large.yaml"), `# ${"x".repeat(1_000_000)}`);
    const load = (path: string) => message(() => loadConfig({ path, env: {}, cwd }));
    expect(load("d")).toBe("--config: d: is a directory; give the path of a file");
    expect(load("large.yaml")).toBe(
      "large.yaml: is larger than 1 MB; this is not a configuration file",
    );
    expect(load("/dev/zero")).toBe(
      "/dev/zero: is larger than 1 MB; this is not a configuration file",
    );
  });

  test("what cannot be read is named even where nobody asked for it", () => {
    const refuse = (): string => {
      throw Object.assign(new Error("no"), { code: "EACCES" });
    };
    const fail = (): string => {
      throw new Error("the disk is gone");
    };
    expect(message(() => loadConfig({ env: {}, cwd, readFile: refuse }))).toBe(
      "config.yaml: may not be read by this user",
    );
    expect(message(() => loadConfig({ env: {}, cwd, readFile: fail }))).toBe(
      "config.yaml: cannot be read: the disk is gone",
    );
  });
});

describe("where a value comes from", () => {
  const file = "server: { port: 1 }";
  const cases: [string, Partial<LoadOptions>, number][] = [
    ["flag over all", { flags: { port: "3" }, env: { PORT: "2" } }, 3],
    ["environment over file", { env: { PORT: "2" } }, 2],
    ["file over default", {}, 1],
    ["an empty variable is none", { env: { PORT: " " } }, 1],
    ["a flag that was not given is none", { flags: { port: undefined } }, 1],
    ["a flag may be a number", { flags: { port: 4 } }, 4],
  ];
  for (const [what, options, port] of cases) {
    test(what, () => expect(loadText(file, options).config.server.port).toBe(port));
  }

  test("flags are known by either spelling", () => {
    for (const name of ["log-level", "logLevel"]) {
      expect(loadText("", { flags: { [name]: "warn" } }).config.server.log_level).toBe("warn");
    }
  });

  test("paths in the file are relative to it, paths of flags to the working directory", () => {
    const readFile = () => "storage: { path: usage.db }";
    const load = (flags: Record<string, string>) =>
      loadText("", { path: "/etc/cooldown/c.yaml", readFile, flags });
    expect(load({}).config.storage.path).toBe("/etc/cooldown/usage.db");
    expect(load({ store: "mine.db" }).config.storage.path).toBe("/work/mine.db");
    expect(load({ store: ":memory:" }).config.storage.path).toBe(":memory:");
  });

  test("every flag and variable sets its key", () => {
    const keys = schemaKeys();
    for (const { key } of settings) expect(keys).toContain(key);
    const flags =
      "--host --port --proto --log-level --store --limiter --redis-addr --rate-limit --rate-burst --worker-addrs " +
      "--read-timeout --write-timeout --idle-timeout --inference-timeout --shutdown-timeout";
    expect(serveFlags.map(({ flag }) => flag).toSorted()).toEqual(flags.split(" ").toSorted());
  });
});

describe("hostile files", () => {
  const nested = (open: string, close: string): string =>
    `a: ${open.repeat(20_000)}${close.repeat(20_000)}`;
  const cases: [string, string][] = [
    ["nested lists", nested("[", "]")],
    ["nested maps", nested("{a: ", "}")],
    ["a list that never ends", "[".repeat(500_000)],
    ["many problems", Array.from({ length: 1_000 }, (_, index) => `x${index}: 1`).join("\n")],
    ["control characters", "server: { host: \u0000 }"],
  ];
  for (const [what, text] of cases) {
    test(`${what} are a readable error`, () => {
      const lines = message(() => loadText(text)).split("\n");
      expect(lines[0]).toMatch(/^config\.yaml:\d+:\d+: /);
      expect(lines.length).toBeLessThanOrEqual(51);
    });
  }

  test("whatever a file says, it is loaded or refused with a position", () => {
    const key = fc.constantFrom(
      ...schemaKeys()
        .flatMap((path) => path.split(/[.[\]*]+/))
        .filter(Boolean),
    );
    const leaf = fc.oneof(
      fc.anything({ maxDepth: 0 }),
      fc.constantFrom("*.a.b", "${X}", "1h", 0, -1, [], {}, "http://a"),
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: "small" },
        leaf,
        fc.dictionary(key, tie("tree")),
        fc.array(tie("tree"), { maxLength: 3 }),
      ),
    }));
    const safe = (_: string, value: unknown) => (typeof value === "bigint" ? String(value) : value);
    fc.assert(
      fc.property(fc.dictionary(key, tree), (value) => {
        const said = message(() => loadText(JSON.stringify(value, safe)));
        if (said !== "no error") expect(said).toMatch(/^config\.yaml:\d+:\d+: /);
      }),
    );
  });
});

const full = `
server:
  admin_token: SECRET1
  hostnames: [cooldown]
  tls: { cert: /c.pem, key: /k.pem }
  trusted_proxies: [10.0.0.0/8]
  read_timeout: 1500ms
  max_body_size: 1MiB
limiter: redis
storage: { path: /s.db, durability: power }
rate_limits:
  - { domain: api.github.com, requests_per_second: 0.5, upstream: "https://me:SECRET2@a.example", request_timeout: 90s }
default_rate_limit: { burst: 2 }
cerebras_limits: { upstream: "https://SECRET3@b.example" }
quotas:
  - { domain: api.openai.com, rpm: 5, arrival_margin: 0, api_keys: [SECRET4, SECRET5], upstream: "http://a:SECRET6@c.example" }
default_upstream: "https://:SECRET7@d.example"
models: [{ match: "llama*", upstream: "https://x:SECRET8@e.example" }]
upstream_proxy: http://me:SECRET9@proxy:3128
no_proxy: [localhost]
clients:
  identify_by: header:X-Team
  tiers: { free: { rpm: 20, priority: low } }
  keys:
    - { name: a, key: SECRET10, tier: free }
    - { name: b, key_sha256: "${"ab".repeat(32)}" }
redis: { url: "redis://me:SECRET11@cache:6379/0", prefix: "$\${x}:" }
inference: { workers: ["a:50051", "http://me:SECRET12@b:50051"] }
`;

describe("the effective configuration as YAML", () => {
  test("shows no secret", () => {
    const printed = printConfig(loadText(full).config);
    expect(printed).not.toContain("SECRET");
    expect(printed).not.toContain("abab");
    expect(printed.match(/\*\*\*/g)?.length).toBe(13);
    expect(printed).toContain("read_timeout: 1s500ms\n");
    expect(printed).toContain("max_body_size: 1MiB\n");
  });

  test("can be loaded again and is then the same", () => {
    const plain = full
      .replaceAll(/SECRET\d+@/g, "***@")
      .replace("[SECRET4, SECRET5]", "['***']")
      .replace(/key: SECRET10/, 'key: "***"');
    const withoutHash = plain.replace(/.*key_sha256.*\n/, "").replace("SECRET1\n", '"***"\n');
    const { config } = loadText(withoutHash);
    expect(loadText(printConfig(config)).config).toEqual(config);
  });

  test("the defaults too", () => {
    const { config } = loadText("");
    const again = loadText(printConfig(config)).config;
    expect({
      ...again,
      default_rate_limit: { ...again.default_rate_limit, explicit: false },
    }).toEqual(config);
  });
});

describe("cooldown check", () => {
  async function check(files: string, ...args: string[]): Promise<{ out: string; err: string }> {
    writeFileSync(join(cwd, "config.yaml"), files);
    const written = { out: "", err: "" };
    const io = {
      out: (text: string) => void (written.out += text),
      err: (text: string) => void (written.err += text),
      env: {},
    };
    await checkCommand(io, cwd).parseAsync(args, { from: "user" });
    return written;
  }

  test("prints where the configuration is from and what it comes to", async () => {
    const { out, err } = await check(
      "server: { port: 7, admin_token: SECRET }\ndefault_upstream: https://a.example/v1",
      "--config",
    );
    expect(out).toStartWith(
      `# effective configuration, from ${join(cwd, "config.yaml")}\nserver:\n`,
    );
    expect(out).toContain("  port: 7\n");
    expect(out).toContain('  admin_token: "***"\n');
    expect(err).toBe(
      "warning: default_upstream ends in /v1, which is put before the request's own /v1\n",
    );
  });

  test("refuses a bad one", async () => {
    expect(check("server: { prot: 7 }")).rejects.toThrow(
      'config.yaml:1:11: server.prot: unknown key; did you mean "port"?',
    );
  });
});

describe("what comes with the program", () => {
  test("the example is good, and needs nothing from the environment", () => {
    const loaded = loadConfig({ path: "config.yaml.example", env: {}, cwd: root });
    expect(loaded.warnings).toEqual([]);
    expect(loaded.config.server.port).toBe(8080);
  });

  test("every key, flag and variable is in docs/configuration.md", async () => {
    const text = await Bun.file(join(root, "docs", "configuration.md")).text();
    const names = [
      ...schemaKeys().map((path) => path.replaceAll("[]", "").replaceAll(".*", ".NAME")),
      ...settings.flatMap(({ flag, env }) => [flag, env]).filter((name) => name !== null),
      "COOLDOWN_CONFIG",
    ];
    expect(
      names.filter((name) => !text.includes(`\`${name}\``) && !text.includes(`\`${name} `)),
    ).toEqual([]);
  });
});
