import { expect, test } from "bun:test";
import { hasObject, objectAt } from "../../src/provider/scan.ts";

test.each([
  ['{"usage":{"a":1}}', { a: 1 }],
  ['{"usage" :\n {"a":{"b":"}\\"}"}}, "x":1}', { a: { b: '}"}' } }],
  ['{"usage":{"a":1},"usage":{"a":2}}', { a: 2 }],
  ['{"usage":{"a":1},"usage":null}', { a: 1 }],
  ['{"usage":{"a":1},"text":"\\"usage\\":{}"}', { a: 1 }],
  ['{"usage":{"a":1},"text":"usage"}', { a: 1 }],
  ['"usage"', null],
  ['"usage":null', null],
  ['{"usage":{"a":1', null],
  ['{"usage":{"a":"\\', null],
  ['{"usage":{a}}', null],
  ['{"usages":{}}', null],
  ["", null],
])("finds the last object of %p", (text, found) => {
  expect(objectAt(text, "usage")).toEqual(found);
  if (found !== null) expect(hasObject(text, '"usage"')).toBe(true);
});
