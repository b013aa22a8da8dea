import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { readCidr, readDomain } from "../../src/config/domain.ts";
import { formatDuration, parseDuration } from "../../src/config/duration.ts";
import { defaultStorePath, resolvePath } from "../../src/config/paths.ts";
import { providerOf } from "../../src/config/providers.ts";
import { quote, redactUrl } from "../../src/config/redact.ts";
import { formatSize, parseSize } from "../../src/config/size.ts";
import { closest } from "../../src/config/suggest.ts";

describe("durations", () => {
  const cases: [unknown, number | null][] = [
    ["500ms", 500],
    ["30s", 30_000],
    ["10m", 600_000],
    ["1h30m", 5_400_000],
    ["1h0m0.5s", 3_600_500],
    ["2d", 172_800_000],
    [" 5S ", 5_000],
    ["0", 0],
    [30, 30_000],
    ["30", 30_000],
    [0.1, 100],
    [0.0001, 1],
    ["1.0005s", 1_001],
    ["", null],
    ["30m1h", null],
    ["1m1m", null],
    ["30 s", null],
    ["-1s", null],
    [-1, null],
    ["1w", null],
    ["s", null],
    [Number.NaN, null],
    [Number.POSITIVE_INFINITY, null],
    ["9999999999999999999h", null],
    [null, null],
    [true, null],
  ];
  for (const [input, ms] of cases)
    test(`${JSON.stringify(input)} is ${ms}`, () => expect(parseDuration(input)).toBe(ms));

  test("what is written can be read", () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 45 }), (ms) =>
        expect(parseDuration(formatDuration(ms))).toBe(ms),
      ),
    );
  });

  const written: [number, string][] = [
    [0, "0s"],
    [90_000, "1m30s"],
    [172_800_000, "48h"],
    [1_001, "1s1ms"],
  ];
  for (const [ms, text] of written)
    test(`${ms} ms is written ${text}`, () => expect(formatDuration(ms)).toBe(text));
});

describe("sizes", () => {
  const cases: [unknown, number | null][] = [
    ["100MB", 100_000_000],
    ["1GiB", 1_073_741_824],
    ["1.5 kib", 1_536],
    ["12", 12],
    [12, 12],
    ["5b", 5],
    ["100M", null],
    ["MB", null],
    ["-1MB", null],
    [1.5, null],
    [-1, null],
    [Number.NaN, null],
    ["99999999999GiB", null],
    [null, null],
  ];
  for (const [input, bytes] of cases)
    test(`${JSON.stringify(input)} is ${bytes}`, () => expect(parseSize(input)).toBe(bytes));

  test("what is written can be read", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => expect(parseSize(formatSize(bytes))).toBe(bytes)),
    );
    expect([0, 100_000_000, 1_048_576, 1_234].map(formatSize)).toEqual([
      "0B",
      "100MB",
      "1MiB",
      "1234B",
    ]);
  });
});

describe("what was meant", () => {
  const known = [
    "host",
    "port",
    "rpm",
    "max_queue_depth",
    "request_timeout",
    "requests_per_second",
  ];
  const cases: [string, string | null][] = [
    ["hots", "host"],
    ["prot", "port"],
    ["maxQueueDepth", "max_queue_depth"],
    ["max-queue-dept", "max_queue_depth"],
    ["rpm_limit", "rpm"],
    ["request_per_second", "requests_per_second"],
    ["banana", null],
    ["", null],
  ];
  for (const [word, meant] of cases)
    test(`${word} is ${meant}`, () => expect(closest(word, known)).toBe(meant));
});

