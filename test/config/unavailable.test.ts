import { expect, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";
import { warnOfUnavailable } from "../../src/config/unavailable.ts";

function warningsOf(yaml: string): string[] {
  const { config } = loadConfig({ path: "c.yaml", cwd: "/", env: {}, readFile: () => yaml });
  return warnOfUnavailable(config);
}

test("defaults warn of nothing", () => {
  expect(warningsOf("")).toEqual([]);
});

test.each([['inference: { workers: ["127.0.0.1:50051"] }', "inference.workers"]])(
  "%p is said to have no effect",
  (yaml, key) => {
    expect(warningsOf(yaml)).toEqual([`${key} is set, and has no effect in this version yet`]);
  },
);
