import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import manifest from "../../package.json" with { type: "json" };
import { makeCertificate } from "../e2e/certificates.ts";
import { runProgram, startProgram } from "./program-run.ts";

const commands = ["serve", "check", "mock", "demo", "version"] as const;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cooldown-cli-"));
  writeFileSync(
    join(folder, "good.yaml"),
    "server: { admin_token: 'sesame' }\ncerebras_limits:\n  rpm_limit: 120\n",
  );
  writeFileSync(join(folder, "bad.yaml"), "cerebras_limits:\n  rpm_limt: 120\n");
});
afterAll(() => rmSync(folder, { recursive: true }));

const file = (name: string): string => join(folder, name);

describe("help", () => {
  test("of the program names every command and says what no command means", async () => {
    const { code, out, err } = await runProgram(["--help"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const name of commands) expect(out).toMatch(new RegExp(`^  ${name} .*\\S{3}`, "m"));
    expect(out).toContain('Without a command it is "cooldown serve"');
  });

  test.each(commands)("of %s says what it does and how to call it", async (name) => {
    const { code, out, err } = await runProgram([name, "--help"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain(`Usage: cooldown ${name}`);
    const [usage = "", description = ""] = out.split("\n\n");
    expect(usage).not.toContain("\n");
    expect(description.length).toBeGreaterThan(15);
  });

  test.each([
    ["serve", ["--port <PORT>", "(PORT)", "--shutdown-timeout", "Examples:", "SIGHUP"]],
    ["mock", ["--rpm", "--jitter", "Examples:", "/__mock/stats"]],
    ["demo", ["free ports", "Ends with 0"]],
    ["check", ["--config [PATH]", "secrets as ***"]],
  ] as const)("of %s teaches it", async (name, parts) => {
    const { out } = await runProgram([name, "-help"]);
    for (const part of parts) expect(out).toContain(part);
  });
});

describe("version", () => {
  test.each([["version"], ["--version"], ["-version"], ["-v"]])("%s", async (arg) => {
    expect(await runProgram([arg])).toEqual({
      code: 0,
      out: `cooldown ${manifest.version}\n`,
      err: "",
    });
  });
});

describe("wrong usage ends with 2 and one message that says what to do", () => {
  test.each([
    [["serv"], 'unknown command "serv"; there are serve, check, mock, demo, version.'],
    [["help", "serv"], 'unknown command "serv"; there are serve, check, mock, demo, version.'],
    [["check", "twice"], "too many arguments"],
    [["--prot", "1"], "unknown option '--prot'"],
    [["--port"], "argument missing"],
    [["--port", "http"], "--port"],
    [["-port", "70000"], "--port"],
    [["mock", "--profile", "acme"], "acme"],
    [["mock", "--rpm", "many"], '"many" is not a number'],
    [["demo", "--requests", "0"], "1 to 200"],
    [["version", "--verbose"], "unknown option '--verbose'"],
  ])("%p", async (args, message) => {
    const { code, out, err } = await runProgram(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toStartWith("cooldown: ");
    expect(err).toEndWith("\n");
    expect(err).toContain(message);
    expect(err).not.toContain("    at ");
  });

  test("a command's own help is pointed to", async () => {
    const { err } = await runProgram(["check", "--wat"]);
    expect(err).toContain('See "cooldown check --help".');
  });
});

describe("check", () => {
  test.each([["--config"], ["-config"], ["-c"]])("%s: a good file", async (flag) => {
    const { code, out, err } = await runProgram(["check", flag, file("good.yaml")]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain(`# effective configuration, from ${file("good.yaml")}`);
    expect(out).toContain("rpm_limit: 120");
    expect(out).toContain("***");
    expect(out).not.toContain("sesame");
  });

  test("the flag's value may stand after an equals sign", async () => {
    expect((await runProgram(["check", `-config=${file("good.yaml")}`])).code).toBe(0);
  });

  test("the environment names the file too", async () => {
    const { out } = await runProgram(["check"], { COOLDOWN_CONFIG: file("good.yaml") });
    expect(out).toContain("rpm_limit: 120");
  });

  test("a bad file: where, what, and what was meant", async () => {
    const { code, out, err } = await runProgram(["check", "--config", file("bad.yaml")]);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(
      'bad.yaml:2:3: cerebras_limits.rpm_limt: unknown key; did you mean "rpm_limit"?',
    );
  });

  test("no such file", async () => {
    const { code, err } = await runProgram(["check", "--config", file("none.yaml")]);
    expect(code).toBe(2);
    expect(err).toContain("there is no such file");
  });
});

describe("check and serve refuse a file that names one which cannot be used", () => {
  test.each([
    [
      "server: { tls: { cert: none.pem, key: a.key } }",
      "server.tls.cert: ",
      "none.pem cannot be read",
    ],
    [
      "server: { tls: { cert: a.pem, key: none.key } }",
      "server.tls.key: ",
      "none.key cannot be read",
    ],
    [
      "server: { tls: { cert: a.key, key: a.key } }",
      "server.tls.cert: ",
      "has no certificate in PEM",
    ],
    [
      "server: { tls: { cert: a.pem, key: a.pem } }",
      "server.tls.key: ",
      "has no private key in PEM",
    ],
    ["server: { tls: { cert: a.pem, key: b.key } }", "server.tls.key: ", "is not the key of the"],
    ["extra_ca: none.pem", "extra_ca: ", "none.pem cannot be read"],
    ["extra_ca: a.key", "extra_ca: ", "a.key has no certificate in PEM form"],
    ["tokenizers: [{ match: x, file: none.json }]", "The tokenizer ", "none.json cannot be read"],
    ["tokenizers: [{ match: x, file: a.pem }]", "The tokenizer ", "is not JSON"],
  ])("%s", async (yaml, start, problem) => {
    const [a, b] = [makeCertificate("a"), makeCertificate("b")];
    for (const [name, text] of [
      ["a.pem", a.cert],
      ["a.key", a.key],
      ["b.key", b.key],
      ["names.yaml", yaml],
    ] as const) {
      writeFileSync(file(name), text);
    }
    const checked = await runProgram(["check", "--config", file("names.yaml")]);
    expect({ code: checked.code, out: checked.out }).toEqual({ code: 2, out: "" });
    expect(checked.err).toStartWith(`cooldown: ${start}${folder}/`);
    expect(checked.err).toContain(problem);
    const args = ["--port", "0", "--store", ":memory:", "--config", file("names.yaml")];
    expect(await runProgram(args)).toEqual(checked);
  });
});

describe("serve", () => {
  const quiet = ["--port", "0", "--store", ":memory:", "--log-level", "error"];

  test.each([
    ["without a command", [...quiet]],
    ["by name", ["serve", ...quiet]],
    ["with one dash", ["-port", "0", "-store=:memory:", "-log-level", "error"]],
  ])("%s: says where it listens, answers, and ends with 0 at a signal", async (_, args) => {
    const program = startProgram([...args, "--config", file("good.yaml")]);
    const [, url = ""] = await program.said(/^cooldown \S+ listens on (http:\S+)\n$/);
    const health = (await (await fetch(`${url}/health`)).json()) as Record<string, unknown>;
    expect(health).toMatchObject({ status: "healthy", version: manifest.version });
    program.stop();
    expect(await program.code).toBe(0);
    expect(program.err()).toBe("");
  });

  test("a port in use ends with 1 and says so", async () => {
    using taken = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
    const args = [...quiet, "--config", file("good.yaml"), "--port", String(taken.port)];
    const { code, out, err } = await runProgram(args);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toBe(
      `cooldown: Port ${taken.port} on 127.0.0.1 is in use. Stop what uses it, or choose another: --port N.\n`,
    );
  });

  test("a stack trace comes with --log-level debug alone", async () => {
    using taken = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
    const args = ["--store", ":memory:", "--config", file("good.yaml"), "--port", `${taken.port}`];
    expect((await runProgram([...args, "--log-level", "debug"])).err).toContain("    at ");
    expect((await runProgram([...args, "--log-level=debug"])).err).toContain("    at ");
  });

  test("a changed file comes into force at SIGHUP", async () => {
    const path = file("live.yaml");
    writeFileSync(path, "server: { log_level: error }\ncerebras_limits: { rpm_limit: 7 }\n");
    const program = startProgram(["--port", "0", "--store", ":memory:", "-config", path]);
    const [, url = ""] = await program.said(/listens on (\S+)/);
    const limit = async (): Promise<number | undefined> => {
      const stats = (await (await fetch(`${url}/stats`)).json()) as {
        quotas: { windows: { unit: string; limit: number }[] }[];
      };
      return stats.quotas[0]?.windows.find(({ unit }) => unit === "requests")?.limit;
    };
    expect(await limit()).toBe(7);
    writeFileSync(path, "server: { log_level: error }\ncerebras_limits: { rpm_limit: 9 }\n");
    program.hangUp();
    expect(await limit()).toBe(9);
    program.stop();
    expect(await program.code).toBe(0);
  });
});

test("mock: says where it listens, and ends with 0 at a signal", async () => {
  const program = startProgram(["mock", "-port", "0", "-profile", "plain"]);
  const [, url = ""] = await program.said(/listening on (http:[^\s,]+)/);
  expect((await fetch(`${url}/__mock/stats`)).status).toBe(200);
  program.stop();
  expect(await program.code).toBe(0);
});
