import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ProxyError } from "../../src/errors.ts";
import { HeaderFields } from "../../src/header-fields.ts";
import { requestHead, targetOf } from "../../src/upstream/request-head.ts";
import type { BodyFraming } from "../../src/upstream/request-head.ts";
import { heldBytes } from "./held-bytes.ts";

const to = { target: "/b?c", host: "a:1" };

test.each([
  ["/", "/"],
  ["", "/"],
  ["?x", "/?x"],
  ["#x", "/"],
  ["/a%2Fb//c/../d;e?f=[1]&g#h", "/a%2Fb//c/../d;e?f=[1]&g"],
  ['/a"b<c>', '/a"b<c>'],
  ["/ä b?c=ö", "/%C3%A4%20b?c=%C3%B6"],
  ["/a\r\nb", "/ab"],
  ["/a b#c d", "/a%20b"],
])("what of a URL is sent: %j", (rest, target) => {
  const origin = "http://a.test";
  expect(targetOf(origin + rest, origin.length)).toBe(target);
});

describe("a head", () => {
  test.each<[string, BodyFraming, string | null]>([
    ["GET", null, null],
    ["HEAD", null, null],
    ["DELETE", null, null],
    ["OPTIONS", null, null],
    ["POST", null, "Content-Length: 0"],
    ["PATCH", null, "Content-Length: 0"],
    ["PURGE", null, "Content-Length: 0"],
    ["GET", 0, "Content-Length: 0"],
    ["POST", 12, "Content-Length: 12"],
    ["POST", "chunked", "Transfer-Encoding: chunked"],
  ])("of %s, its body framed by %p", (method, framing, line) => {
    const fields = HeaderFields.from({
      "content-length": "99",
      "transfer-encoding": "gzip",
      connection: "close",
      host: "other",
      accept: "*/*",
    });
    expect(requestHead(method, to, fields, framing, "X-More: 1\r\n").split("\r\n")).toEqual([
      `${method} /b?c HTTP/1.1`,
      "Host: a:1",
      "X-More: 1",
      "Connection: keep-alive",
      "Accept: */*",
      ...(line === null ? [] : [line]),
      "",
      "",
    ]);
  });

  test("spells names as is usual", () => {
    const fields = HeaderFields.from({ "x-api-key": "1", "1a-b": "2", etag: "3", _x: "4" });
    for (let i = 0; i < 2; i++) {
      const lines = requestHead("GET", to, fields, null).split("\r\n").slice(3, -2);
      expect(lines).toEqual(["X-Api-Key: 1", "1a-B: 2", "Etag: 3", "_x: 4"]);
    }
  });

  test("is not held for the long names in it", () => {
    const before = heldBytes();
    for (let i = 0; i < 900; i++)
      requestHead("GET", to, HeaderFields.from({ [`x-${i}-${"x".repeat(14_000)}`]: "1" }), null);
    expect(heldBytes() - before).toBeLessThan(5_000_000);
  });

  test.each(["", "A B", "GET\r\n", "G:T", "GÄT"])("is none with the method %j", (method) => {
    expect(() => requestHead(method, to, new HeaderFields(), null)).toThrow(ProxyError);
  });

  test("has a line for each header and no more, or is none", () => {
    const value = fc.string({
      unit: fc.oneof(
        fc.constantFrom("\r", "\n", "\0", "\u010a", "ÿ", "a"),
        fc.string({ minLength: 1, maxLength: 1, unit: "binary" }),
      ),
      maxLength: 6,
    });
    fc.assert(
      fc.property(value, (text) => {
        const isSafe = !/[\0\r\n]/.test(text) && [...text].every((one) => one <= "\xff");
        const head = (): string => requestHead("GET", to, HeaderFields.from({ a: text }), null);
        if (!isSafe) return expect(head).toThrow(ProxyError);
        const sent = Buffer.from(head(), "latin1").toString("latin1");
        expect(sent.split("\r\n").slice(3)).toEqual([`A: ${text}`, "", ""]);
        expect(sent.match(/[\r\n]/g)).toHaveLength(10);
      }),
      { numRuns: 500 },
    );
  });
});