describe("secrets in URLs", () => {
  const cases: [string, string][] = [
    ["http://me:hunter2@proxy:3128/a", "http://me:***@proxy:3128/a"],
    ["redis://:hunter2@cache/0", "redis://:***@cache/0"],
    ["https://hunter2@api.example", "https://***@api.example"],
    ["me:hunter2@api.example", "me:***@api.example"],
    ["http://a:hunter@2@host", "http://a:***@host"],
    ["https://api.example/@me", "https://api.example/@me"],
  ];
  for (const [url, shown] of cases)
    test(`${url} is shown as ${shown}`, () => expect(redactUrl(url)).toBe(shown));

  test("no quoted URL gives its password away", () => {
    const password = fc.stringMatching(/^[A-Z0-9:@!$%&*]{4,90}$/);
    fc.assert(
      fc.property(password, (word) =>
        expect(quote(`http://me:${word}@host:1`)).not.toContain(word),
      ),
    );
  });
});

describe("the default place of the store", () => {
  const cases: [string, Record<string, string>, string][] = [
    ["linux", {}, "/home/me/.local/state/cooldown/cooldown.db"],
    ["linux", { XDG_STATE_HOME: "/state" }, "/state/cooldown/cooldown.db"],
    ["linux", { XDG_STATE_HOME: "relative" }, "/home/me/.local/state/cooldown/cooldown.db"],
    ["freebsd", {}, "/home/me/.local/state/cooldown/cooldown.db"],
    [
      "darwin",
      { XDG_STATE_HOME: "/state" },
      "/home/me/Library/Application Support/cooldown/cooldown.db",
    ],
    ["win32", { LOCALAPPDATA: "C:\\Local" }, "C:\\Local\\cooldown\\cooldown.db"],
    ["win32", {}, "\\home\\me\\AppData\\Local\\cooldown\\cooldown.db"],
  ];
  for (const [platform, env, path] of cases) {
    test(`${platform} ${JSON.stringify(env)}: ${path}`, () =>
      expect(defaultStorePath(env, platform, "/home/me")).toBe(path));
  }

  test("written paths are under the base, the home directory or nothing", () => {
    const paths = ["a/b", "./a", "/a", "~/a", "~a"].map((path) =>
      resolvePath(path, "/base", "/home/me"),
    );
    expect(paths).toEqual(["/base/a/b", "/base/a", "/a", "/home/me/a", "/base/~a"]);
  });
});

describe("the provider at a domain", () => {
  const cases: [string, string][] = [
    ["api.cerebras.ai", "cerebras"],
    ["api.openai.com:443", "openai"],
    ["*.openai.azure.com", "azure"],
    ["mine.openai.azure.com", "azure"],
    ["notapi.openai.com", "generic"],
    ["example.com", "generic"],
  ];
  for (const [domain, provider] of cases)
    test(`${domain}: ${provider}`, () => expect(providerOf(domain)).toBe(provider as never));
});

describe("domains", () => {
  test("whatever is written, what is read is a domain or a problem, and reading it again changes nothing", () => {
    const parts = fc.constantFrom(
      "*",
      ".",
      "a",
      "B",
      "-",
      ":",
      "443",
      "[",
      "]",
      "::1",
      "/",
      "@",
      "ü",
      " ",
      "_",
      "xn--",
      "127.1",
    );
    const written = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(parts).map((all) => all.join("")),
    );
    fc.assert(
      fc.property(written, fc.boolean(), (text, wildcard) => {
        const reading = readDomain(text, { wildcard });
        if ("problem" in reading) return expect(reading.problem).not.toBe("");
        expect(reading.value).toMatch(/^(\*\.)?[a-z0-9_.-]+(:\d+)?$|^\[[0-9a-f.:]+\](:\d+)?$/);
        return expect(readDomain(reading.value, { wildcard })).toEqual(reading);
      }),
      { numRuns: 2_000 },
    );
  });

  const ranges: [string, string | null][] = [
    ["10.0.0.0/8", "10.0.0.0/8"],
    ["::FFFF/064", "::ffff/64"],
    ["1.2.3.4", "1.2.3.4"],
    ["1.2.3.4/", null],
    ["1.2.3.4/8/9", null],
    ["1.2.3", null],
  ];
  for (const [text, range] of ranges) {
    test(`range ${text}: ${range}`, () => {
      const reading = readCidr(text);
      expect("value" in reading ? reading.value : null).toBe(range);
    });
  }
});
