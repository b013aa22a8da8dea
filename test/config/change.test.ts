import { describe, expect, test } from "bun:test";
import { addChange, readChange, shownLimits, withChanges } from "../../src/config/change.ts";
import type { Change } from "../../src/config/change.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";

function load(yaml: string): Config {
  return loadConfig({ path: "c.yaml", cwd: "/", env: {}, readFile: () => yaml }).config;
}

const config = load(`
rate_limits: [{ domain: "*.example.com", requests_per_second: 2, burst: 3 }]
quotas: [{ name: q, domain: api.test, rpm: 100, tpm: 5000, api_keys: [secret-key] }]
`);

test("limits are shown with the keys of the file, and nothing that is secret", () => {
  const limits = shownLimits(config, [{ name: "q", values: { rpm: 5 }, inFile: { rpm: 100 } }]);
  expect(limits.map(({ name, kind }) => [name, kind])).toEqual([
    ["*.example.com", "rate_limit"],
    ["q", "quota"],
    ["cerebras", "cerebras_limits"],
    ["default_rate_limit", "default_rate_limit"],
  ]);
  expect(limits[0]).toMatchObject({ requests_per_second: 2, burst: 3, request_timeout: "10m" });
  expect(limits[1]).toMatchObject({ domain: ["api.test"], rpm: 100, tpm: 5000, tph: null });
  expect(limits[1]?.["changed"]).toEqual({ rpm: 100 });
  expect(limits[2]).toMatchObject({ rpm_limit: 1_000, tpm_limit: 1_000_000 });
  expect(JSON.stringify(limits)).not.toContain("secret");
});

describe("what is asked for is checked by the rules of the file", () => {
  test.each([
    ["q", { rpm: 5 }, { rpm: 5 }],
    ["q", { tpm: null, request_timeout: "30s" }, { tpm: null, request_timeout: 30_000 }],
    [
      "*.example.com",
      { requests_per_second: 0.5, burst: 1 },
      { requests_per_second: 0.5, burst: 1 },
    ],
    ["cerebras", { rpm_limit: 5 }, { rpm_limit: 5 }],
    ["cerebras", { rpm: 5, tpm: 9 }, { rpm_limit: 5, tpm_limit: 9 }],
    ["default_rate_limit", { requests_per_second: 9 }, { requests_per_second: 9 }],
  ])("%s %p", (name, given, values) => {
    expect(readChange(config, name, given)).toEqual(values as never);
  });

  test.each([
    ["q", { rpm: 0 }, "rpm: must be a whole number of at least 1, not 0"],
    ["q", { rpm: "5" }, "rpm: must be a whole number"],
    ["q", { rmp: 5 }, 'did you mean "rpm"'],
    ["q", { rpm: null, tpm: null }, "has no limit"],
    ["q", { domain: "other.test" }, "domain: can only be changed in the file"],
    ["q", { api_keys: ["x"] }, "api_keys: can only be changed in the file"],
    ["q", { rpm: 5, upstream: "http://127.0.0.1" }, "upstream: can only be changed"],
    ["q", {}, "nothing to change; there are rps, rpm"],
    ["q", [], "must be a map"],
    ["q", 5, "must be a map"],
    ["q", null, "must be a map"],
    ["*.example.com", { rpm: 5 }, "rpm: unknown key"],
  ])("%s %p: %p", (name, given, problem) => {
    expect(() => readChange(config, name, given)).toThrow(problem);
  });

  test("there is no such limit", () => {
    expect(readChange(config, "other", { rpm: 5 })).toBeNull();
  });
});

describe("a change holds until the file changes the same key", () => {
  const changes: Change[] = [
    { name: "q", values: { rpm: 5, tpm: 70 }, inFile: { rpm: 100, tpm: 5000 } },
    { name: "*.example.com", values: { burst: 9 }, inFile: { burst: 3 } },
    { name: "gone", values: { rpm: 9 }, inFile: { rpm: 3 } },
  ];

  test("the same file: all do, but of limits that are gone", () => {
    const { config: changed, kept } = withChanges(config, changes);
    expect(changed.quotas[0]).toMatchObject({ rpm: 5, tpm: 70, name: "q" });
    expect(changed.rate_limits[0]).toMatchObject({ burst: 9, requests_per_second: 2 });
    expect(kept).toEqual(changes.slice(0, 2));
    expect(config.quotas[0]?.rpm).toBe(100);
  });

  test("another file: only what it says as before", () => {
    const file = load("quotas: [{ name: q, domain: api.test, rpm: 200, tpm: 5000 }]");
    const { config: changed, kept } = withChanges(file, changes);
    expect(changed.quotas[0]).toMatchObject({ rpm: 200, tpm: 70 });
    expect(kept).toEqual([{ name: "q", values: { tpm: 70 }, inFile: { tpm: 5000 } }]);
  });

  test("one more change keeps the file's values; one back to them ends it", () => {
    const first = addChange(config, [], "q", { rpm: 5 });
    const second = addChange(config, first, "q", { rpm: 6, tpm: 70 });
    expect(second).toEqual([
      { name: "q", values: { rpm: 6, tpm: 70 }, inFile: { rpm: 100, tpm: 5000 } },
    ]);
    const back = addChange(config, second, "q", { rpm: 100, tpm: 5000 });
    expect(withChanges(config, back)).toEqual({ config, kept: [] });
  });
});
