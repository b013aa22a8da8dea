import { expect, test } from "bun:test";
import { retryAfter } from "../../src/provider/hint-wait.ts";

const now = Date.parse("2026-11-21T04:04:00.250Z");

test.each([
  [{ "retry-after": "2" }, 2_000],
  [{ "retry-after": "0.5" }, 500],
  [{ "retry-after": "0" }, 0],
  [{ "retry-after": "86400" }, 86_400_000],
  [{ "retry-after-ms": "644" }, 644],
  [{ "retry-after-ms": "644.5", "retry-after": "1" }, 644.5],
  [{ "retry-after-ms": "soon", "retry-after": "1" }, 1_000],
  [{ "retry-after": "Sat, 21 Nov 2026 04:05:00 GMT" }, 59_750],
  [
    { "retry-after": "Sat, 21 Nov 2026 04:05:00 GMT", date: "Sat, 21 Nov 2026 04:04:00 GMT" },
    59_750,
  ],
  [
    { "retry-after": "Sat, 21 Nov 2026 03:05:00 GMT", date: "Sat, 21 Nov 2026 03:04:00 GMT" },
    60_000,
  ],
  [{ "retry-after": "Saturday, 21-Nov-26 04:05:00 GMT" }, 59_750],
  [{ "retry-after": "Sat Nov 21 04:05:00 2026" }, 59_750],
  [{ "retry-after": "Tue Dec  1 04:04:00 2026" }, 863_999_750],
  [{ "retry-after": "Sat Nov 21 04:05:00 2026 CET" }, null],
  [{ "retry-after": "Sat, 21 Nov 2026 04:03:00 GMT" }, null],
  [{ "retry-after": "-1" }, null],
  [{ "retry-after": "1e3" }, null],
  [{ "retry-after": "2764801" }, null],
  [{ "retry-after": "tomorrow" }, null],
  [{ "retry-after": "2026-11-21T04:05:00Z" }, null],
  [{}, null],
] as [Record<string, string>, number | null][])("%p → %p ms", (headers, expected) => {
  expect(retryAfter(new Headers(headers), now)).toBe(expected);
});

test("64 KB of digits are no wait", () => {
  const digits = "9".repeat(65_536);
  expect(
    retryAfter(new Headers({ "retry-after": digits, "retry-after-ms": digits }), now),
  ).toBeNull();
});
