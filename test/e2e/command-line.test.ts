import { expect, setDefaultTimeout, test } from "bun:test";
import { rawServer } from "../upstream/raw-server.ts";
import { ask } from "./client.ts";
import { folder, runProgram, startProgram, startProxy } from "./program.ts";

// Processes start slowly on a busy machine.
setDefaultTimeout(30_000);

test("--help on every command says how it is used", async () => {
  const top = await runProgram(["--help"]);
  expect(top.code).toBe(0);
  expect(top.out).toMatch(/^Usage: cooldown/);
  for (const command of ["serve", "check", "mock", "demo", "version"]) {
    expect(top.out).toContain(command);
    const help = await runProgram([command, "--help"]);
    expect([command, help.code]).toEqual([command, 0]);
    expect(help.out).toMatch(new RegExp(`^Usage: .*${command}`));
    expect(help.err).toBe("");
  }
});

test("version and --version say the version", async () => {
  for (const args of [["version"], ["--version"], ["-version"]]) {
    const { code, out } = await runProgram(args);
    expect([code, out]).toEqual([0, expect.stringMatching(/^cooldown \d+\.\d+\.\d+\n$/)]);
  }
});

test.each([
  { args: ["--no-such-flag"], says: "--no-such-flag" },
  { args: ["frobnicate"], says: "frobnicate" },
  { args: ["--port", "99999"], says: "99999" },
  { args: ["--port", "http"], says: "http" },
  { args: ["--log-level", "loud"], says: "loud" },
  { args: ["check", "--config", "/no/such/file.yaml"], says: "/no/such/file.yaml" },
  { args: ["--config"], says: "config.yaml" },
  { args: ["mock", "--profile", "nobody"], says: "nobody" },
])("wrong usage ends with code 2 and one message: $args", async ({ args, says }) => {
  using at = folder();
  const { code, out, err } = await runProgram(args, { cwd: at.path });
  expect([code, out]).toEqual([2, ""]);
  expect(err).toContain(says);
  expect(err).not.toMatch(/^\s+at .*:\d+/m);
});

test("a broken file is code 2 with file, line, column and what was meant", async () => {
  using at = folder();
  const path = at.write("my.yaml", "server:\n  prot: 80\nrate_limits:\n  - domain: 5x..y\n");
  for (const args of [
    ["--config", path],
    ["check", "--config", path],
    ["check", "-config", path],
  ]) {
    const { code, err } = await runProgram(args);
    expect(code).toBe(2);
    expect(err).toMatch(/my\.yaml:2:3: .*server\.prot.*did you mean/);
    expect(err).toMatch(/my\.yaml:4:13: /);
  }
});

test("check prints the effective configuration with secrets hidden", async () => {
  using at = folder();
  at.write(
    "config.yaml",
    `server: { admin_token: "\${TOKEN}", port: 1234 }
upstream_proxy: http://user:hidden-password@proxy.test:3128
quotas: [{ name: q, domain: api.test, rpm: 5, api_keys: ["sk-hidden-key"] }]
`,
  );
  const { code, out } = await runProgram(["check", "--config"], {
    cwd: at.path,
    env: { TOKEN: "hidden-token" },
  });
  expect(code).toBe(0);
  expect(out).toContain("***");
  expect(out).toContain("port: 1234");
  expect(out).not.toContain("hidden");
});

test("a port in use is code 1 and says what to do", async () => {
  using at = folder();
  await using taken = await rawServer();
  const args = ["--store", ":memory:", "--host", "127.0.0.1", "--port", String(taken.port)];
  const { code, out, err } = await runProgram(args, { cwd: at.path });
  expect([code, out]).toEqual([1, ""]);
  expect(err).toContain(`Port ${taken.port} on 127.0.0.1 is in use`);
  expect(err).not.toMatch(/^\s+at .*:\d+/m);
});

test("a second process on the same store is code 1, and the first goes on", async () => {
  using at = folder();
  await using first = await startProxy("", { at });
  const args = ["--port", "0", "--store", at.file("cooldown.db")];
  const { code, out, err } = await runProgram(args, { cwd: at.path });
  expect([code, out]).toEqual([1, ""]);
  expect(err).toMatch(/cooldown\.db is in use by another process/);
  expect(err).toContain("--store");
  expect((await ask(first.port, { path: "/health" })).status).toBe(200);
});

test("a store that is none, and one that cannot be written, are code 1", async () => {
  using at = folder();
  at.write("text.db", "this is no database".repeat(100));
  const broken = await runProgram(["--port", "0", "--store", at.file("text.db")], { cwd: at.path });
  expect([broken.code, broken.out]).toEqual([1, ""]);
  expect(broken.err).toMatch(/text\.db is damaged or not a Cooldown store/);
  const below = at.file("text.db/x.db");
  const nowhere = await runProgram(["--port", "0", "--store", below], { cwd: at.path });
  expect([nowhere.code, nowhere.out]).toEqual([1, ""]);
  expect(nowhere.err).toContain("cannot be written");
});

test("flags win over the environment, that over the file; ./config.yaml is found", async () => {
  using at = folder();
  at.write("config.yaml", "server: { port: 1, host: 127.0.0.1 }\n");
  await using program = startProgram(["serve", "-port", "0", "--store=:memory:"], {
    cwd: at.path,
    env: { PORT: "2", OPENAI_API_URL: "https://openai.test", RATE_LIMIT: "7" },
  });
  const [, port] = await program.said(/listens on http:\/\/127\.0\.0\.1:(\d+)\n/);
  await program.said(/configuration: .*config\.yaml/);
  const stats = (await ask(Number(port), { path: "/stats" })).json();
  expect(stats).toMatchObject({ openai_url: "https://openai.test", rate_limit: 7 });
});

test("without a file the built-in defaults are used, and the log says so", async () => {
  using at = folder();
  await using program = startProgram(["--port", "0"], {
    cwd: at.path,
    env: { XDG_STATE_HOME: at.path },
  });
  await program.said(/listens on http:\/\/localhost:(\d+)\n/);
  await program.said(/configuration: .*default/);
  expect(await Bun.file(at.file("cooldown/cooldown.db")).exists()).toBe(true);
});

test("the simulator runs until a signal", async () => {
  await using mock = startProgram(["mock", "--port", "0", "--rpm", "2", "--latency", "0"]);
  const [, port] = await mock.said(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
  expect((await ask(Number(port), { path: "/__mock/stats" })).json().requests).toBe(0);
  mock.kill("SIGTERM");
  expect((await mock.ended).code).toBe(0);
});
