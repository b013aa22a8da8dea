import { describe, expect, test } from "bun:test";

import { isShareable, keepMs, wishOf } from "../../src/cache/directives.ts";
import type { Fields } from "../../src/cache/key.ts";

const now = Date.parse("2026-01-01T00:00:00Z");
const ttlMs = 300_000;

test.each([
  [{}, "use", Infinity],
  [{ "cache-control": "no-store" }, "bypass", 0],
  [{ "cache-control": "max-age=5, NO-STORE" }, "bypass", 0],
  [{ "cache-control": "no-cache" }, "refresh", 0],
  [{ "cache-control": "max-age=0" }, "refresh", 0],
  [{ "cache-control": "max-age=60" }, "use", 60_000],
  [{ "cache-control": "max-age=soon" }, "refresh", 0],
  [{ "cache-control": "max-stale" }, "use", Infinity],
  [{ pragma: "no-cache" }, "refresh", 0],
  [{ pragma: "no-cache", "cache-control": "max-age=60" }, "use", 60_000],
])("a request with %j: %s within %p ms", (fields, mode, maxAgeMs) => {
  expect(wishOf(fields as Fields)).toEqual({ mode, maxAgeMs } as ReturnType<typeof wishOf>);
});

describe("how long an answer is kept", () => {
  test.each([
    [200, ttlMs],
    [201, ttlMs],
    [400, ttlMs],
    [401, ttlMs],
    [202, 0],
    [204, 0],
    [206, 0],
    [301, 0],
    [304, 0],
    [403, 0],
    [404, 0],
    [429, 0],
    [500, 0],
    [503, 0],
    [529, 0],
  ])("status %d: %d ms", (status, expected) => {
    for (const method of ["GET", "POST"]) {
      expect(keepMs(method, { status, headers: new Headers() }, ttlMs, now)).toBe(expected);
    }
  });

  const both = (ms: number): { GET: number; POST: number } => ({ GET: ms, POST: ms });
  const get = (ms: number): { GET: number; POST: number } => ({ GET: ms, POST: ttlMs });
  test.each([
    [[["cache-control", "private"]], both(0)],
    [[["cache-control", "public, Private"]], both(0)],
    [[["cache-control", 'private="x-a, x-b"']], both(0)],
    [[["cache-control", 'ext="a, private"']], both(ttlMs)],
    [[["cache-control", "no-store"]], both(0)],
    [[["cache-control", "no-cache"]], get(0)],
    [[["cache-control", "max-age=0"]], get(0)],
    [[["cache-control", "public, max-age=60"]], get(60_000)],
    [[["cache-control", "max-age=60, s-maxage=10"]], get(10_000)],
    [[["cache-control", "max-age=6000"]], get(ttlMs)],
    [[["cache-control", "max-age=1e9"]], get(0)],
    [
      [
        ["cache-control", "max-age=60"],
        ["age", "50"],
      ],
      get(10_000),
    ],
    [
      [
        ["cache-control", "max-age=60"],
        ["age", "70"],
      ],
      get(0),
    ],
    [[["expires", "Thu, 01 Jan 2026 00:01:00 GMT"]], get(60_000)],
    [[["expires", "Wed, 31 Dec 2025 00:00:00 GMT"]], get(0)],
    [[["expires", "0"]], get(0)],
    [[["expires", "-1"]], get(0)],
    [[["set-cookie", "session=1; Path=/"]], both(0)],
    [[["set-cookie", "__cf_bm=x; Path=/; HttpOnly"]], both(ttlMs)],
    [
      [
        ["set-cookie", "__cf_bm=x"],
        ["set-cookie", "session=1"],
      ],
      both(0),
    ],
    [[["vary", "*"]], both(0)],
    [[["vary", "Accept, Accept-Encoding, Authorization, Origin"]], both(ttlMs)],
    [[["vary", "Accept, User-Agent"]], both(0)],
  ])("%j", (fields, expected) => {
    const headers = new Headers(fields);
    const kept = (method: string): number => keepMs(method, { status: 200, headers }, ttlMs, now);
    expect({ GET: kept("GET"), POST: kept("POST") }).toEqual(expected);
  });
});

test.each([
  [{}, true, true],
  [{ "cache-control": "no-cache" }, true, true],
  [{ "cache-control": "private, max-age=60" }, true, false],
  [{ "cache-control": "no-store" }, false, false],
  [{ "set-cookie": "session=1" }, false, false],
  [{ "set-cookie": "_cfuvid=1" }, true, true],
  [{ vary: "*" }, false, false],
])(
  "an answer with %j may be shared by one caller: %p, by unnamed ones: %p",
  (fields, named, not) => {
    const head = { status: 200, headers: new Headers(fields) };
    expect(isShareable(head, true)).toBe(named);
    expect(isShareable(head, false)).toBe(not);
  },
);
