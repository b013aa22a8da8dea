import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { readDecimal, readDuration } from "../../src/provider/duration.ts";

describe("durations", () => {
  test.each([
    ["6m0s", 360_000],
    ["120ms", 120],
    ["2m59.56s", 179_560],
    ["1h2m3s", 3_723_000],
    ["7.66s", 7_660],
    ["45.578569677s", 45_578.57],
    ["1.5µs", 0.002],
    ["250us", 0.25],
    ["0s", 0],
    ["23h59m59.999s", 86_399_999],
    ["1d2h", 93_600_000],
  ])("%s is %p ms", (text, ms) => {
    expect(readDuration(text)).toBe(ms);
  });

  test.each([
    "",
    "5",
    "1.5",
    "s",
    "5s ",
    " 5s",
    "-5s",
    "5x",
    "1m30",
    "1..5s",
    "NaN",
    "5sm",
    "1e3s",
    "9".repeat(65),
  ])("%p is none", (text) => {
    expect(readDuration(text)).toBeNull();
  });

  test("are read as Go prints them", () => {
    const parts = fc.record({ h: fc.nat(1_000), m: fc.nat(59), ms: fc.nat(59_999) });
    fc.assert(
      fc.property(parts, ({ h, m, ms }) => {
        const text = `${h}h${m}m${ms / 1_000}s`;
        expect(readDuration(text)).toBeCloseTo(h * 3_600_000 + m * 60_000 + ms, 3);
      }),
    );
  });
});

describe("decimals", () => {
  test.each([
    ["0", 0],
    ["33011.382867097855", 33_011.382867097855],
    ["1741305600000", 1_741_305_600_000],
  ])("%s is %p", (text, number) => {
    expect(readDecimal(text)).toBe(number);
  });

  test.each([
    "",
    "-1",
    "+1",
    "1e3",
    "0x10",
    "1.",
    ".5",
    "Infinity",
    "NaN",
    " 1",
    "1,000",
    "1".repeat(19),
  ])("%p is none", (text) => {
    expect(readDecimal(text)).toBeNull();
  });
});
