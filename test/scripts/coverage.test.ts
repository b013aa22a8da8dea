import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { addUnloaded, measure, readLcov, thresholds } from "../../scripts/coverage.ts";

const lcov = `TN:
SF:src/limit/gcra.ts
DA:1,5
DA:2,0
DA:3,1
LF:3
LH:2
end_of_record
SF:src\\limit\\bucket.ts
DA:1,1
end_of_record
SF:src/limit/gcra.ts
DA:2,4
end_of_record
SF:test/clock.ts
DA:1,0
end_of_record
`;

let root = "";
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "cooldown-"));
  mkdirSync(join(root, "src", "limit"), { recursive: true });
  writeFileSync(join(root, "src", "limit", "gcra.ts"), "");
  writeFileSync(
    join(root, "src", "limit", "forgotten.ts"),
    "/** A. */\nexport const a = 1;\nexport const b = 2;\n",
  );
  writeFileSync(join(root, "src", "limit", "shapes.ts"), "export interface A { a: number }\n");
});
afterAll(() => rmSync(root, { recursive: true }));

test("lines run in any record of a file count as run", () => {
  expect(Object.fromEntries(readLcov(lcov))).toEqual({
    "src/limit/gcra.ts": { hit: 3, lines: 3 },
    "src/limit/bucket.ts": { hit: 1, lines: 1 },
    "test/clock.ts": { hit: 0, lines: 1 },
  });
});

test("a file that no test loads counts as not run, one of types as nothing", () => {
  const covered = readLcov(lcov);
  addUnloaded(covered, root);
  expect(covered.get("src/limit/forgotten.ts")).toEqual({ hit: 0, lines: 2 });
  expect(covered.get("src/limit/shapes.ts")).toEqual({ hit: 0, lines: 0 });
  const limit = { name: "src/limit", of: ["limit"], least: 0.6 };
  expect(measure(covered, limit)).toEqual({
    share: 4 / 6,
    reached: true,
    worst: ["src/limit/forgotten.ts: 2 of 2 lines never ran"],
  });
  expect(measure(covered, { ...limit, least: 0.7 }).reached).toBe(false);
});

test("a part without lines is no failure, and tests are not counted", () => {
  expect(measure(readLcov(lcov), { name: "x", of: ["queue"], least: 0.95 })).toMatchObject({
    share: null,
    reached: true,
  });
  expect(measure(readLcov(lcov), { name: "overall", of: [], least: 0.9 })).toMatchObject({
    share: 1,
    reached: true,
  });
});

test("the thresholds are the agreed ones", () => {
  expect(thresholds.map(({ name, least }) => `${name} ${least}`)).toEqual([
    "src/limit 0.95",
    "src/ledger 0.95",
    "src/queue 0.95",
    "src/admission 0.95",
    "src/tokens 0.95",
    "overall 0.9",
  ]);
});
