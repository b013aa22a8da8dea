import { expect, test } from "bun:test";
import fc from "fast-check";
import { ProxyError } from "../../src/errors.ts";
import { parseBody } from "../../src/provider/body.ts";

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const nested = (depth: number): string => '{"a":'.repeat(depth) + "1" + "}".repeat(depth);

test.each([
  ["", /empty/],
  ["{", /not JSON/],
  ["[1]", /must be a JSON object/],
  ["null", /must be a JSON object/],
  ["5", /must be a JSON object/],
  [nested(201), /more than 200 levels/],
  ["[".repeat(5_000_000), /more than 200 levels/],
])("refuses %p", (text, why) => {
  expect(() => parseBody(encode(text))).toThrow(ProxyError);
  expect(() => parseBody(encode(text))).toThrow(why);
});

test("refuses bytes that are not UTF-8", () => {
  expect(() => parseBody(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d))).toThrow(/UTF-8/);
});

test("takes what is just deep enough, and brackets in strings for text", () => {
  expect(parseBody(encode(nested(200)))).toHaveProperty("a");
  const text = "[".repeat(500);
  expect(parseBody(encode(JSON.stringify({ a: `${text}\\"${text}\\`, b: 1 })))).toEqual({
    a: `${text}\\"${text}\\`,
    b: 1,
  });
});

test("gives what JSON.parse gives", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const text = JSON.stringify(value);
      expect(parseBody(encode(text))).toEqual(JSON.parse(text));
    }),
  );
});
