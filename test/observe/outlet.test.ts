import { expect, test } from "bun:test";
import { closeSync, constants, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

import { createOutlet as createByteOutlet } from "../../src/observe/outlet.ts";

/** An outlet whose writer gets text. */
function createOutlet(
  write: (text: string) => void | Promise<void>,
  ...rest: Parameters<typeof createByteOutlet> extends [unknown, ...infer R] ? R : never
) {
  return createByteOutlet((bytes) => write(new TextDecoder().decode(bytes)), ...rest);
}

function gate() {
  const writes: string[] = [];
  let open: (() => void) | null = null;
  const write = (text: string): Promise<void> => {
    writes.push(text);
    return new Promise((done) => (open = done));
  };
  return { writes, write, release: () => open?.() };
}
const turn = (): Promise<void> => new Promise((done) => void setImmediate(done));

test("a write under way holds back the next, in order", async () => {
  const { writes, write, release } = gate();
  const outlet = createOutlet(write, String, undefined, setImmediate);
  outlet.push("a\n");
  await turn();
  outlet.push("b\n");
  outlet.push("c\n");
  await turn();
  expect(writes).toEqual(["a\n"]);
  release();
  await turn();
  expect(writes).toEqual(["a\n", "b\nc\n"]);
});

test("a reader that does not read costs a bounded buffer, and the loss is told", async () => {
  const { writes, write, release } = gate();
  const outlet = createOutlet(write, (count) => `dropped ${count}\n`, 10, setImmediate);
  outlet.push("first\n");
  await turn();
  for (let count = 0; count < 5; count += 1) outlet.push("123\n");
  release();
  await turn();
  expect(writes).toEqual(["first\n", "123\n123\ndropped 3\n"]);
});

test("a burst over the bound in one turn is written at once, not dropped", async () => {
  const writes: string[] = [];
  const outlet = createOutlet((text) => void writes.push(text), String, 10, setImmediate);
  for (let count = 0; count < 5; count += 1) outlet.push("1234\n");
  await outlet.flush();
  expect(writes.join("")).toBe("1234\n".repeat(5));
});

test("flush ends even when the reader never takes the text", async () => {
  const outlet = createOutlet(() => new Promise(() => {}), String);
  outlet.push("x\n");
  await outlet.flush(1);
});

test("a writer that throws or rejects does no harm", async () => {
  const outlet = createOutlet(() => Promise.reject(new Error("gone")), String);
  outlet.push("x\n");
  await outlet.flush();
  const throwing = createOutlet(() => {
    throw new Error("gone");
  }, String);
  throwing.push("x\n");
  await throwing.flush();
});

const program = (body: string): string[] => {
  const log = resolve(import.meta.dir, "../../src/observe/log.ts");
  const source = `import { createLog } from ${JSON.stringify(log)};
    const log = createLog({ level: "info", format: "auto" });
    ${body}`;
  return [process.execPath, "-e", source];
};

test("standard error that is closed does not end the program", async () => {
  const child = Bun.spawn(
    [
      "sh",
      "-c",
      'exec 2>&-; exec "$@"',
      "sh",
      ...program(`log.info("x"); await log.flush(); console.log("alive")`),
    ],
    { stdout: "pipe", stderr: "ignore" },
  );
  expect(await child.stdout.text()).toBe("alive\n");
});

test.skipIf(process.platform === "win32")(
  "a pipe that nobody reads does not block the program",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "cooldown-"));
    const pipe = join(folder, "stderr");
    Bun.spawnSync(["mkfifo", pipe]);
    // Open for both, so that neither end waits for the other; and then nobody reads.
    const fd = openSync(pipe, constants.O_RDWR);
    const body = `for (let i = 0; i < 50; i++) {
      for (let j = 0; j < 200; j++) log.info("x".repeat(200));
      await new Promise((done) => setImmediate(done));
    }
    console.log("alive");
    await log.flush();
    process.exit(0);`;
    const child = Bun.spawn(program(body), { stdout: "pipe", stderr: fd });
    expect(await child.stdout.text()).toBe("alive\n");
    expect(await child.exited).toBe(0);
    closeSync(fd);
    rmSync(folder, { recursive: true });
  },
);

test("on no terminal lines are JSON, and flush gets them out before the exit", async () => {
  const child = Bun.spawn(program(`log.info("last words"); await log.flush(); process.exit(0)`), {
    stderr: "pipe",
  });
  expect(JSON.parse(await child.stderr.text())).toMatchObject({
    level: "info",
    message: "last words",
  });
});
