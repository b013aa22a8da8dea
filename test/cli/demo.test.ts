import { describe, expect, test } from "bun:test";

import { demoCommand } from "../../src/cli/demo.ts";
import { burst, countOf, quantile } from "../../src/cli/demo-load.ts";
import { liveView, plainView, table } from "../../src/cli/demo-view.ts";
import type { Io } from "../../src/cli/io.ts";
import { OperationError } from "../../src/errors.ts";
import { runProgram, startProgram } from "./program-run.ts";

test("a burst is refused straight and held through Cooldown", async () => {
  const { code, out, err } = await runProgram(["demo", "--requests", "45"]);
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(out).toContain("20 answered, 25 × 429");
  const cells = new Map(
    out.split("\n").map((line) => {
      const [name = "", ...values] = line.trim().split(/ {2,}/);
      return [name, values] as const;
    }),
  );
  expect(cells.get("answered")).toEqual(["20", "45"]);
  expect(cells.get("429 from the provider")).toEqual(["25", "0"]);
  expect(cells.get("most in any second")?.[1]).toBe("20 of 20");
  expect(Number.parseFloat(cells.get("until the last answer")?.[1] ?? "")).toBeGreaterThan(2);
});

test("a signal ends it early, with 1", async () => {
  const program = startProgram(["demo", "--requests", "200"]);
  await program.said(/through Cooldown on/);
  program.stop();
  expect(await program.code).toBe(1);
  expect(program.err()).toContain("stopped before its end");
});

test("on a terminal the display redraws itself in place", async () => {
  let out = "";
  const io: Io = {
    out: (text) => void (out += text),
    err: () => undefined,
    env: {},
    onSignal: () => undefined,
    onHangUp: () => undefined,
  };
  await demoCommand(io, { live: true }).parseAsync(["--requests", "1"], { from: "user" });
  expect(out).toContain("█ 1 of 1");
});

describe("parts", () => {
  const progress = {
    elapsedMs: 1_250,
    total: 40,
    waiting: 20,
    answered: 10,
    inLastSecond: 5,
    limitPerSecond: 20,
    refused: 0,
  };

  test("the live display goes back over what it has drawn", () => {
    const written: string[] = [];
    const view = liveView((text) => written.push(text));
    view.show(progress);
    view.show({ ...progress, waiting: 0, answered: 40 });
    expect(written[0]).toContain(`${"█".repeat(20)}${"░".repeat(20)} 20\n`);
    expect(written[0]).not.toContain("\u001B");
    expect(written[1]).toStartWith("\r\u001B[4A\u001B[J");
    expect(written[1]).toContain("40 of 40");
  });

  test("the plain display is a line", () => {
    const written: string[] = [];
    plainView((text) => written.push(text)).show(progress);
    expect(written).toEqual([
      "   1.3 s    20 waiting,   10 of 40 answered, 0 × 429 from the provider\n",
    ]);
  });

  test("a table's columns stand under each other", () => {
    const rows = [
      ["", "one", "two"],
      ["name", "1", "20,000"],
    ];
    expect(table(rows)).toBe("         one      two\n  name     1   20,000\n");
  });

  test.each([
    [[], 0.5, 0],
    [[3], 0.5, 3],
    [[4, 1, 3, 2], 0.5, 2],
    [[4, 1, 3, 2], 1, 4],
    [[4, 1, 3, 2], 0, 1],
  ])("quantile of %p at %p is %p", (values, share, expected) => {
    expect(quantile(values, share)).toBe(expected);
  });

  test("a burst at an address where nobody listens says which", async () => {
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
    const url = `http://127.0.0.1:${server.port}`;
    const answers = await burst(url, 3, AbortSignal.timeout(5_000));
    expect(countOf(answers, 200)).toBe(3);
    await server.stop(true);
    const failed: unknown = await burst(url, 1, new AbortController().signal).catch(
      (error: unknown) => error,
    );
    expect(failed).toBeInstanceOf(OperationError);
    expect(String(failed)).toContain(url);
  });
});
