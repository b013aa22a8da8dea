import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatHost, parseHost } from "../../src/routing/host.ts";

test.each([
  ["Example.COM", "example.com", null],
  ["example.com.", "example.com", null],
  ["example.com.:8080", "example.com", 8080],
  ["example.com:", "example.com", null],
  ["my_service:80", "my_service", 80],
  ["127.0.0.1:65535", "127.0.0.1", 65535],
  ["[::1]:80", "[::1]", 80],
  ["[::FFFF:127.0.0.1]", "[::ffff:127.0.0.1]", null],
  ["xn--bcher-kva.example", "xn--bcher-kva.example", null],
  ["0x7f.1", "0x7f.1", null],
])("reads %p as %p, port %p", (text, name, port) => {
  expect(parseHost(text)).toEqual({ name, port });
});

test.each([
  "",
  ".",
  "..",
  "a..b",
  ".a",
  "a b",
  "a,b",
  "a.com, b.com",
  "user@a.com",
  "http://a.com",
  "a.com/x",
  "a.com?x",
  "a.com#x",
  "a.com:0",
  "a.com:65536",
  "a.com:123456",
  "a.com:x",
  "a.com:-1",
  "a.com:80:80",
  "::1",
  "[::1",
  "[::1]x",
  "[fe80::1%25eth0]",
  "[12]",
  "a%2ecom",
  "bücher.example",
  "-a.com",
  "a-.com",
  "a\r\nb",
  "a\u0000b",
  `${"a".repeat(64)}.com`,
  "a.".repeat(130),
  "4294967296",
  "1.2.3.256",
  "1.2.3.4.5:80",
  "08.1",
  "[::FFFF:127.1]",
  "[1::2::3]:80",
  "xn--a.example",
  "a.xn--",
])("refuses %p", (text) => {
  expect(parseHost(text)).toBeNull();
});

test("writes what it reads", () => {
  for (const text of ["a.com", "a.com:81", "[::1]:80"])
    expect(formatHost(parseHost(text)!)).toBe(text);
});

test("takes no longer for a hostile name", () => {
  const from = performance.now();
  for (let i = 0; i < 1000; i++) parseHost(`${"a-".repeat(130)}!`);
  expect(performance.now() - from).toBeLessThan(1000);
});

test("what it reads is the host of a URL", () => {
  const part = fc.constantFrom(
    "xn--",
    "bcher-kva",
    "[",
    "]",
    ":",
    "::",
    ".",
    "-",
    "_",
    "a",
    "0x",
    "7f",
    "09",
    "255",
    "256",
    "1",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
      const host = parseHost(parts.join(""));
      if (host !== null) expect(URL.canParse(`http://${formatHost(host)}/`)).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
