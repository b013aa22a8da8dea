import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { HeadParser, parseHead } from "../../src/upstream/answer-head.ts";
import { heldBytes } from "./held-bytes.ts";

describe("a head", () => {
  test.each<[string, string, Record<string, string>]>([
    ["in any case", "CoNtEnT-TyPe: X", { "content-type": "X" }],
    ["with space around", "a: \t b c \t", { a: "b c" }],
    ["with none", "a:b", { a: "b" }],
    ["with space before the colon", "a : b", { a: "b" }],
    ["empty", "a:", { a: "" }],
    ["with colons", "a: b:c", { a: "b:c" }],
    ["twice", "a: b\r\nA: c", { a: "b, c" }],
    ["over several lines", "a: b\r\n  c\r\n\td\r\ne: f", { a: "b c d", e: "f" }],
    ["in Latin-1", "a: \xe4\xff", { a: "\xe4\xff" }],
    [
      "named as what objects have",
      "__proto__: a\r\nconstructor: b",
      { ["__proto__"]: "a", constructor: "b" },
    ],
  ])("gives a header %s", (_, lines, fields) => {
    const { headers } = parseHead(`HTTP/1.1 200 OK\r\n${lines}\r\n\r\n`);
    const read = Object.fromEntries([...headers.keys()].map((name) => [name, headers.get(name)]));
    expect(Object.entries(read)).toEqual(Object.entries(fields));
  });

  test.each([
    ["HTTP/1.1 200 OK", 200, "OK"],
    ["HTTP/1.0 404 Not  Found ", 404, "Not  Found "],
    ["HTTP/1.1 599", 599, ""],
    ["HTTP/1.1 200 ", 200, ""],
    ["HTTP/1.1 200 a\x01\x7fb", 200, "ab"],
  ])("gives status and reason: %j", (line, status, statusText) => {
    expect(parseHead(`${line}\r\n\r\n`)).toMatchObject({ status, statusText });
    expect(parseHead(`${line}\n\n`)).toMatchObject({ status, statusText });
  });

  test("keeps each cookie", () => {
    const { headers } = parseHead("HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nset-cookie: b, c\r\n\r\n");
    expect(headers.getSetCookie()).toEqual(["a", "b, c"]);
  });

  test.each([
    ["names", (i: number) => `X-${i}-${"x".repeat(60_000)}: 1\r\n`],
    ["names beside a long value", (i: number) => `X-${i}: ${"x".repeat(60_000)}\r\n`],
  ])("that is long is not held once it was read, for its %s", (_, line) => {
    const parsers = Array.from({ length: 500 }, () => new HeadParser());
    const before = heldBytes();
    for (const [i, parser] of parsers.entries()) parser.parse(`HTTP/1.1 200 OK\r\n${line(i)}\r\n`);
    expect(heldBytes() - before).toBeLessThan(5_000_000);
    expect(parsers).toHaveLength(500);
  });

  test("is read as if it were the first of its connection", () => {
    const ends = fc.constantFrom("\r\n", "\n");
    const lines = fc.constantFrom(
      "A: b",
      "A: bb",
      "A:b ",
      "a: b",
      "AA: b",
      " more",
      "\t",
      "Set-Cookie: a=b",
      "B:",
      "no colon",
      ": no name",
    );
    const line = fc.tuple(lines, ends).map(([text, end]) => text + end);
    const first = fc.constantFrom(
      "HTTP/1.1 200 OK",
      "HTTP/1.1 200 OKAY",
      "HTTP/1.0 404",
      "HTTP/2 200",
    );
    const head = fc
      .tuple(first, ends, fc.array(line, { maxLength: 5 }), ends)
      .map(([status, end, fields, last]) => status + end + fields.join("") + last);
    fc.assert(
      fc.property(fc.array(head, { minLength: 2, maxLength: 6 }), (heads) => {
        const parser = new HeadParser();
        for (const text of heads)
          expect(said(() => parser.parse(text))).toEqual(said(() => parseHead(text)));
      }),
      { numRuns: 2_000 },
    );
  });
});

/** What a head says, or why it says nothing. */
function said(parse: () => ReturnType<typeof parseHead>): unknown {
  try {
    const { headers, ...rest } = parse();
    return { ...rest, fields: Object.entries(headers.fields), cookies: headers.getSetCookie() };
  } catch (error) {
    return String(error);
  }
}
